//! A network between a client and an etcd that breaks on request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// See the module. It goes when it is dropped.
pub(super) struct Proxy {
    port: u16,
    state: watch::Sender<State>,
    _tasks: JoinSet<()>,
}

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// They pass.
    Open,
    /// Those to etcd pass; of its answers nothing does.
    Mute,
    /// There is no connection, and none comes about.
    Cut,
}

impl Proxy {
    /// In front of an etcd, open.
    pub(super) async fn to(host: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, seen) = watch::channel(State::Open);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(carry(client, host.clone(), seen.clone()));
            }
        });
        Self {
            port,
            state,
            _tasks: tasks,
        }
    }

    pub(super) fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

async fn carry(client: TcpStream, host: String, mut state: watch::Receiver<State>) {
    if *state.borrow() == State::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(host).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (open, mute) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let switch = Arc::clone(&mute);
    let cut = async {
        loop {
            let now = *state.borrow_and_update();
            switch.store(now == State::Mute, Ordering::SeqCst);
            if now == State::Cut || state.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = cut => {}
        () = copy(from_client, to_server, &open) => {}
        () = copy(from_server, to_client, &mute) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mute: &AtomicBool,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if !mute.load(Ordering::SeqCst) && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
