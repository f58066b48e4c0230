//! The events of a watch, one line of JSON each.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream::BoxStream};
use reqwest::Response;
use serde_json::Value;

use super::{ClientError, transport::Transport};
use crate::{api::Status, types::meta::Object};

/// The longest line that is read: twice the largest body that the server takes.
const LINE_MAX: usize = 6 << 20;

/// One event of a watch.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchItem {
    /// `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`. A bookmark's object has only a
    /// `resourceVersion`, to watch from next time.
    pub event: String,
    /// The object as it is since, or as it was last.
    pub object: Object,
}

/// The events of a watch. After an error it ends.
pub struct WatchStream {
    transport: Transport,
    chunks: BoxStream<'static, Result<Bytes, reqwest::Error>>,
    buffer: BytesMut,
    /// Up to here the buffer has been searched for the end of a line.
    searched: usize,
    over: bool,
}

impl WatchStream {
    pub(super) fn new(transport: Transport, response: Response) -> Self {
        Self {
            transport,
            chunks: response.bytes_stream().boxed(),
            buffer: BytesMut::new(),
            searched: 0,
            over: false,
        }
    }

    /// The next event that is complete in the buffer.
    fn complete(&mut self) -> Option<Result<WatchItem, ClientError>> {
        loop {
            let rest = &self.buffer[self.searched..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                return None;
            };
            let line = self.buffer.split_to(self.searched + end + 1);
            self.searched = 0;
            if !line.trim_ascii().is_empty() {
                return Some(self.item(&line));
            }
        }
    }

    fn item(&self, line: &[u8]) -> Result<WatchItem, ClientError> {
        let nonsense = |error: serde_json::Error| self.transport.nonsense(&error);
        let mut value: Value = serde_json::from_slice(line).map_err(nonsense)?;
        let object = value["object"].take();
        if value["type"] == "ERROR" {
            let status: Status = serde_json::from_value(object).map_err(nonsense)?;
            return Err(ClientError::Refused(Box::new(status)));
        }
        Ok(WatchItem {
            event: value["type"].as_str().unwrap_or_default().to_owned(),
            object: serde_json::from_value(object).map_err(nonsense)?,
        })
    }
}

impl Stream for WatchStream {
    type Item = Result<WatchItem, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.over {
            if let Some(item) = self.complete() {
                self.over = item.is_err();
                return Poll::Ready(Some(item));
            }
            match ready!(self.chunks.poll_next_unpin(cx)) {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => {
                    self.over = true;
                    return Poll::Ready(Some(Err(self.transport.unreachable(error))));
                }
                None => self.over = true,
            }
            if self.buffer.len() > LINE_MAX {
                self.over = true;
                let error = self.transport.nonsense(&"an event of endless length");
                return Poll::Ready(Some(Err(error)));
            }
        }
        Poll::Ready(None)
    }
}

impl std::fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchStream")
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
