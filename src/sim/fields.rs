//! Reading what people write into the admin API and into scenarios: field by field, so that a
//! mistake is told with its place, its value and what would be right.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Wrong {
    /// The path of the field, such as `steps[2].fault.count`.
    pub place: String,
    /// What is wrong with it, and what would be right.
    pub what: String,
}

impl Wrong {
    pub(crate) fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
        }
    }
}

/// The longest time that can be asked for: a rehearsal is not longer than a year.
const SPAN_MAX: Duration = Duration::from_secs(365 * 86_400);

/// The fields of an object that is being read.
pub(crate) struct Fields {
    place: String,
    left: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// The fields of an object at a place; the place of the whole is empty.
    pub(crate) fn of(place: &str, value: Value) -> Result<Self, Wrong> {
        let place = place.to_owned();
        match value {
            Value::Object(left) => Ok(Self {
                place,
                left,
                known: Vec::new(),
            }),
            other => {
                let what = format!("`{other}` is no object: write NAME: VALUE pairs");
                Err(Wrong::new(whole(&place), what))
            }
        }
    }

    /// The place of a field.
    pub(crate) fn at(&self, name: &str) -> String {
        match self.place.as_str() {
            "" => name.to_owned(),
            place => format!("{place}.{name}"),
        }
    }

    /// An error about a field.
    pub(crate) fn wrong(&self, name: &str, what: impl Into<String>) -> Wrong {
        Wrong::new(self.at(name), what)
    }

    /// A field as it is; none if it is absent or null.
    pub(crate) fn value(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// All that was not read yet.
    pub(crate) fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.left)
    }

    /// Whether a field is there and was not read yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// A list of texts; one text is a list of its words.
    pub(crate) fn texts(&mut self, name: &'static str) -> Result<Option<Vec<String>>, Wrong> {
        let items = match self.value(name) {
            None => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(Value::String(text)) => text.split(',').map(Value::from).collect(),
            Some(other) => return Err(self.wrong(name, format!("`{other}` is no list of names"))),
        };
        let text = |value: Value| match value {
            Value::String(text) if !text.is_empty() => Ok(text),
            other => Err(self.wrong(name, format!("`{other}` is no name"))),
        };
        items
            .into_iter()
            .map(text)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A text; a number is taken for its digits.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, Wrong> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(other) => Err(self.wrong(name, format!("`{other}` is no text"))),
        }
    }

    /// A text that has to be there.
    pub(crate) fn needed(&mut self, name: &'static str, example: &str) -> Result<String, Wrong> {
        let missing = self.wrong(name, format!("is missing: write {name}: {example}"));
        self.text(name)?.ok_or(missing)
    }

    /// A value that is written as one word.
    fn word<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Option<T>,
        right: impl Display,
    ) -> Result<Option<T>, Wrong> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let text = match &value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let read = read(&text);
        read.map(Some)
            .ok_or_else(|| self.wrong(name, format!("`{text}` is not {right}")))
    }

    /// A whole number within bounds.
    pub(crate) fn whole<T>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, Wrong>
    where
        T: std::str::FromStr + PartialOrd + Display,
    {
        let right = format!("a whole number from {} to {}", range.start(), range.end());
        let read = |text: &str| text.parse().ok().filter(|number| range.contains(number));
        self.word(name, read, right)
    }

    /// A number within bounds.
    pub(crate) fn number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, Wrong> {
        let right = format!("a number from {} to {}", range.start(), range.end());
        let read = |text: &str| text.parse().ok().filter(|number| range.contains(number));
        self.word(name, read, right)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Wrong> {
        self.word(name, |text| text.parse().ok(), "true or false")
    }

    /// Anything that reads from text.
    pub(crate) fn parsed<T: std::str::FromStr>(
        &mut self,
        name: &'static str,
        right: &str,
    ) -> Result<Option<T>, Wrong> {
        self.word(name, |text| text.parse().ok(), right)
    }

    /// A length of time such as `90s` or `1h30m`.
    pub(crate) fn span(&mut self, name: &'static str) -> Result<Option<Duration>, Wrong> {
        let right = "a length of time up to a year, like 500ms, 90s or 1h30m";
        self.word(name, span, right)
    }

    /// A point in time: as such, or as a length of time from `now` on.
    pub(crate) fn moment(
        &mut self,
        name: &'static str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Wrong> {
        let later = |text: &str| {
            let span = SignedDuration::try_from(span(text)?).ok()?;
            now.checked_add(span).ok()
        };
        let read = |text: &str| later(text).or_else(|| text.parse().ok());
        let right = "a time from now like 90s, or a point in time like 2026-01-31T12:00:00Z";
        self.word(name, read, right)
    }

    /// Complains about the first field that nothing asked for.
    pub(crate) fn end(self) -> Result<(), Wrong> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(self.wrong(name, no_such("field", name, &self.known))),
        }
    }
}

fn whole(place: &str) -> String {
    if place.is_empty() {
        "the whole".to_owned()
    } else {
        place.to_owned()
    }
}

/// A length of time.
pub(crate) fn span(text: &str) -> Option<Duration> {
    let span: SignedDuration = text.parse().ok()?;
    Duration::try_from(span)
        .ok()
        .filter(|span| *span <= SPAN_MAX)
}

/// One of some words, or an error that names those that are most like it.
pub(crate) fn unknown(word: &str, kind: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("`{word}` is no {kind}; did you mean `{near}`?"),
        None => format!("`{word}` is no {kind}; there are {}", known.join(", ")),
    }
}

/// What to say of a name that nothing has.
pub(crate) fn no_such(kind: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("there is no such {kind}; did you mean `{near}`?"),
        None => format!("there is no such {kind}; there are {}", known.join(", ")),
    }
}

/// The word that differs least, if it differs little.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .map(|near| (distance(&word, &near.to_lowercase()), near))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, near)| *distance <= near.len().min(word.len()).div_ceil(3))
        .map(|(_, near)| near)
}

/// How many letters have to be put in, taken out or changed to make one word of another.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, letter) in one.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], place + 1);
        for (column, wanted) in other.iter().enumerate() {
            let change = corner + usize::from(letter != *wanted);
            corner = row[column + 1];
            row[column + 1] = change.min(corner + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        Fields::of("steps[2]", value).unwrap()
    }

    #[test]
    fn a_mistake_is_told_with_place_value_and_remedy() {
        let mut wrong = fields(json!({"count": "many", "probability": 3, "from": "soon", "on": 1}));
        let told = [
            wrong.whole("count", 1..=9_u32).unwrap_err().to_string(),
            wrong
                .number("probability", 0.0..=1.0)
                .unwrap_err()
                .to_string(),
            wrong
                .moment("from", Timestamp::UNIX_EPOCH)
                .unwrap_err()
                .to_string(),
            wrong.flag("on").unwrap_err().to_string(),
            wrong.needed("kind", "lost-reply").unwrap_err().to_string(),
        ];
        assert_eq!(
            told,
            [
                "steps[2].count: `many` is not a whole number from 1 to 9",
                "steps[2].probability: `3` is not a number from 0 to 1",
                "steps[2].from: `soon` is not a time from now like 90s, or a point in time like \
                 2026-01-31T12:00:00Z",
                "steps[2].on: `1` is not true or false",
                "steps[2].kind: is missing: write kind: lost-reply",
            ]
        );
    }

    #[test]
    fn words_of_a_command_line_read_like_numbers_of_json() {
        let mut fields = fields(json!({"count": "3", "probability": "0.5", "millis": 7}));
        assert_eq!(fields.whole("count", 1..=9_u32), Ok(Some(3)));
        assert_eq!(fields.number("probability", 0.0..=1.0), Ok(Some(0.5)));
        assert_eq!(fields.text("millis"), Ok(Some("7".to_owned())));
        assert_eq!(fields.end(), Ok(()));
    }

    #[test]
    fn a_field_that_is_not_there_is_told_and_the_nearest_named() {
        let mut left = fields(json!({"cuont": 1}));
        left.whole("count", 1..=9_u32).unwrap();
        let told = left.end().unwrap_err().to_string();
        assert_eq!(
            told,
            "steps[2].cuont: there is no such field; did you mean `count`?"
        );
        let told = fields(json!({"x": 1})).end().unwrap_err().to_string();
        assert!(
            told.starts_with("steps[2].x: there is no such field"),
            "{told}"
        );
    }

    #[test]
    fn moments_are_given_from_now_or_as_such() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let mut fields = fields(json!({"from": "1h30m", "until": "2026-02-01T00:00:00Z"}));
        assert_eq!(
            fields.moment("from", now).unwrap().unwrap().to_string(),
            "2026-01-31T13:30:00Z"
        );
        assert_eq!(
            fields.moment("until", now).unwrap().unwrap().to_string(),
            "2026-02-01T00:00:00Z"
        );
    }

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["lost-request", "lost-reply", "slow"];
        assert_eq!(
            nearest("lost-replay", known.into_iter()),
            Some("lost-reply")
        );
        assert_eq!(nearest("Slow", known.into_iter()), Some("slow"));
        assert_eq!(nearest("earthquake", known.into_iter()), None);
    }
}
