//! Finds for the rows of a recorded list their partners in a simulated one.

use serde_json::Value;

use super::ids::Names;

/// Members by which a row without a known id is recognised, the most telling first.
const ROW_KEYS: &[&[&str]] = &[
    &["key"],
    &["aclname", "number"],
    &["resourcetypename"],
    &["displaytext"],
    &["name"],
    &["ipaddress"],
    &["deviceid"],
];

/// The pairs, then the recorded rows without a partner, then the simulated ones.
pub(super) type Paired<'a> = (Vec<(&'a Value, &'a Value)>, Vec<&'a Value>, Vec<&'a Value>);

/// Finds for every recorded row its simulated one: by known id, else by a telling member among
/// the rows that are still unknown, else in order.
pub(super) fn pair<'a>(
    names: &mut Names,
    recorded: &'a [Value],
    simulated: &'a [Value],
) -> Paired<'a> {
    let mut left: Vec<&Value> = simulated.iter().collect();
    let mut pairs = Vec::new();
    let mut unknown = Vec::new();
    for row in recorded {
        let known = row_id(row).and_then(|id| names.ids.simulated(id));
        match known.and_then(|id| left.iter().position(|s| row_id(s) == Some(id))) {
            Some(at) => pairs.push((row, left.remove(at))),
            None => unknown.push(row),
        }
    }
    for key in ROW_KEYS.iter().copied().chain([NO_KEY]) {
        let mut rest = Vec::new();
        for row in unknown {
            match left
                .iter()
                .position(|other| may_be_the_same(names, key, row, other))
            {
                Some(at) => {
                    let other = left.remove(at);
                    rebind_address(names, row, other);
                    pairs.push((row, other));
                }
                None => rest.push(row),
            }
        }
        unknown = rest;
    }
    (pairs, unknown, left)
}

/// Stands at the end of [`ROW_KEYS`] for rows that have none of them.
const NO_KEY: &[&str] = &[];

/// Whether two rows may be the same thing: neither is known to be another, and they agree in the
/// members `key` (which have to be there), or they have nothing to be told by.
fn may_be_the_same(names: &Names, key: &[&str], recorded: &Value, simulated: &Value) -> bool {
    let is_address = recorded.get("issourcenat").is_some();
    if !is_address {
        let known = row_id(recorded).is_some_and(|id| names.ids.simulated(id).is_some());
        let taken = row_id(simulated).is_some_and(|id| names.ids.is_taken(id));
        if known || taken {
            return false;
        }
    }
    let agree = |key: &[&str]| key.iter().all(|m| recorded.get(m) == simulated.get(m));
    let has = |key: &[&str]| key.iter().all(|member| recorded.get(member).is_some());
    match key {
        [] if is_address => agree(&["issourcenat", "isstaticnat", "state", "issystem"]),
        [] => !ROW_KEYS.iter().any(|key| has(key)),
        _ => has(key) && agree(key) && same_owner(names, recorded, simulated),
    }
}

/// Tags of one key hang on many resources.
fn same_owner(names: &Names, recorded: &Value, simulated: &Value) -> bool {
    let owner = |row: &Value| row.get("resourceid")?.as_str().map(str::to_owned);
    let known = owner(recorded).and_then(|id| names.ids.simulated(&id).map(str::to_owned));
    known.is_none() || known == owner(simulated)
}

/// The pool may hand out another address than the recorded one did, then that one is it.
fn rebind_address(names: &mut Names, recorded: &Value, simulated: &Value) {
    if recorded.get("issourcenat").is_some()
        && let (Some(r), Some(s)) = (row_id(recorded), row_id(simulated))
    {
        names.ids.bind(r, s);
    }
}

fn row_id(row: &Value) -> Option<&str> {
    ["id", "jobid"]
        .iter()
        .find_map(|member| row.get(member)?.as_str())
}

/// What tells a row from others, for a report.
pub(super) fn label(row: &Value) -> String {
    let told: Vec<_> = ["id", "jobid", "name", "ipaddress", "key", "state", "cmd"]
        .iter()
        .filter_map(|member| Some(format!("{member}={}", row.get(member)?.as_str()?)))
        .collect();
    format!("a row {}", told.join(" "))
}
