//! The requests received so far, for tests that count them and for people who want to know what a
//! client did.

use std::collections::VecDeque;

use super::LoggedRequest;

/// How many requests are remembered: more than any test sends, and a bound for long runs.
const REQUESTS_MAX: usize = 100_000;
/// How many bytes they may hold together: user data alone can be 32 KiB of each.
const BYTES_MAX: usize = 32 << 20;
/// What a parameter takes beside its text: two strings with their ends, in a map.
const PARAMETER: usize = 80;

/// See the module.
#[derive(Default)]
pub(super) struct Requests {
    known: VecDeque<LoggedRequest>,
    bytes: usize,
}

impl Requests {
    /// Remembers a request, and forgets the oldest where there are too many.
    pub(super) fn add(&mut self, request: LoggedRequest) {
        self.bytes += size(&request);
        self.known.push_back(request);
        while self.known.len() > REQUESTS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.known.pop_front() else {
                break;
            };
            self.bytes -= size(&oldest);
        }
    }

    /// All that are remembered, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &LoggedRequest> {
        self.known.iter()
    }

    /// Forgets them.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn size(request: &LoggedRequest) -> usize {
    let params = request.params.iter();
    let params = params.map(|(name, value)| name.len() + value.len() + PARAMETER);
    size_of::<LoggedRequest>() + request.user.len() + request.command.len() + params.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn large_requests_push_old_ones_out() {
        let mut requests = Requests::default();
        let data = "x".repeat(32_768);
        for number in 0..2_000_u16 {
            requests.add(LoggedRequest {
                at: jiff::Timestamp::UNIX_EPOCH,
                user: "operator".to_owned(),
                command: number.to_string(),
                params: BTreeMap::from([("userdata".to_owned(), data.clone())]),
                status: 200,
            });
        }
        assert!(requests.bytes <= BYTES_MAX && requests.known.len() > 1_000);
        assert_eq!(requests.iter().last().expect("one").command, "1999");
        requests.clear();
        assert_eq!((requests.bytes, requests.iter().count()), (0, 0));
    }
}
