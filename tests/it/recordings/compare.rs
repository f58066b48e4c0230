//! Holds a simulated answer against the recorded one.
//!
//! Strict: same members, same types, same values, but for what [`excuses`](super::excuses) lists.

use serde_json::{Map, Value};

use super::{
    excuses::{ANYWHERE, Depth, Judge, Used, judge, may_be_absent},
    ids::{Names, is_uuid},
    mask::{mask, mask_numbers},
    rows::{label, pair},
};

/// One place in an answer where the two differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub path: String,
    pub recorded: String,
    pub simulated: String,
}

/// One comparison: what it learns goes to `names`, what it dislikes to `differences`.
pub(super) struct Comparison<'a> {
    pub names: &'a mut Names,
    /// What was excused.
    used: &'a mut Used,
    pub depth: Depth,
    pub differences: Vec<Difference>,
    /// Whether one side has rows that the other has not, and may.
    pub other_rows: bool,
    /// Inside a VM whose private address nobody asked for.
    anywhere: bool,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(names: &'a mut Names, used: &'a mut Used, depth: Depth) -> Self {
        Self {
            names,
            used,
            depth,
            differences: Vec::new(),
            other_rows: false,
            anywhere: false,
        }
    }

    /// Compares two values that stand at the same place.
    pub(super) fn value(&mut self, path: &str, recorded: &Value, simulated: &Value) {
        match (recorded, simulated) {
            (Value::Object(r), Value::Object(s)) => self.object(path, r, s),
            (Value::Array(r), Value::Array(s)) => self.rows(path, r, s),
            _ if kind(recorded) != kind(simulated) => {
                let found = format!("{} ({})", brief(simulated), kind(simulated));
                self.differ(
                    path,
                    format!("{} ({})", brief(recorded), kind(recorded)),
                    found,
                );
            }
            _ => self.scalar(path, recorded, simulated),
        }
    }

    fn object(
        &mut self,
        path: &str,
        recorded: &Map<String, Value>,
        simulated: &Map<String, Value>,
    ) {
        let outside = self.anywhere;
        self.anywhere |= ["name", "virtualmachinename"].iter().any(|member| {
            let name = recorded.get(*member).and_then(Value::as_str);
            name.is_some_and(|name| self.names.anywhere.iter().any(|vm| vm == name))
        });
        self.learn_address(recorded, simulated);
        for (name, value) in recorded {
            let path = format!("{path}.{name}");
            match simulated.get(name) {
                Some(other) if name == "count" => self.count(&path, value, other),
                Some(other) => self.value(&path, value, other),
                None if self.excuses_absence(name) => {}
                None => self.differ(&path, brief(value), "absent".into()),
            }
        }
        for (name, value) in simulated {
            if !recorded.contains_key(name) && !self.excuses_absence(name) {
                self.differ(&format!("{path}.{name}"), "absent".into(), brief(value));
            }
        }
        self.anywhere = outside;
    }

    /// A public address and its id are learnt together, for one without the other means nothing.
    fn learn_address(&mut self, recorded: &Map<String, Value>, simulated: &Map<String, Value>) {
        let address = |row: &Map<String, Value>| {
            row.get("issourcenat")?;
            row.get("ipaddress")?.as_str().map(str::to_owned)
        };
        if let (Some(r), Some(s)) = (address(recorded), address(simulated)) {
            self.names.addresses.bind(&r, &s);
        }
    }

    /// `count` says how many rows there are, where both sides have the same ones.
    fn count(&mut self, path: &str, recorded: &Value, simulated: &Value) {
        let full = self.depth == Depth::Full;
        if kind(recorded) != kind(simulated) || (full && recorded != simulated) {
            self.differ(path, brief(recorded), brief(simulated));
        }
    }

    fn rows(&mut self, path: &str, recorded: &[Value], simulated: &[Value]) {
        let path = format!("{path}[]");
        if !recorded.iter().chain(simulated).all(Value::is_object) {
            if recorded.len() != simulated.len() {
                self.differ(
                    &path,
                    recorded.len().to_string(),
                    simulated.len().to_string(),
                );
            }
            for (r, s) in recorded.iter().zip(simulated) {
                self.value(&path, r, s);
            }
        } else if self.depth == Depth::Shape {
            self.shapes(&path, recorded, simulated);
        } else {
            self.paired(&path, recorded, simulated);
        }
    }

    fn paired(&mut self, path: &str, recorded: &[Value], simulated: &[Value]) {
        let (pairs, missing, extra) = pair(self.names, recorded, simulated);
        for (r, s) in pairs {
            self.value(path, r, s);
        }
        if self.depth == Depth::CommonRows {
            self.other_rows |= !missing.is_empty() || !extra.is_empty();
            return;
        }
        for row in missing {
            self.differ(path, label(row), "no such row".into());
        }
        for row in extra {
            self.differ(path, "no such row".into(), label(row));
        }
    }

    /// Rows that cannot be paired: each simulated one has what all recorded ones have, and
    /// nothing that no recorded one has.
    fn shapes(&mut self, path: &str, recorded: &[Value], simulated: &[Value]) {
        if recorded.is_empty() != simulated.is_empty() {
            let rows = |rows: &[Value]| format!("{} rows", rows.len());
            self.differ(path, rows(recorded), rows(simulated));
        }
        for row in simulated.iter().filter_map(Value::as_object) {
            for (name, value) in row {
                self.member_shape(&format!("{path}.{name}"), name, recorded, value);
            }
            self.shape_has_all(path, recorded, row);
        }
    }

    fn member_shape(&mut self, path: &str, name: &str, recorded: &[Value], simulated: &Value) {
        let like = recorded.iter().filter_map(|row| row.get(name));
        let like: Vec<_> = like
            .filter(|value| kind(value) == kind(simulated))
            .collect();
        match (like.first(), simulated) {
            (None, _) if self.excuses_absence(name) => {}
            (None, _) => self.differ(path, "absent, or of another type".into(), brief(simulated)),
            (Some(_), Value::Array(rows)) => {
                let all: Vec<_> = like
                    .iter()
                    .flat_map(|v| v.as_array().unwrap())
                    .cloned()
                    .collect();
                if !rows.is_empty() {
                    self.rows(path, &all, rows);
                }
            }
            (Some(first), _) => self.value(path, first, simulated),
        }
    }

    fn shape_has_all(&mut self, path: &str, recorded: &[Value], row: &Map<String, Value>) {
        let Some(first) = recorded.first().and_then(Value::as_object) else {
            return;
        };
        for (name, value) in first {
            let always = recorded.iter().all(|r| r.get(name).is_some());
            if always && !row.contains_key(name) && !self.excuses_absence(name) {
                self.differ(&format!("{path}.{name}"), brief(value), "absent".into());
            }
        }
    }

    fn scalar(&mut self, path: &str, recorded: &Value, simulated: &Value) {
        let name = path.rsplit('.').next().unwrap_or(path);
        let same = match (recorded, simulated) {
            _ if self.depth == Depth::Shape => true,
            (Value::String(r), Value::String(s)) => self.text(name, r, s),
            _ => recorded == simulated || self.excuses(name, |judge| judge == Judge::Type),
        };
        if !same {
            self.differ(path, brief(recorded), brief(simulated));
        }
    }

    /// Whether two texts say the same.
    fn text(&mut self, name: &str, recorded: &str, simulated: &str) -> bool {
        let same = recorded == simulated;
        match judge(name) {
            _ if name == "errortext" => mask(recorded) == mask(simulated),
            None if is_uuid(recorded) && is_uuid(simulated) => {
                self.names.ids.agree(recorded, simulated)
            }
            None if name == "ipaddress" => {
                let known = self.names.addresses.simulated(recorded);
                let same = known.unwrap_or(recorded) == simulated;
                if self.anywhere && !same {
                    self.used.note(ANYWHERE);
                }
                same || self.anywhere
            }
            None => same,
            Some(Judge::Address) => {
                let agree = self.names.addresses.agree(recorded, simulated);
                same && agree || self.excuses(name, |_| agree)
            }
            Some(Judge::Type) => same || self.excuses(name, |_| true),
            Some(Judge::Digits) => {
                let alike = mask_numbers(recorded) == mask_numbers(simulated);
                same || self.excuses(name, |_| alike)
            }
        }
    }

    /// Whether two different values of a member are excused.
    fn excuses(&mut self, name: &str, alike: impl Fn(Judge) -> bool) -> bool {
        let excused = judge(name).is_some_and(alike);
        if excused {
            self.used.note(name);
        }
        excused
    }

    fn excuses_absence(&mut self, name: &str) -> bool {
        let excused = may_be_absent(name);
        if excused {
            self.used.note(name);
        }
        excused
    }

    fn differ(&mut self, path: &str, recorded: String, simulated: String) {
        self.differences.push(Difference {
            path: path.to_owned(),
            recorded,
            simulated,
        });
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 160 {
        return text;
    }
    text.chars().take(157).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::recordings::{exchange::read, excuses, tables};

    const A: &str = "11111111-1111-4111-8111-111111111111";
    const B: &str = "22222222-2222-4222-8222-222222222222";
    const C: &str = "33333333-3333-4333-8333-333333333333";

    #[track_caller]
    fn check(depth: Depth, recorded: &Value, simulated: &Value, differing: &[&str]) {
        let mut names = Names::default();
        names.ids.bind(A, B);
        let mut used = Used::default();
        let mut comparison = Comparison::new(&mut names, &mut used, depth);
        comparison.value("", recorded, simulated);
        let paths: Vec<_> = comparison
            .differences
            .iter()
            .map(|d| d.path.as_str())
            .collect();
        assert_eq!(paths, differing);
    }

    #[track_caller]
    fn check_full(recorded: &Value, simulated: &Value, differing: &[&str]) {
        check(Depth::Full, recorded, simulated, differing);
    }

    #[test]
    fn members_and_their_types_must_agree() {
        let recorded = json!({"state": "Running", "number": 1});
        check_full(&recorded, &recorded, &[]);
        check_full(&recorded, &json!({"state": "Running"}), &[".number"]);
        check_full(
            &recorded,
            &json!({"state": "Running", "number": "1"}),
            &[".number"],
        );
        check_full(
            &recorded,
            &json!({"state": "Stopped", "number": 1}),
            &[".state"],
        );
        check_full(&json!({}), &json!({"extra": []}), &[".extra"]);
        check_full(&json!({"cpuused": "1%"}), &json!({}), &[]);
    }

    #[test]
    fn a_known_id_must_be_met_again() {
        check_full(&json!({"id": A}), &json!({"id": B}), &[]);
        check_full(&json!({"id": A}), &json!({"id": C}), &[".id"]);
        check_full(&json!({"id": C}), &json!({"id": B}), &[".id"]);
        check_full(
            &json!({"id": C, "again": C}),
            &json!({"id": A, "again": A}),
            &[],
        );
        check_full(
            &json!({"id": C, "again": C}),
            &json!({"id": A, "again": C}),
            &[".id"],
        );
    }

    #[test]
    fn rows_are_found_by_id_then_by_name() {
        let recorded = json!([{"id": A, "name": "a"}, {"id": C, "name": "c"}]);
        let new = "44444444-4444-4444-8444-444444444444";
        check_full(
            &recorded,
            &json!([{"id": new, "name": "c"}, {"id": B, "name": "a"}]),
            &[],
        );
        check_full(&recorded, &json!([{"id": B, "name": "a"}]), &["[]"]);
        check_full(
            &recorded,
            &json!([{"id": B, "name": "c"}, {"id": new, "name": "c"}]),
            &["[].name"],
        );
        check_full(&json!([]), &recorded, &["[]", "[]"]);
    }

    #[test]
    fn a_catalogue_may_have_other_rows_but_not_other_members() {
        let recorded = json!([{"name": "a", "memory": 512}, {"name": "b", "memory": 512}]);
        check(
            Depth::CommonRows,
            &recorded,
            &json!([{"name": "a", "memory": 512}]),
            &[],
        );
        check(
            Depth::CommonRows,
            &recorded,
            &json!([{"name": "a"}]),
            &["[].memory"],
        );
    }

    #[test]
    fn rows_that_cannot_be_told_apart_share_a_shape() {
        let recorded = json!([{"type": "VM.STOP", "parentid": A}, {"type": "VM.START"}]);
        check(Depth::Shape, &recorded, &json!([{"type": "X"}]), &[]);
        check(
            Depth::Shape,
            &recorded,
            &json!([{"parentid": A}]),
            &["[].type"],
        );
        check(Depth::Shape, &recorded, &json!([{"type": 1}]), &["[].type"]);
        check(
            Depth::Shape,
            &recorded,
            &json!([{"type": "X", "more": 1}]),
            &["[].more"],
        );
        check(Depth::Shape, &recorded, &json!([]), &["[]"]);
    }

    #[test]
    fn every_recorded_answer_agrees_with_itself_under_other_ids() {
        let (mut names, mut used) = (Names::default(), Used::default());
        for (file, _) in tables::ADMIN.iter().chain(tables::TENANT) {
            for (place, exchange) in read(file) {
                let depth = excuses::depth(exchange.command().unwrap_or_default());
                let mut comparison = Comparison::new(&mut names, &mut used, depth);
                comparison.value("", &exchange.body, &under_other_ids(&exchange.body));
                assert_eq!(comparison.differences, [], "{place}");
            }
        }
    }

    #[test]
    fn no_member_of_a_recorded_answer_can_go_missing_unnoticed() {
        for (file, _) in tables::ADMIN.iter().chain(tables::TENANT) {
            for (place, exchange) in read(file) {
                for member in members(&exchange.body) {
                    let (mut names, mut used) = (Names::default(), Used::default());
                    let mut comparison = Comparison::new(&mut names, &mut used, Depth::Full);
                    let without = without_first(&exchange.body, &member);
                    comparison.value("", &exchange.body, &without);
                    let noticed = !comparison.differences.is_empty();
                    assert!(noticed || may_be_absent(&member), "{place}: {member}");
                }
            }
        }
    }

    /// The same answer as another world would have given it.
    fn under_other_ids(answer: &Value) -> Value {
        match answer {
            Value::String(id) if is_uuid(id) => {
                let digits: String = id.chars().rev().filter(|c| *c != '-').collect();
                json!(uuid::Uuid::try_parse(&digits).unwrap().to_string())
            }
            Value::Array(rows) => rows.iter().map(under_other_ids).collect(),
            Value::Object(members) => {
                let members = members
                    .iter()
                    .map(|(name, value)| (name.clone(), under_other_ids(value)));
                Value::Object(members.collect())
            }
            other => other.clone(),
        }
    }

    /// The member names that occur anywhere in an answer.
    fn members(answer: &Value) -> std::collections::BTreeSet<String> {
        match answer {
            Value::Array(rows) => rows.iter().flat_map(members).collect(),
            Value::Object(object) => object
                .iter()
                .flat_map(|(name, value)| members(value).into_iter().chain([name.clone()]))
                .collect(),
            _ => Default::default(),
        }
    }

    /// The answer without the first member of this name.
    fn without_first(answer: &Value, member: &str) -> Value {
        fn remove(value: &mut Value, member: &str) -> bool {
            match value {
                Value::Array(rows) => rows.iter_mut().any(|row| remove(row, member)),
                Value::Object(object) => {
                    object.remove(member).is_some()
                        || object.values_mut().any(|v| remove(v, member))
                }
                _ => false,
            }
        }
        let mut answer = answer.clone();
        assert!(remove(&mut answer, member));
        answer
    }

    #[test]
    fn the_pool_may_hand_out_another_address() {
        let row = |id: &str, ip: &str| json!([{"id": id, "ipaddress": ip, "issourcenat": true}]);
        check_full(&row(A, "192.168.2.5"), &row(C, "192.168.2.99"), &[]);
    }
}
