//! How long jobs take in an account: guessed at first, then learned, to ask at the right time.
//!
//! A poll that comes too early costs a request, one that comes too late costs service. So each
//! kind of job is asked for when it is expected to have ended, and the expectation follows what
//! was seen: it grows where a job was still running, and shrinks a little where it had ended, or
//! it would never be found out that jobs end sooner.

use std::{collections::BTreeMap, time::Duration};

/// Jobs that take this long tell how quick the cloud is as a whole.
const TELLING: Duration = Duration::from_secs(1);

/// A cloud that needs less than this share of the usual times is a quick one.
const QUICK: f64 = 0.25;

/// What jobs take in one account.
#[derive(Debug, Default)]
pub(super) struct Pace {
    learned: BTreeMap<&'static str, Duration>,
    /// How this cloud's times compare with the usual ones, once a long job has told.
    scale: Option<f64>,
}

impl Pace {
    /// When a job of a kind is expected to end, from the answer to its submit on.
    pub(super) fn expected(&self, kind: &str) -> Duration {
        let guess = || usual(kind).mul_f64(self.scale.unwrap_or(1.0));
        self.learned.get(kind).copied().unwrap_or_else(guess)
    }

    /// Whether a job of this kind would tell what kind of cloud this is, which nobody knows yet.
    pub(super) fn would_tell(&self, kind: &str) -> bool {
        self.scale.is_none() && usual(kind) >= TELLING
    }

    /// Whether jobs end so soon that a look at their effect is cheaper than asking for them.
    pub(super) fn quick(&self) -> bool {
        self.scale.is_some_and(|scale| scale < QUICK)
    }

    /// Learns from a job that had ended when it was first asked for at the expected time.
    pub(super) fn on_time(&mut self, kind: &'static str) {
        let expected = self.expected(kind);
        if self.would_tell(kind) {
            self.scale = Some(1.0);
        }
        self.learned.insert(kind, expected * 127 / 128);
    }

    /// Learns from a job that was seen to end `took` after its submit.
    pub(super) fn took(&mut self, kind: &'static str, took: Duration) {
        let expected = self.expected(kind);
        let known = if took < expected {
            took
        } else {
            (expected * 3 + took) / 4
        };
        if usual(kind) >= TELLING {
            self.scale = Some(known.as_secs_f64() / usual(kind).as_secs_f64());
        }
        self.learned.insert(kind, known);
    }
}

/// The start that brings a tier's router up, which takes longer than any other.
pub(super) const FIRST_START: &str = "startVirtualMachine, the first of its tier";

/// What jobs took on a CloudStack 4.22 of two cores, from the answer to the submit on
/// (`cloudstack-observed`, section 3), where that was several times the time of a request.
fn usual(kind: &str) -> Duration {
    let millis = match kind {
        "createVPC" | FIRST_START => 1_940,
        "startVirtualMachine" | "rebootVirtualMachine" => 1_040,
        "stopVirtualMachine" => 1_250,
        "restoreVirtualMachine" => 1_600,
        "destroyVirtualMachine" => 5_400,
        "expungeVirtualMachine" => 8_000,
        "deleteVPC" => 1_100,
        "updateVmNicIp" => 900,
        "deleteNetwork" | "deleteNetworkACLList" => 500,
        "createTags" | "deleteTags" | "disassociateIpAddress" | "disableStaticNat" => 385,
        "deployVirtualMachine" => 180,
        "updateNetworkACLItem" | "deleteNetworkACL" | "replaceNetworkACLList" => 235,
        _ => 50,
    };
    Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_settle_where_jobs_really_end() {
        let mut pace = Pace::default();
        let really = Duration::from_millis(3_000);
        for _ in 0..200 {
            if pace.expected("createVPC") < really {
                pace.took("createVPC", really + Duration::from_millis(100));
            } else {
                pace.on_time("createVPC");
            }
        }
        let off = pace.expected("createVPC").abs_diff(really);
        assert!(off < Duration::from_millis(300), "{off:?}");
    }

    #[test]
    fn one_long_job_tells_of_all_others() {
        let mut pace = Pace::default();
        assert!(pace.would_tell("createVPC") && !pace.would_tell("createTags"));
        pace.took("createTags", Duration::from_millis(10));
        assert!(!pace.quick(), "a short job tells nothing");
        pace.took("createVPC", Duration::from_millis(60));
        assert!(pace.quick() && !pace.would_tell("destroyVirtualMachine"));
        assert!(pace.expected("destroyVirtualMachine") < Duration::from_millis(300));
    }
}
