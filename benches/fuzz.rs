//! A million wild requests: none breaks the simulator, none hangs it, and it does not grow
//! without limit. `tests/it/fuzz.rs` sends the first twenty thousand of the same.

#![allow(clippy::print_stdout, reason = "the table is what a bench is for")]

mod support;

use std::{
    process::ExitCode,
    sync::mpsc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use support::{
    figures::{Figures, count},
    wild::{WORLD_MAX, Wilderness},
};
use weir::clock::Clock;

/// How many requests are sent.
const REQUESTS: usize = 1_000_000;

/// How many are sent between two lines of the table.
const STEP: usize = REQUESTS / 10;

/// How much larger the world may be after all of them than after half: less than a third of what
/// it would be if each request left its share.
const GROWTH_MAX: f64 = 1.25;

/// How long a request may take, on a busy machine, before it is taken to hang.
const HANG: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let (sent, heard) = mpsc::channel();
    std::thread::spawn(move || watch(&heard));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime for virtual time");
    runtime.block_on(run(&sent))
}

/// Ends the process when a request hangs; a hung request holds its thread, so this has its own.
fn watch(answered: &mpsc::Receiver<usize>) {
    let mut last = 0;
    loop {
        match answered.recv_timeout(HANG) {
            Ok(number) => last = number,
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                println!("request {} has hung for {HANG:?}", last + 1);
                std::process::exit(1);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
async fn run(sent: &mpsc::Sender<usize>) -> ExitCode {
    let begun = Instant::now();
    let mut wilderness = Wilderness::new(Clock::starting_at(Timestamp::UNIX_EPOCH)).await;
    let (mut sizes, mut slowest) = (Vec::new(), Duration::ZERO);
    println!("  {:>9} {:>10} {:>8}", "requests", "world, KiB", "s");
    for number in 1..=REQUESTS {
        let asked = Instant::now();
        wilderness.next().await;
        slowest = slowest.max(asked.elapsed());
        sent.send(number).expect("the watch lasts as long as this");
        if number % STEP == 0 {
            let size = wilderness.size();
            let took = begun.elapsed().as_secs_f64();
            println!("  {number:>9} {:>10} {took:>8.1}", size >> 10);
            sizes.push(count(size));
        }
    }
    let statuses = wilderness.answered.iter();
    let statuses = statuses.map(|(status, times)| format!("{times} × {status}"));
    println!("  {}", statuses.collect::<Vec<_>>().join(", "));
    let meant = wilderness.answered.get(&200).copied().unwrap_or_default();
    let (half, all) = (sizes[sizes.len() / 2 - 1], sizes[sizes.len() - 1]);
    let mut figures = Figures::default();
    figures.at_least(
        "requests of a hundred that meant a thing",
        100.0 * count(meant) / count(REQUESTS),
        1.0,
    );
    figures.at_most(
        "the world after all, MiB",
        all / 1024.0 / 1024.0,
        count(WORLD_MAX >> 20),
    );
    figures.at_most("the same ÷ after half", all / half, GROWTH_MAX);
    figures.tell(
        "the slowest request, ms",
        format!("{:.1}", slowest.as_secs_f64() * 1000.0),
    );
    figures.judge("wild requests")
}
