//! A line between controller and cloud that breaks: replies are cut in the middle, connections are
//! reset, bytes wait for seconds. It doubles nothing and changes nothing.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    task::JoinSet,
};

use super::bed::Bed;
use crate::kill::{
    asked_seeds,
    script::{MACHINES, Rights},
};

/// The seeds of every run.
const SEEDS: [u64; 3] = [301, 302, 303];

/// Breaks that each of them must have seen.
const WANTED: usize = 25;

/// Of a thousand chunks of bytes, how many meet with a break. More, and no look ever succeeds.
const ODDS: usize = 60;

/// What befalls some bytes on their way.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// They arrive.
    Pass,
    /// So many of them arrive, then the line is closed.
    Cut(usize),
    /// So many of them arrive, then the line is reset.
    Reset(usize),
    /// They arrive so many milliseconds late.
    Stall(u64),
}

/// A proxy; its connections end when it is dropped.
struct Line {
    address: SocketAddr,
    breaks: Arc<Breaks>,
    _tasks: JoinSet<()>,
}

/// What the line does to its connections.
struct Breaks {
    rng: Mutex<Rng>,
    /// Of a thousand, how many chunks of bytes meet with something; 0 when it is mended.
    odds: AtomicUsize,
    dealt: AtomicUsize,
}

impl Breaks {
    fn fate(&self, length: usize) -> Fate {
        let mut rng = self.rng.lock().unwrap();
        if rng.usize(..1000) >= self.odds.load(Ordering::SeqCst) {
            return Fate::Pass;
        }
        self.dealt.fetch_add(1, Ordering::SeqCst);
        match rng.u32(..10) {
            0..5 => Fate::Cut(rng.usize(..length)),
            5..8 => Fate::Reset(rng.usize(..length)),
            _ => Fate::Stall(rng.u64(50..1_500)),
        }
    }
}

impl Line {
    async fn to(upstream: String, seed: u64, odds: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let breaks = Arc::new(Breaks {
            rng: Mutex::new(Rng::with_seed(seed)),
            odds: AtomicUsize::new(odds),
            dealt: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, upstream, Arc::clone(&breaks)));
        Self {
            address,
            breaks,
            _tasks: tasks,
        }
    }

    fn mend(&self) {
        self.breaks.odds.store(0, Ordering::SeqCst);
    }
}

async fn serve(listener: TcpListener, upstream: String, breaks: Arc<Breaks>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let (upstream, breaks) = (upstream.clone(), Arc::clone(&breaks));
        connections.spawn(async move {
            // What breaks here was to break, or the controller went away.
            let _ = connect(near, &upstream, &breaks).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(near: TcpStream, upstream: &str, breaks: &Breaks) -> io::Result<()> {
    let far = TcpStream::connect(upstream).await?;
    let (near_out, far_out) = (near.into_split(), far.into_split());
    let (near_in, near_out, far_in, far_out) = (near_out.0, near_out.1, far_out.0, far_out.1);
    tokio::select! {
        ended = carry(near_in, far_out, breaks) => ended,
        ended = carry(far_in, near_out, breaks) => ended,
    }
}

/// Carries bytes one way until the line breaks or ends.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, breaks: &Breaks) -> io::Result<()> {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let length = from.read(&mut bytes).await?;
        if length == 0 {
            return Ok(());
        }
        match breaks.fate(length) {
            Fate::Pass => to.write_all(&bytes[..length]).await?,
            Fate::Cut(after) => return to.write_all(&bytes[..after]).await,
            Fate::Reset(after) => {
                to.write_all(&bytes[..after]).await?;
                from.as_ref().set_zero_linger()?;
                to.as_ref().set_zero_linger()?;
                return Ok(());
            }
            Fate::Stall(millis) => {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                to.write_all(&bytes[..length]).await?;
            }
        }
    }
}

/// One stack behind such a line.
async fn live(seed: u64) -> Result<(), String> {
    let bed = Bed::make(seed, Rights::Plain).await;
    let far = bed.cloud.endpoint.strip_prefix("http://").unwrap();
    let far = far.strip_suffix("/client/api").unwrap().to_owned();
    let line = Line::to(far, seed, ODDS).await;
    let dealt = || line.breaks.dealt.load(Ordering::SeqCst);
    bed.process.start();
    let endpoint = format!("http://{}/client/api", line.address);
    bed.account(&endpoint).await;
    bed.apply(&bed.spec()).await?;
    let mut rng = Rng::with_seed(seed);
    while dealt() < WANTED {
        tokio::time::sleep(Duration::from_millis(rng.u64(200..1_000))).await;
        let replicas = rng.u32(1..4);
        let change = json!({"components": {"sprout": {"replicas": replicas}}});
        bed.change(&change).await?;
        let vm = bed.vm_of(MACHINES[rng.usize(..MACHINES.len())]);
        if let Some(vm) = vm.filter(|_| rng.u32(..4) == 0) {
            let broken = json!({"what": "destroy-vm", "vm": vm});
            bed.cloud.ask("POST", "break", &broken).await;
        }
    }
    line.mend();
    println!("seed {seed}: the line broke {} times", dealt());
    let ended = bed.audited().await;
    ended.map_err(|why| format!("SEED={seed}: {why}\n── log\n{}", bed.last_words()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_line_that_breaks_nothing_is_made_twice() {
    let seeds = asked_seeds().unwrap_or(SEEDS.to_vec());
    let lives = seeds.into_iter().map(live);
    let ended: Vec<_> = stream::iter(lives)
        .buffer_unordered(SEEDS.len())
        .collect()
        .await;
    for life in ended {
        life.unwrap_or_else(|why| panic!("{why}"));
    }
}
