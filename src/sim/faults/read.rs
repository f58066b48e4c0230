//! Faults as people write them: `kind`, what it needs, and what narrows it down.

use jiff::Timestamp;

use super::{Fault, FaultKind};
use crate::sim::commands;
use crate::sim::fields::{Fields, Wrong, nearest, unknown};

/// The kinds of faults, and what each does.
pub(crate) const KINDS: &[(&str, &str)] = &[
    (
        "lost-request",
        "the connection is lost before the request has any effect",
    ),
    (
        "lost-reply",
        "the request has its effect, and the connection is lost before the answer",
    ),
    ("slow", "the answer comes `millis` later"),
    (
        "status",
        "HTTP status `code` before any effect: 401 and 429 as CloudStack's, others as a proxy's page",
    ),
    (
        "html",
        "a proxy answers with a page of its own and status 200, before any effect",
    ),
    (
        "maintenance",
        "no new jobs are taken (503), lists still answer",
    ),
    (
        "truncated",
        "the answer's body ends in its middle, after the effect",
    ),
    ("empty-list", "a list answers that there is nothing"),
    (
        "short-list",
        "a list tells the right count and leaves the last rows out",
    ),
    (
        "gappy-list",
        "a list of several leaves out its last row, and counts without it",
    ),
    (
        "stale-list",
        "a list shows the world as it was when the fault began to wait",
    ),
    (
        "fail-job",
        "the job fails with `code` and `text`, without effect",
    ),
    ("hang-job", "the job never ends"),
    (
        "lose-job",
        "the job does its work and is unknown from then on",
    ),
    ("no-capacity", "no host has room: a start ends in 533"),
    (
        "start-fails",
        "every host fails to start the machine: a start ends in 530",
    ),
    (
        "hypervisor-stop-fails",
        "the hypervisor does not stop the machine: a stop ends in 530",
    ),
];

/// The statuses that a proxy or a server gives instead of an answer.
const STATUSES: std::ops::RangeInclusive<u16> = 400..=599;

/// Reads a fault; times are counted from `now`.
pub(crate) fn fault(mut fields: Fields, now: Timestamp) -> Result<Fault, Wrong> {
    let kind = kind(&mut fields)?;
    let command = command(&mut fields, &kind)?;
    let fault = Fault {
        user: fields.text("user")?,
        count: fields.whole("count", 1..=u32::MAX)?,
        skip: fields.whole("skip", 0..=u32::MAX)?.unwrap_or(0),
        probability: fields.number("probability", 0.0..=1.0)?.unwrap_or(1.0),
        from: fields.moment("from", now)?,
        until: fields.moment("until", now)?,
        command,
        kind,
    };
    if fault
        .until
        .is_some_and(|until| until <= fault.from.unwrap_or(now))
    {
        return Err(fields.wrong(
            "until",
            "is over before the fault begins: choose a later time",
        ));
    }
    fields.end()?;
    Ok(fault)
}

fn kind(fields: &mut Fields) -> Result<FaultKind, Wrong> {
    let word = fields.needed("kind", "lost-reply")?;
    Ok(match word.as_str() {
        "lost-request" => FaultKind::LostRequest,
        "lost-reply" => FaultKind::LostReply,
        "slow" => FaultKind::Slow {
            millis: fields
                .whole("millis", 1..=600_000)?
                .ok_or_else(|| fields.wrong("millis", "is missing: write millis: 3000"))?,
        },
        "status" => FaultKind::Status {
            code: fields
                .whole("code", STATUSES)?
                .ok_or_else(|| fields.wrong("code", "is missing: write code: 503"))?,
        },
        "html" => FaultKind::Html,
        "maintenance" => FaultKind::Maintenance,
        "truncated" => FaultKind::Truncated,
        "empty-list" => FaultKind::EmptyList,
        "short-list" => FaultKind::ShortList,
        "gappy-list" => FaultKind::GappyList,
        "stale-list" => FaultKind::StaleList,
        "fail-job" => FaultKind::FailJob {
            code: fields.whole("code", STATUSES)?.unwrap_or(530),
            text: fields.text("text")?.unwrap_or_else(|| {
                "Internal error executing command, please contact your system administrator"
                    .to_owned()
            }),
        },
        "hang-job" => FaultKind::HangJob,
        "lose-job" => FaultKind::LoseJob,
        "no-capacity" => FaultKind::NoCapacity,
        "start-fails" => FaultKind::StartFails,
        "hypervisor-stop-fails" => FaultKind::HypervisorStopFails,
        other => {
            let known: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            return Err(fields.wrong("kind", unknown(other, "kind of fault", &known)));
        }
    })
}

/// The command, spelt as the server spells it, or the beginning of some.
fn command(fields: &mut Fields, kind: &FaultKind) -> Result<Option<String>, Wrong> {
    let Some(name) = fields.text("command")? else {
        return Ok(None);
    };
    let fits: Vec<&str> = commands::names()
        .filter(|known| match name.strip_suffix('*') {
            Some(start) => known.starts_with(start),
            None => known.eq_ignore_ascii_case(&name),
        })
        .collect();
    let Some(first) = fits.first() else {
        let near = nearest(&name, commands::names());
        let near = near.map_or_else(
            || "write it as the API has it, or its beginning and a star, like list*".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        return Err(fields.wrong(
            "command",
            format!("this cloud has no command `{name}`; {near}"),
        ));
    };
    if !fits.iter().any(|known| kind.fits(known)) {
        let word = serde_json::to_value(kind).unwrap_or_default();
        let word = word["kind"].as_str().unwrap_or_default();
        let what = format!(
            "`{name}` cannot be struck by {word}: see what it strikes in `weir sim fault kinds`"
        );
        return Err(fields.wrong("command", what));
    }
    Ok(Some(match name.ends_with('*') {
        true => name,
        false => (*first).to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Fault, String> {
        let fields = Fields::of("", value).unwrap();
        fault(fields, Timestamp::UNIX_EPOCH).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn every_kind_is_read_and_written_by_the_same_name() {
        for (name, _) in KINDS {
            let mut written = json!({"kind": name});
            match *name {
                "slow" => written["millis"] = 1.into(),
                "status" => written["code"] = 503.into(),
                _ => {}
            }
            let fault = read(written).unwrap();
            assert_eq!(serde_json::to_value(&fault).unwrap()["kind"], *name);
            assert_eq!(fault.kind.name(), *name);
        }
    }

    #[test]
    fn a_fault_is_narrowed_down() {
        let fault = read(json!({
            "kind": "fail-job", "code": 534, "text": "x", "command": "startvirtualmachine",
            "user": "kim", "count": 2, "skip": 1, "probability": 0.5, "from": "10s", "until": "1m",
        }));
        let kind = FaultKind::FailJob {
            code: 534,
            text: "x".to_owned(),
        };
        let second = |second| Timestamp::from_second(second).unwrap();
        let wanted = Fault {
            user: Some("kim".to_owned()),
            count: Some(2),
            skip: 1,
            probability: 0.5,
            from: Some(second(10)),
            until: Some(second(60)),
            ..Fault::always(Some("startVirtualMachine"), kind)
        };
        assert_eq!(fault, Ok(wanted));
        assert_eq!(
            read(json!({"kind": "lost-reply", "command": "list*"})),
            Ok(Fault::always(Some("list*"), FaultKind::LostReply))
        );
    }

    #[test]
    fn mistakes_are_told() {
        for (value, told) in [
            (json!({}), "kind: is missing: write kind: lost-reply"),
            (
                json!({"kind": "lost-replay"}),
                "kind: `lost-replay` is no kind of fault; did you mean `lost-reply`?",
            ),
            (
                json!({"kind": "slow"}),
                "millis: is missing: write millis: 3000",
            ),
            (
                json!({"kind": "status", "code": 200}),
                "code: `200` is not a whole number from 400 to 599",
            ),
            (
                json!({"kind": "html", "command": "listVPC"}),
                "command: this cloud has no command `listVPC`; did you mean `listVPCs`?",
            ),
            (
                json!({"kind": "short-list", "command": "createVPC"}),
                "command: `createVPC` cannot be struck by short-list: see what it strikes in \
                 `weir sim fault kinds`",
            ),
            (
                json!({"kind": "html", "from": "1m", "until": "30s"}),
                "until: is over before the fault begins: choose a later time",
            ),
            (
                json!({"kind": "html", "odds": 3}),
                "odds: there is no such field; there are kind, command, user, count, skip, \
                 probability, from, until",
            ),
        ] {
            assert_eq!(read(value), Err(told.to_owned()));
        }
    }
}
