//! Things of which there is a number, and how many of them each may have at once.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use axum::{body::Body, http::Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Asker;

/// Bytes of an answer that are handed on at a time: what comes after them is held until they are
/// sent, and so is what the answer has a share of.
const PIECE: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(in crate::api) struct Shares {
    free: Arc<Semaphore>,
    each: usize,
    /// Nobody is in it who has none.
    had: Mutex<HashMap<Asker, usize>>,
}

impl Shares {
    pub(in crate::api) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(all)),
            each,
            had: Mutex::default(),
        })
    }

    /// Takes one; nothing where none is left, or none for this asker.
    pub(in crate::api) fn take(self: &Arc<Self>, asker: Asker) -> Option<Held> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        let mut had = self.had();
        let count = had.get(&asker).copied().unwrap_or(0);
        (count < self.each).then(|| {
            had.insert(asker, count + 1);
            Held {
                shares: Arc::clone(self),
                asker,
                _permit: permit,
            }
        })
    }

    fn had(&self) -> MutexGuard<'_, HashMap<Asker, usize>> {
        self.had.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is had, until it is dropped.
#[derive(Debug)]
pub(in crate::api) struct Held {
    shares: Arc<Shares>,
    asker: Asker,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut had = self.shares.had();
        match had.get_mut(&self.asker) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(had.remove(&self.asker)),
        }
    }
}

/// For how long an answer holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Holds {
    /// Until it has been sent.
    ToTheEnd,
    /// Until it waits for something to send: a watch that has told the state from which it begins.
    ToTheFirstWait,
}

/// Holds something while an answer is sent.
pub(in crate::api) fn held_back(
    response: Response<Body>,
    held: Held,
    holds: Holds,
) -> Response<Body> {
    response.map(|body| {
        Body::new(Sending {
            body,
            rest: Bytes::new(),
            held: Some(held),
            holds,
        })
    })
}

struct Sending {
    body: Body,
    /// What is left of a part of the body.
    rest: Bytes,
    held: Option<Held>,
    holds: Holds,
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                Poll::Pending => {
                    if self.holds == Holds::ToTheFirstWait {
                        self.held = None;
                    }
                    return Poll::Pending;
                }
                end => return end,
            }
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(body.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, stream};

    use super::*;

    #[test]
    fn nobody_has_more_than_a_share() {
        let shares = Shares::new(3, 2);
        let [ann, bob] = ["ann", "bob"].map(|name| Asker::named("user", name.as_bytes()));
        let first = shares.take(ann);
        let second = shares.take(ann);
        assert!(first.is_some() && second.is_some());
        assert!(shares.take(ann).is_none(), "it is more than a share");
        let other = shares.take(bob);
        assert!(other.is_some());
        assert!(shares.take(bob).is_none(), "there is none left");
        drop(first);
        assert!(shares.take(ann).is_some());
        drop((second, other));
        assert!(shares.had().is_empty());
    }

    #[test]
    fn what_an_answer_has_is_had_until_its_last_piece() {
        let shares = Shares::new(1, 1);
        let asker = Asker([1; 32]);
        let text = Bytes::from(vec![b'x'; 2 * PIECE + 1]);
        let response = Response::new(Body::from(text.clone()));
        let held = shares.take(asker).unwrap();
        let response = held_back(response, held, Holds::ToTheEnd);
        let length = hyper::body::Body::size_hint(response.body()).exact();
        assert_eq!(length, Some(text.len() as u64));
        let mut pieces = response.into_body().into_data_stream();
        let mut next = || pieces.next().now_or_never().unwrap();
        for length in [PIECE, PIECE, 1] {
            assert!(shares.take(asker).is_none());
            assert_eq!(next().unwrap().unwrap().len(), length);
        }
        assert!(next().is_none());
        drop(pieces);
        assert!(shares.take(asker).is_some());
    }

    #[test]
    fn a_watch_has_what_it_has_until_the_state_is_told() {
        for (holds, free) in [(Holds::ToTheFirstWait, true), (Holds::ToTheEnd, false)] {
            let shares = Shares::new(1, 1);
            let asker = Asker([1; 32]);
            let state = stream::iter([Ok::<_, std::io::Error>("a"), Ok("b")]);
            let body = Body::from_stream(state.chain(stream::pending()));
            let held = shares.take(asker).unwrap();
            let response = held_back(Response::new(body), held, holds);
            let mut told = response.into_body().into_data_stream();
            for _ in 0..2 {
                assert!(told.next().now_or_never().is_some());
                assert!(shares.take(asker).is_none());
            }
            assert!(told.next().now_or_never().is_none());
            assert_eq!(shares.take(asker).is_some(), free, "{holds:?}");
        }
    }
}
