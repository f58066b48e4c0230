//! What admission collects on its way through an object.

use serde::Serialize;

use super::error::{ErrorKind, FieldError};

/// Every mistake and every doubt found so far.
#[derive(Default)]
pub(super) struct Findings {
    /// What refuses the object.
    pub(super) errors: Vec<FieldError>,
    /// What does not.
    pub(super) warnings: Vec<String>,
}

/// What is wrong, and what to do.
type Why<A, B> = (A, B);

impl Findings {
    /// A value of the right type that makes no sense.
    pub(super) fn invalid(
        &mut self,
        field: impl Into<String>,
        value: &(impl Serialize + ?Sized),
        why: Why<impl Into<String>, impl Into<String>>,
    ) {
        self.add(ErrorKind::FieldValueInvalid, field, value, why);
    }

    /// Something that must be there and is not.
    pub(super) fn missing(
        &mut self,
        field: impl Into<String>,
        why: Why<impl Into<String>, impl Into<String>>,
    ) {
        self.add(ErrorKind::FieldValueRequired, field, &(), why);
    }

    /// Any other mistake.
    pub(super) fn add(
        &mut self,
        kind: ErrorKind,
        field: impl Into<String>,
        value: &(impl Serialize + ?Sized),
        why: Why<impl Into<String>, impl Into<String>>,
    ) {
        self.errors.push(FieldError::new(kind, field, value, why));
    }

    /// Something allowed that is probably not meant.
    pub(super) fn warn(&mut self, field: &str, sentence: &str) {
        self.warnings.push(format!("{field}: {sentence}"));
    }
}
