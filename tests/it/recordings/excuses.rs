//! What cannot be equal in a replay, and why. Nothing else is excused: not a status, a content
//! type, an envelope, a member, a type, a value or an error text.
//!
//! Two things are not excuses but what equal means: ids stand for each other (`ids.rs`), and error
//! texts are compared without the ids in them (`mask.rs`).

use std::collections::BTreeSet;

use super::exchange::Place;

/// Something that cannot be equal.
pub(super) struct Excuse {
    pub what: What,
    pub why: &'static str,
}

/// What an excuse is about. Each thing in a list has to be needed.
pub(super) enum What {
    /// These lines (file, line) are not sent.
    NotSent(&'static [(&'static str, usize)]),
    /// These members may be missing on either side.
    Absent(&'static [&'static str]),
    /// The values of these members need not be the same.
    Value(Judge, &'static [&'static str]),
    /// The lists of these commands may have other rows; those that both have are compared.
    OtherRows(&'static [&'static str]),
    /// The rows of these lists cannot be told apart: members and types are compared.
    Shape(&'static [&'static str]),
    /// A job that the recorder saw pending may have ended: what it then says more is not compared.
    Early,
    /// A machine for which no address was asked may have any private one.
    Anywhere,
}

/// How a value is judged that need not be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judge {
    /// It has to be of the same type.
    Type,
    /// It has to be the same but for its numbers.
    Digits,
    /// It has to stand for the same public address wherever it occurs.
    Address,
}

/// All of them. There shall never be more than [`MAX`].
pub(super) const EXCUSES: &[Excuse] = &[
    Excuse {
        what: What::NotSent(&[("admin/07", 4), ("admin/07", 5)]),
        why: "the server purged these wrecks itself at that moment, on a schedule of its own",
    },
    Excuse {
        what: What::Early,
        why: "by how many milliseconds a job outlives a poll is a matter of speed",
    },
    Excuse {
        what: What::OtherRows(&["listAsyncJobs"]),
        why: "which jobs have ended is a matter of speed",
    },
    Excuse {
        what: What::OtherRows(&["listTemplates", "listServiceOfferings"]),
        why: "what an operator offers is configuration",
    },
    Excuse {
        what: What::Shape(&["listApis"]),
        why: "it describes the server's version, command by command",
    },
    Excuse {
        what: What::Shape(&["listHosts"]),
        why: "hosts and their load are the operator's affair",
    },
    Excuse {
        what: What::Shape(&["listEvents"]),
        why: "events of one moment come in any order, with ids of their own",
    },
    Excuse {
        what: What::Absent(&[
            "cpuused",
            "networkkbsread",
            "networkkbswrite",
            "diskkbsread",
            "diskkbswrite",
            "diskioread",
            "diskiowrite",
            "diskiopstotal",
            "diskread",
            "diskwrite",
            "networkread",
            "networkwrite",
            "memorykbs",
            "memoryintfreekbs",
            "memorytargetkbs",
        ]),
        why: "there after the hypervisor's first statistics sample, up to a minute late",
    },
    Excuse {
        what: What::Value(
            Judge::Digits,
            &["created", "completed", "lastupdated", "allocated"],
        ),
        why: "a time of day",
    },
    Excuse {
        what: What::Value(Judge::Type, &["macaddress", "fingerprint", "privatekey"]),
        why: "drawn at random",
    },
    Excuse {
        what: What::Value(Judge::Digits, &["isolationuri", "broadcasturi"]),
        why: "carries a VLAN that was drawn at random",
    },
    Excuse {
        what: What::Value(Judge::Type, &["hostid", "hostname"]),
        why: "the planner is free in its choice of host",
    },
    Excuse {
        what: What::Value(Judge::Digits, &["instancename"]),
        why: "carries a database id",
    },
    Excuse {
        what: What::Value(Judge::Address, &["publicip"]),
        why: "the pool is free in its choice of a public address",
    },
    Excuse {
        what: What::Anywhere,
        why: "a private address that nobody asked for is drawn at random",
    },
];

/// How many excuses there may be.
pub(super) const MAX: usize = 20;

/// How much of a list has to agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Everything.
    Full,
    /// Everything in the rows that both sides have.
    CommonRows,
    /// Member names and types only.
    Shape,
}

/// How much of the answer to a command has to agree.
pub(super) fn depth(command: &str) -> Depth {
    let lists = |excuse: &Excuse| match excuse.what {
        What::OtherRows(commands) if commands.contains(&command) => Some(Depth::CommonRows),
        What::Shape(commands) if commands.contains(&command) => Some(Depth::Shape),
        _ => None,
    };
    EXCUSES.iter().find_map(lists).unwrap_or(Depth::Full)
}

/// How the value of a member is judged; it has to be the same if there is no excuse.
pub(super) fn judge(name: &str) -> Option<Judge> {
    EXCUSES.iter().find_map(|excuse| match excuse.what {
        What::Value(judge, members) if members.contains(&name) => Some(judge),
        _ => None,
    })
}

/// Whether a member may be missing.
pub(super) fn may_be_absent(name: &str) -> bool {
    EXCUSES.iter().any(|excuse| match excuse.what {
        What::Absent(members) => members.contains(&name),
        _ => false,
    })
}

/// Why a line is not sent, if it is not.
pub(super) fn not_sent(place: Place) -> Option<&'static str> {
    let line = (place.file, place.line);
    let excuse = EXCUSES.iter().find(|excuse| match excuse.what {
        What::NotSent(lines) => lines.contains(&line),
        _ => false,
    });
    excuse.map(|excuse| excuse.why)
}

/// What was excused in a replay.
#[derive(Debug, Default)]
pub(super) struct Used(BTreeSet<String>);

/// The name of an excuse that is about one thing.
pub(super) const EARLY: &str = "a job that ended early";
/// The same.
pub(super) const ANYWHERE: &str = "a private address";

impl Used {
    pub(super) fn note(&mut self, what: impl Into<String>) {
        self.0.insert(what.into());
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// What the list excuses and nothing needed.
    pub(super) fn stale(&self) -> Vec<String> {
        let listed = EXCUSES.iter().flat_map(|excuse| match excuse.what {
            What::NotSent(lines) => lines
                .iter()
                .map(|(file, line)| Place { file, line: *line }.to_string())
                .collect(),
            What::Absent(names)
            | What::Value(_, names)
            | What::OtherRows(names)
            | What::Shape(names) => names.iter().map(|name| (*name).to_owned()).collect(),
            What::Early => vec![EARLY.to_owned()],
            What::Anywhere => vec![ANYWHERE.to_owned()],
        });
        listed.filter(|what| !self.0.contains(what)).collect()
    }
}

#[test]
fn there_are_few_excuses_and_each_has_a_reason() {
    assert!(EXCUSES.len() <= MAX, "{} excuses", EXCUSES.len());
    assert!(EXCUSES.iter().all(|excuse| !excuse.why.is_empty()));
}

#[test]
fn an_excuse_that_nothing_needs_is_stale() {
    let mut used = Used::default();
    let all = used.stale();
    for what in &all[1..] {
        used.note(what.clone());
    }
    assert_eq!(used.stale(), all[..1]);
}
