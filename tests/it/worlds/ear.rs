//! Listens to what a thread logs: everything that the crate says, down to the finest level.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use tracing::{
    Dispatch,
    subscriber::{NoSubscriber, with_default},
};
use tracing_subscriber::{EnvFilter, fmt};

/// What was heard, in bytes; shared by the writers of one subscriber.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Does something and gives what it logged on this thread meanwhile.
pub(super) fn listened<T>(work: impl FnOnce() -> T) -> (T, String) {
    let heard = Heard::default();
    let writer = heard.clone();
    let subscriber = fmt()
        .with_env_filter(EnvFilter::new("weir=trace"))
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // While there is just one subscriber, a line that another thread reaches first is judged by
    // that thread, which has none, and is never heard on this one. A second one prevents that.
    let second = Dispatch::new(NoSubscriber::new());
    let done = with_default(subscriber, work);
    drop(second);
    let heard = heard.0.lock().unwrap();
    (done, String::from_utf8_lossy(&heard).into_owned())
}
