//! Laws of ownership, over whatever several managers do to a Secret.

use proptest::{collection::vec, prelude::*};

use super::*;

/// What somebody does.
#[derive(Clone, Debug)]
struct Deed {
    manager: usize,
    operation: Operation,
    force: bool,
    content: Value,
}

fn manager(deed: &Deed) -> Manager {
    Manager {
        operation: deed.operation,
        name: format!("m{}", deed.manager),
        subresource: String::new(),
        api_version: "v1".to_owned(),
    }
}

/// A Secret with some labels, finalizers, owners and data, of a small choice.
fn content() -> impl Strategy<Value = Value> {
    let map = || vec(prop_oneof![Just(None), (0..2_u8).prop_map(Some)], 2);
    (map(), map(), vec(any::<bool>(), 2), map()).prop_map(|(labels, data, finalizers, owners)| {
        let pairs = |values: &[Option<u8>], word: &str| -> Value {
            let values = values.iter().enumerate();
            let pair = |(place, value): (usize, &Option<u8>)| {
                Some((format!("k{place}"), json!(format!("{word}{}", (*value)?))))
            };
            Value::Object(values.filter_map(pair).collect())
        };
        let names = finalizers.iter().enumerate().filter(|(_, there)| **there);
        let finalizers: Vec<String> = names.map(|(place, _)| format!("x/{place}")).collect();
        let owners = owners.iter().enumerate().filter_map(|(place, value)| {
            let name = format!("n{}", (*value)?);
            Some(json!({"apiVersion": "v1", "kind": "Secret", "name": name,
                        "uid": place.to_string()}))
        });
        let owners: Vec<Value> = owners.collect();
        let mut metadata = json!({"name": "s", "namespace": "default"});
        for (name, value) in [
            ("labels", pairs(&labels, "v")),
            ("finalizers", json!(finalizers)),
            ("ownerReferences", json!(owners)),
        ] {
            let empty = value.as_array().is_some_and(Vec::is_empty) || value == json!({});
            if !empty {
                metadata[name] = value;
            }
        }
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
        let data = pairs(&data, "d");
        if data != json!({}) {
            secret["data"] = data;
        }
        secret
    })
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let operation = prop_oneof![Just(Operation::Apply), Just(Operation::Update)];
    let deed = (0..3_usize, operation, any::<bool>(), content());
    let deed = deed.prop_map(|(manager, operation, force, content)| Deed {
        manager,
        operation,
        force,
        content,
    });
    vec(deed, 1..8)
}

fn read(value: Value) -> Object {
    serde_json::from_value(value).unwrap()
}

/// What comes of a deed; nothing where it conflicts, or where what is left of an item is none, which
/// admission refuses.
fn done(stored: Option<&Object>, deed: &Deed, now: i64) -> Option<Object> {
    let now = Timestamp::from_second(now).unwrap();
    match deed.operation {
        Operation::Apply => {
            let how = (&manager(deed), deed.force, now);
            let value = applied(Kind::Secret, stored, &deed.content, how).ok()?;
            serde_json::from_value(value).ok()
        }
        Operation::Update => {
            let mut next = read(deed.content.clone());
            updated(Kind::Secret, stored, &mut next, &manager(deed), now);
            Some(next)
        }
    }
}

fn entries(object: &Object) -> Entries {
    Entries::read(&object.metadata.managed_fields).unwrap()
}

/// Every field that there is, with all that it is in.
fn everything(object: &Object) -> Fields {
    Difference::between(schema::of(Kind::Secret), &json!({}), &json!(object)).set
}

/// Members of the metadata that are not told from absent ones when they are empty: whoever owns no
/// more than that they are there cannot keep them.
const EMPTIED: [&str; 3] = [
    ".metadata.finalizers",
    ".metadata.labels",
    ".metadata.ownerReferences",
];

/// Holds the laws of one deed.
fn lawful(stored: Option<&Object>, deed: &Deed, next: &Object) -> Result<(), TestCaseError> {
    let (schema, writer, all) = (schema::of(Kind::Secret), manager(deed), everything(next));
    let now = entries(next);
    let own = now.of(&writer).cloned().unwrap_or_default();
    prop_assert!(
        own.without(&all).is_empty(),
        "it owns what is not there: {own:?}"
    );
    for entry in now.others(&writer) {
        prop_assert!(
            entry.fields.without(&all).is_empty(),
            "{entry:?} owns what is not there"
        );
    }
    if deed.operation == Operation::Update {
        return Ok(());
    }
    let mut merged = json!(next);
    walk::merge(schema, &mut merged, &deed.content);
    prop_assert_eq!(merged, json!(next), "what was applied is there");
    let wanted = tracked(
        Kind::Secret,
        &writer,
        &walk::wanted(schema, &deed.content).unwrap(),
    );
    prop_assert_eq!(own, wanted, "and is owned");
    if let Some(stored) = stored.filter(|_| !deed.force) {
        let Difference { set, removed } = Difference::between(schema, &json!(stored), &json!(next));
        for entry in entries(stored).others(&writer) {
            prop_assert!(
                entry.fields.common(&set).is_empty(),
                "{entry:?} was overwritten"
            );
            let mut lost = entry.fields.common(&removed).paths();
            lost.retain(|path| !EMPTIED.contains(&path.as_str()));
            prop_assert!(lost.is_empty(), "{lost:?} of {entry:?} was removed");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_is_done_is_lawful_and_done_again_it_is_nothing(deeds in deeds()) {
        let mut stored: Option<Object> = None;
        for (time, deed) in (0_i64..).zip(&deeds) {
            let Some(next) = done(stored.as_ref(), deed, time) else { continue };
            lawful(stored.as_ref(), deed, &next)?;
            let again = done(Some(&next), deed, time + 100);
            if deed.operation == Operation::Apply {
                prop_assert_eq!(again.as_ref(), Some(&next), "applied again it changes nothing");
            }
            stored = Some(next);
        }
    }

    #[test]
    fn what_only_one_applied_goes_with_it(before in content(), applied in content()) {
        let deed = |name, operation, content: &Value| Deed {
            manager: name, operation, force: true, content: content.clone(),
        };
        let nothing = json!({"apiVersion": "v1", "kind": "Secret",
                             "metadata": {"name": "s", "namespace": "default"}});
        let first = done(None, &deed(0, Operation::Update, &before), 0).unwrap();
        let then = done(Some(&first), &deed(1, Operation::Apply, &applied), 1).unwrap();
        let Some(last) = done(Some(&then), &deed(1, Operation::Apply, &nothing), 2) else {
            return Ok(());
        };
        // What the first one still owns is there, and nothing else is.
        let left = entries(&last).of(&manager(&deed(0, Operation::Update, &before))).cloned();
        let mut left = left.unwrap_or_default();
        for place in ["name", "namespace"] {
            left.below.entry(member("metadata")).or_default()
                .below.insert(member(place), Fields::leaf());
        }
        for outer in ["apiVersion", "kind"] {
            left.below.insert(member(outer), Fields::leaf());
        }
        let here = walk::fields(schema::of(Kind::Secret), &{
            let mut bare = json!(last);
            bare["metadata"].as_object_mut().unwrap().remove("managedFields");
            bare
        });
        prop_assert!(here.without(&left).is_empty(), "{:?} is left", here.without(&left).paths());
    }
}
