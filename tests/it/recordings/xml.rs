//! Reads answers in XML as if they were JSON: an element with elements in it is an object, any other
//! a text, and elements of one name beside each other are a list.

use serde_json::{Map, Value};

/// The root element of an answer, with what is inside.
///
/// # Panics
/// It is no XML.
pub(super) fn parse(text: &str) -> Value {
    let (_, text) = text.split_once("?>").expect("a declaration");
    let mut elements = Map::new();
    let rest = element(text, &mut elements);
    assert_eq!(rest, "", "one element");
    Value::Object(elements)
}

/// Reads one element and puts it to its siblings; gives what follows it.
fn element<'a>(text: &'a str, siblings: &mut Map<String, Value>) -> &'a str {
    let (tag, mut rest) = text[1..].split_once('>').expect("the end of a tag");
    let name = tag.split(' ').next().unwrap_or(tag);
    let end = format!("</{name}>");
    let mut inside = Map::new();
    while rest.starts_with('<') && !rest.starts_with("</") {
        rest = element(rest, &mut inside);
    }
    let (text, rest) = rest.split_once(&end).expect("the end of an element");
    let value = match inside.is_empty() {
        true => Value::from(text),
        false => Value::Object(inside),
    };
    match siblings.get_mut(name) {
        Some(Value::Array(rows)) => rows.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
        None => drop(siblings.insert(name.to_owned(), value)),
    }
    rest
}

#[test]
fn elements_are_members_and_several_are_a_list() {
    let text = "<?xml version=\"1.0\"?><r v=\"1\"><n>2</n><a><x>1</x></a><a><x></x></a></r>";
    let wanted = serde_json::json!({"r": {"n": "2", "a": [{"x": "1"}, {"x": ""}]}});
    assert_eq!(parse(text), wanted);
}
