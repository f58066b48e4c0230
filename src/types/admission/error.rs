//! What is wrong with an object or a file, said so that the reader can put it right.

use std::{error::Error, fmt};

use serde::Serialize;
use serde_json::Value;

/// Characters of a value that an error repeats: enough to recognise it, too few to drown in.
const VALUE_MAX: usize = 80;

/// What kind of mistake it is: Kubernetes' words for the `reason` of a cause in a `Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The field takes such values, but not this one.
    FieldValueInvalid,
    /// The field must be there and is not.
    FieldValueRequired,
    /// The field takes one of a few words, and this is none of them.
    FieldValueNotSupported,
    /// The value is there twice.
    FieldValueDuplicate,
    /// A number where a text belongs, and the like.
    FieldValueTypeInvalid,
    /// The text has too many characters.
    FieldValueTooLong,
    /// The list has too many members.
    FieldValueTooMany,
    /// The field may not be set, or not be changed, here.
    FieldValueForbidden,
    /// There is no such field. In Kubernetes a mistake of the request (400), not of the object.
    UnknownField,
}

impl ErrorKind {
    /// The word in a `Status`' cause.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FieldValueInvalid => "FieldValueInvalid",
            Self::FieldValueRequired => "FieldValueRequired",
            Self::FieldValueNotSupported => "FieldValueNotSupported",
            Self::FieldValueDuplicate => "FieldValueDuplicate",
            Self::FieldValueTypeInvalid => "FieldValueTypeInvalid",
            Self::FieldValueTooLong => "FieldValueTooLong",
            Self::FieldValueTooMany => "FieldValueTooMany",
            Self::FieldValueForbidden => "FieldValueForbidden",
            Self::UnknownField => "UnknownField",
        }
    }

    /// The words with which Kubernetes opens the message of such a cause.
    const fn opening(self) -> &'static str {
        match self {
            Self::FieldValueInvalid | Self::FieldValueTypeInvalid => "Invalid value",
            Self::FieldValueRequired => "Required value",
            Self::FieldValueNotSupported => "Unsupported value",
            Self::FieldValueDuplicate => "Duplicate value",
            Self::FieldValueTooLong => "Too long",
            Self::FieldValueTooMany => "Too many",
            Self::FieldValueForbidden => "Forbidden",
            Self::UnknownField => "Unknown field",
        }
    }

    /// Whether Kubernetes repeats the value in such a message.
    const fn repeats_value(self) -> bool {
        matches!(
            self,
            Self::FieldValueInvalid
                | Self::FieldValueTypeInvalid
                | Self::FieldValueNotSupported
                | Self::FieldValueDuplicate
                | Self::FieldValueTooMany
        )
    }
}

/// One mistake in one field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldError {
    /// The path of the field, like `spec.network.cidr` or `spec.network.rules[2].startPort`.
    pub field: String,
    /// The value as JSON, shortened; empty where there is none, or where it is a secret.
    pub value: String,
    /// What kind of mistake it is.
    pub kind: ErrorKind,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

impl FieldError {
    /// A mistake in a field. `value` is repeated to whoever reads the error: `()` keeps it back.
    pub(crate) fn new(
        kind: ErrorKind,
        field: impl Into<String>,
        value: &(impl Serialize + ?Sized),
        (reason, remedy): (impl Into<String>, impl Into<String>),
    ) -> Self {
        Self {
            field: field.into(),
            value: shorten(value),
            kind,
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    /// The message of a `Status`' cause: everything but the field, in Kubernetes' grammar.
    #[must_use]
    pub fn message(&self) -> String {
        let opening = self.kind.opening();
        let value = if self.kind.repeats_value() && !self.value.is_empty() {
            format!(": {}", self.value)
        } else {
            String::new()
        };
        format!("{opening}{value}: {}; {}", self.reason, self.remedy)
    }
}

fn shorten(value: &(impl Serialize + ?Sized)) -> String {
    let text = match serde_json::to_value(value) {
        Ok(Value::Null) | Err(_) => return String::new(),
        Ok(value) => value.to_string(),
    };
    match text.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message())
    }
}

impl Error for FieldError {}

/// Why a file holds no objects that could be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; none where the whole file is meant.
    pub line: Option<usize>,
    /// The column, from 1.
    pub column: Option<usize>,
    /// Which document of the file, from 1; none where the whole file is meant.
    pub document: Option<usize>,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        if let Some(document) = self.document {
            write!(f, ": document {document}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl Error for ManifestError {}
