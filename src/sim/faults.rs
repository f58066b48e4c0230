//! Faults on request: what can go wrong between a client and its cloud.
//!
//! A fault waits for a command, lets some pass, strikes a number of times, and is then used up.
//! Whether one strikes is drawn from the world's seed.

use serde::{Deserialize, Serialize};

use super::jobs::Twist;
use super::world::chance::Chance;

/// A fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// The command that it waits for; any if absent.
    #[serde(default)]
    pub command: Option<String>,
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// How often it strikes; for ever if absent.
    #[serde(default)]
    pub count: Option<u32>,
    /// How many matching requests it lets pass first.
    #[serde(default)]
    pub skip: u32,
    /// How likely it is to strike a matching request.
    #[serde(default = "certain")]
    pub probability: f64,
}

fn certain() -> f64 {
    1.0
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FaultKind {
    /// The connection is lost before the request had any effect.
    LostRequest,
    /// The request has its effect and the connection is lost before the answer.
    LostReply,
    /// The effect is there at once, the answer comes this much later.
    Slow {
        /// How much later, in milliseconds.
        millis: u64,
    },
    /// Another HTTP status, before any effect: 401 and 429 with CloudStack's body, others with
    /// the page of a proxy.
    Status {
        /// The status.
        code: u16,
    },
    /// The effect is there and half of the answer's body.
    Truncated,
    /// A list answers that there is nothing.
    EmptyList,
    /// A list tells the right count and leaves the last rows out.
    ShortList,
    /// A list shows the world as it was when the fault was added.
    StaleList,
    /// The job fails when it ends, without effect.
    FailJob {
        /// The error code.
        code: u16,
        /// The error text.
        text: String,
    },
    /// The job never ends.
    HangJob,
    /// No host has room: a start ends in 533.
    NoCapacity,
    /// Every host fails to start the machine: a start ends in 530.
    StartFails,
    /// The hypervisor does not stop the machine.
    HypervisorStopFails,
}

impl FaultKind {
    /// What the fault does to the job that the request submits, if that is what it does.
    pub(crate) fn twist(&self) -> Option<Twist> {
        match self {
            Self::FailJob { code, text } => Some(Twist::Fail {
                code: *code,
                text: text.clone(),
            }),
            Self::HangJob => Some(Twist::Hang),
            Self::NoCapacity => Some(Twist::NoCapacity),
            Self::StartFails => Some(Twist::StartFails),
            Self::HypervisorStopFails => Some(Twist::StopFails),
            Self::LostRequest
            | Self::LostReply
            | Self::Slow { .. }
            | Self::Status { .. }
            | Self::Truncated
            | Self::EmptyList
            | Self::ShortList
            | Self::StaleList => None,
        }
    }

    /// Whether it can happen to this command at all.
    fn fits(&self, command: &str) -> bool {
        match self {
            Self::EmptyList | Self::ShortList | Self::StaleList => command.starts_with("list"),
            Self::FailJob { .. } | Self::HangJob => {
                super::commands::find(command).is_some_and(|known| known.job.is_some())
            }
            Self::NoCapacity | Self::StartFails => {
                matches!(command, "deployVirtualMachine" | "startVirtualMachine")
            }
            Self::HypervisorStopFails => {
                matches!(command, "stopVirtualMachine" | "destroyVirtualMachine")
            }
            Self::LostRequest
            | Self::LostReply
            | Self::Slow { .. }
            | Self::Status { .. }
            | Self::Truncated => true,
        }
    }
}

impl Fault {
    /// A fault that strikes every time, until it is cleared.
    #[must_use]
    pub fn always(command: Option<&str>, kind: FaultKind) -> Self {
        let command = command.map(ToOwned::to_owned);
        Self {
            command,
            kind,
            count: None,
            skip: 0,
            probability: 1.0,
        }
    }

    /// A fault that strikes once.
    #[must_use]
    pub fn once(command: &str, kind: FaultKind) -> Self {
        Self {
            count: Some(1),
            ..Self::always(Some(command), kind)
        }
    }

    fn waits_for(&self, command: &str) -> bool {
        let named = self.command.as_deref().is_none_or(|name| name == command);
        named && self.count != Some(0) && self.kind.fits(command)
    }
}

/// The faults that are waiting.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    waiting: Vec<Fault>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.waiting.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(crate) fn all(&self) -> &[Fault] {
        &self.waiting
    }

    /// The fault that strikes this command: the first that waits for it and is lucky.
    pub(crate) fn strike(&mut self, command: &str, chance: &mut Chance) -> Option<FaultKind> {
        for fault in self
            .waiting
            .iter_mut()
            .filter(|fault| fault.waits_for(command))
        {
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if fault.probability < 1.0 && !chance.happens(fault.probability) {
                continue;
            }
            fault.count = fault.count.map(|count| count - 1);
            return Some(fault.kind.clone());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_skips_strikes_and_is_used_up() {
        let mut faults = Faults::default();
        faults.add(Fault {
            skip: 1,
            ..Fault::once("listVPCs", FaultKind::LostReply)
        });
        let mut chance = Chance::new(1);
        let struck: Vec<bool> = (0..4)
            .map(|_| faults.strike("listVPCs", &mut chance).is_some())
            .collect();
        assert_eq!(struck, [false, true, false, false]);
        assert_eq!(faults.strike("listZones", &mut chance), None);
    }

    #[test]
    fn a_fault_reads_from_the_json_of_the_admin_endpoint() {
        let text =
            r#"{"command": "startVirtualMachine", "kind": "fail-job", "code": 530, "text": "x"}"#;
        let fault: Fault = serde_json::from_str(text).expect("a fault");
        let kind = FaultKind::FailJob {
            code: 530,
            text: "x".into(),
        };
        assert_eq!(fault, Fault::always(Some("startVirtualMachine"), kind));
    }

    #[test]
    fn a_start_fault_leaves_lists_alone() {
        let mut faults = Faults::default();
        faults.add(Fault::always(None, FaultKind::NoCapacity));
        assert_eq!(faults.strike("listVPCs", &mut Chance::new(1)), None);
    }
}
