//! What hangs on resources without an id of its own: tags and details, in the order in which they
//! were set.

use std::collections::btree_map;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Uuid;
use super::table::{Filed, Keyed, Keys, Table, Values};

/// Tags or details, oldest first, found by their resource.
#[derive(Clone)]
pub struct Labels<T: Filed<Id = u64>> {
    rows: Table<T>,
    next: u64,
}

impl<T: Filed<Id = u64>> Default for Labels<T> {
    fn default() -> Self {
        let rows = Table::default();
        Self { rows, next: 0 }
    }
}

/// As they are written down: the numbers of the rows are given anew when they are read.
impl<T: Filed<Id = u64> + fmt::Debug> fmt::Debug for Labels<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.rows.values()).finish()
    }
}

impl<T> Labels<T>
where
    T: Filed<Id = u64, Card = Keys<Uuid>, Index = Keyed<u64, Uuid>>,
{
    /// Those of a resource.
    pub fn of(&self, resource: &str) -> Vec<&T> {
        self.rows.under(&resource.to_owned())
    }

    /// Adds one.
    pub fn push(&mut self, label: T) {
        self.rows.insert(self.next, label);
        self.next += 1;
    }

    /// Takes away those of a resource that do not pass; the answer is how many went.
    pub fn retain_of(&mut self, resource: &str, keep: impl Fn(&T) -> bool) -> usize {
        let ids = self.rows.ids_under(&resource.to_owned());
        let goes = |id: &u64| self.rows.get(id).is_some_and(|label| !keep(label));
        let gone: Vec<u64> = ids.into_iter().filter(goes).collect();
        for id in &gone {
            self.rows.remove(id);
        }
        gone.len()
    }

    /// Takes away all of a resource.
    pub fn drop_of(&mut self, resource: &str) {
        self.retain_of(resource, |_| false);
    }

    /// Takes away all that do not pass.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.rows.retain(|_, label| keep(label));
    }

    /// All of them.
    pub fn iter(&self) -> Values<'_, T> {
        self.rows.values()
    }

    /// All of them, to be changed.
    pub fn iter_mut(&mut self) -> btree_map::ValuesMut<'_, u64, T> {
        self.rows.values_mut()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table that they are in.
    #[must_use]
    pub fn table(&self) -> &Table<T> {
        &self.rows
    }
}

impl<T> Extend<T> for Labels<T>
where
    T: Filed<Id = u64, Card = Keys<Uuid>, Index = Keyed<u64, Uuid>>,
{
    fn extend<I: IntoIterator<Item = T>>(&mut self, labels: I) {
        labels.into_iter().for_each(|label| self.push(label));
    }
}

impl<'labels, T> IntoIterator for &'labels Labels<T>
where
    T: Filed<Id = u64, Card = Keys<Uuid>, Index = Keyed<u64, Uuid>>,
{
    type Item = &'labels T;
    type IntoIter = Values<'labels, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// They are written as the list that they are.
impl<T: Filed<Id = u64> + Serialize> Serialize for Labels<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.rows.values())
    }
}

impl<'de, T> Deserialize<'de> for Labels<T>
where
    T: Filed<Id = u64, Card = Keys<Uuid>, Index = Keyed<u64, Uuid>> + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut labels = Self::default();
        labels.extend(Vec::<T>::deserialize(from)?);
        Ok(labels)
    }
}
