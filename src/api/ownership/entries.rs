//! `metadata.managedFields`: which manager wrote which fields, an entry each.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fields::Fields;

/// Most entries of updates; Kubernetes' number. Older ones are merged into one.
const UPDATES_MAX: usize = 10;
/// Who is said to have made the changes of those older entries.
const ANCIENT: &str = "ancient-changes";

/// How a manager writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::api) enum Operation {
    Apply,
    Update,
}

/// Who writes, and how: entries are told apart by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::api) struct Manager {
    pub(in crate::api) operation: Operation,
    pub(in crate::api) name: String,
    /// Empty for the object as a whole.
    pub(in crate::api) subresource: String,
    pub(in crate::api) api_version: String,
}

impl Manager {
    /// The manager as a conflict with it is told.
    pub(super) fn shown(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text = format!("{text} with subresource {:?}", self.subresource);
        }
        match self.operation {
            Operation::Apply => text,
            Operation::Update => format!("{text} using {}", self.api_version),
        }
    }
}

/// What a manager wrote.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: Manager,
    pub(super) time: Option<Timestamp>,
    pub(super) fields: Fields,
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entries(Vec<Entry>);

impl Entries {
    /// Reads the entries of an object; nothing where one of them is none.
    pub(super) fn read(entries: &[Value]) -> Option<Self> {
        entries.iter().map(entry).collect::<Option<_>>().map(Self)
    }

    /// As an object has them, in Kubernetes' order: appliers first, then by time.
    pub(super) fn write(mut self) -> Vec<Value> {
        self.0.sort_by(|one, other| {
            let order =
                |entry: &Entry| (entry.manager.operation, entry.time, entry.manager.clone());
            order(one).cmp(&order(other))
        });
        self.0.iter().map(written).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields that a manager has written.
    pub(super) fn of(&self, manager: &Manager) -> Option<&Fields> {
        let found = self.0.iter().find(|entry| entry.manager == *manager);
        found.map(|entry| &entry.fields)
    }

    /// The entries of everybody else.
    pub(super) fn others<'a>(&'a self, manager: &'a Manager) -> impl Iterator<Item = &'a Entry> {
        self.0.iter().filter(move |entry| entry.manager != *manager)
    }

    /// Takes fields from everybody else.
    pub(super) fn take_from_others(&mut self, manager: &Manager, fields: &Fields) {
        for entry in self.0.iter_mut().filter(|entry| entry.manager != *manager) {
            entry.fields = entry.fields.without(fields);
        }
        self.0.retain(|entry| !entry.fields.is_empty());
    }

    /// Says what a manager has written by now.
    pub(super) fn put(&mut self, manager: Manager, fields: Fields, now: Timestamp) {
        self.0.retain(|entry| entry.manager != manager);
        if !fields.is_empty() {
            self.0.push(Entry {
                manager,
                time: Some(now),
                fields,
            });
        }
        self.cap();
    }

    /// Merges the oldest updates, where there are too many.
    fn cap(&mut self) {
        let update = |entry: &Entry| entry.manager.operation == Operation::Update;
        while self.0.iter().filter(|entry| update(entry)).count() > UPDATES_MAX {
            let young =
                |(_, entry): &(usize, &Entry)| update(entry) && entry.manager.name != ANCIENT;
            let oldest = self.0.iter().enumerate().filter(young);
            let Some((place, _)) = oldest.min_by_key(|(_, entry)| entry.time) else {
                return;
            };
            let oldest = self.0.remove(place);
            let ancient = |entry: &&mut Entry| entry.manager.name == ANCIENT;
            match self.0.iter_mut().find(ancient) {
                Some(entry) => {
                    entry.fields.extend(&oldest.fields);
                    entry.time = entry.time.max(oldest.time);
                }
                None => self.0.push(Entry {
                    manager: Manager {
                        name: ANCIENT.to_owned(),
                        subresource: String::new(),
                        ..oldest.manager
                    },
                    ..oldest
                }),
            }
        }
    }
}

fn entry(value: &Value) -> Option<Entry> {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let operation = match value["operation"].as_str()? {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    if value["fieldsType"] != "FieldsV1" {
        return None;
    }
    let time = match &value["time"] {
        Value::Null => None,
        time => Some(time.as_str()?.parse().ok()?),
    };
    Some(Entry {
        manager: Manager {
            operation,
            name: text("manager"),
            subresource: text("subresource"),
            api_version: value["apiVersion"].as_str()?.to_owned(),
        },
        time,
        fields: Fields::read(&value["fieldsV1"])?,
    })
}

fn written(entry: &Entry) -> Value {
    let Manager {
        operation,
        name,
        subresource,
        api_version,
    } = &entry.manager;
    let mut value = json!({
        "manager": name, "operation": format!("{operation:?}"), "apiVersion": api_version,
        "fieldsType": "FieldsV1", "fieldsV1": entry.fields.write(),
    });
    if let Some(time) = entry
        .time
        .and_then(|time| Timestamp::from_second(time.as_second()).ok())
    {
        value["time"] = json!(time);
    }
    if !subresource.is_empty() {
        value["subresource"] = json!(subresource);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(operation: Operation, name: &str) -> Manager {
        Manager {
            operation,
            name: name.to_owned(),
            subresource: String::new(),
            api_version: "v1".to_owned(),
        }
    }

    fn field(name: &str) -> Fields {
        Fields::read(&json!({ format!("f:{name}"): {} })).unwrap()
    }

    #[test]
    fn entries_are_written_as_they_were_read_appliers_first() {
        let entry = |operation: &str, time: &str| {
            json!({"manager": "m", "operation": operation, "apiVersion": "v1", "time": time,
                   "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:k": {}}}})
        };
        let (update, apply) = (
            entry("Update", "2026-01-01T00:00:00Z"),
            entry("Apply", "2026-01-01T00:00:01Z"),
        );
        let read = Entries::read(&[update.clone(), apply.clone()]).unwrap();
        assert_eq!(read.write(), [apply.clone(), update]);
        let mut wrong = apply;
        wrong["operation"] = json!("Guess");
        assert_eq!(Entries::read(&[wrong]), None);
    }

    #[test]
    fn the_oldest_updates_become_one() {
        let mut entries = Entries::default();
        for number in 0..12 {
            let name = format!("m{number:02}");
            let now = Timestamp::from_second(number).unwrap();
            entries.put(manager(Operation::Update, &name), field(&name), now);
        }
        let written = entries.write();
        assert_eq!(written.len(), UPDATES_MAX);
        assert_eq!(written[0]["manager"], ANCIENT);
        let merged = json!({"f:m00": {}, "f:m01": {}, "f:m02": {}});
        assert_eq!(written[0]["fieldsV1"], merged);
    }
}
