//! What the recorded world calls a thing, and what the simulated world calls it.
//!
//! Both worlds draw their own ids, so the replay learns pairs from answers, at the same place in
//! the same answer, and uses them for the requests that follow.

use std::collections::HashMap;

use uuid::Uuid;

/// A one-to-one relation between recorded and simulated names.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    forward: HashMap<String, String>,
    backward: HashMap<String, String>,
}

impl Pairs {
    /// The simulated name of a recorded one.
    pub(super) fn simulated(&self, recorded: &str) -> Option<&str> {
        self.forward.get(recorded).map(String::as_str)
    }

    /// Whether a simulated name already stands for something.
    pub(super) fn is_taken(&self, simulated: &str) -> bool {
        self.backward.contains_key(simulated)
    }

    /// True if the two are, or from now on can be, the same thing.
    pub(super) fn agree(&mut self, recorded: &str, simulated: &str) -> bool {
        match (self.forward.get(recorded), self.backward.get(simulated)) {
            (Some(known), _) => known == simulated,
            (None, Some(_)) => false,
            (None, None) => {
                self.bind(recorded, simulated);
                true
            }
        }
    }

    /// Makes the two the same thing, whatever was believed before.
    pub(super) fn bind(&mut self, recorded: &str, simulated: &str) {
        if let Some(old) = self
            .forward
            .insert(recorded.to_owned(), simulated.to_owned())
        {
            self.backward.remove(&old);
        }
        if let Some(old) = self
            .backward
            .insert(simulated.to_owned(), recorded.to_owned())
            && old != recorded
        {
            self.forward.remove(&old);
        }
    }
}

/// Everything learnt about one world.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// UUIDs of every kind.
    pub ids: Pairs,
    /// Public addresses: which one the pool hands out is its own affair.
    pub addresses: Pairs,
    /// VMs for which no address was asked, so that any free one is right.
    pub anywhere: Vec<String>,
}

impl Names {
    /// A request value in the words of the simulated world; a comma separates several ids.
    ///
    /// # Errors
    ///
    /// Names the id that no answer has brought yet: the request would not mean the same.
    pub(super) fn translate(&self, name: &str, value: &str) -> Result<String, String> {
        if name == "ipaddress" {
            return Ok(self.addresses.simulated(value).unwrap_or(value).to_owned());
        }
        let parts: Result<Vec<_>, _> = value.split(',').map(|id| self.translate_id(id)).collect();
        Ok(parts?.join(","))
    }

    fn translate_id<'a>(&'a self, id: &'a str) -> Result<&'a str, String> {
        match self.ids.simulated(id) {
            Some(simulated) => Ok(simulated),
            None if is_uuid(id) && !Uuid::parse_str(id).unwrap().is_nil() => Err(id.to_owned()),
            None => Ok(id),
        }
    }
}

/// True for a UUID in its usual, hyphenated form.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

#[test]
fn a_pair_once_learnt_must_hold() {
    let mut pairs = Pairs::default();
    assert!(pairs.agree("recorded", "simulated"));
    assert!(pairs.agree("recorded", "simulated"));
    assert!(!pairs.agree("recorded", "another"));
    assert!(!pairs.agree("another", "simulated"));
    pairs.bind("another", "simulated");
    assert_eq!(pairs.simulated("recorded"), None);
    assert_eq!(pairs.simulated("another"), Some("simulated"));
}

#[test]
fn a_request_with_an_unknown_id_is_not_sent() {
    let mut names = Names::default();
    let (known, unknown) = (
        "11111111-1111-4111-8111-111111111111",
        "22222222-2222-4222-8222-222222222222",
    );
    names.ids.bind(known, "mine");
    assert_eq!(names.translate("ids", known).as_deref(), Ok("mine"));
    assert_eq!(
        names.translate("ids", &format!("{known},{unknown}")),
        Err(unknown.to_owned())
    );
    assert_eq!(names.translate("name", "bono-1").as_deref(), Ok("bono-1"));
}
