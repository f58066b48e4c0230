//! Tables: rows by id that are also found by what is in them.
//!
//! A table reads like the map that it is. Whoever changes a row leaves its id behind, and the next
//! question to the index first files those rows anew: an index cannot go stale, whatever changed
//! the row, and a row that is changed ten times is filed once. What a row is filed under is in
//! [`super::index`].

use std::borrow::Borrow;
use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A row that can be found by more than its id.
pub trait Filed: Clone {
    /// Its id.
    type Id: Ord + Clone;
    /// What the index knows of it.
    type Card: PartialEq + Clone;
    /// Where its card is filed.
    type Index: Index<Self::Id, Self::Card> + PartialEq + Clone;

    /// What the index is to know of it now.
    fn card(&self) -> Self::Card;
}

/// Where cards are filed.
pub trait Index<I, C>: Default {
    /// Files a card.
    fn file(&mut self, id: &I, card: &C);
    /// Takes out a card that was filed.
    fn unfile(&mut self, id: &I, card: &C);
}

/// Rows by id, with an index.
#[derive(Clone)]
pub struct Table<T: Filed> {
    rows: BTreeMap<T::Id, T>,
    files: RefCell<Files<T>>,
    version: u64,
    visits: Cell<u64>,
}

#[derive(Clone)]
struct Files<T: Filed> {
    cards: BTreeMap<T::Id, T::Card>,
    index: T::Index,
    changed: Changed<T::Id>,
}

/// The rows that have to be filed anew.
#[derive(Clone)]
enum Changed<I> {
    These(Vec<I>),
    Any,
}

impl<T: Filed> Files<T> {
    fn new(changed: Changed<T::Id>) -> Self {
        Self {
            cards: BTreeMap::new(),
            index: T::Index::default(),
            changed,
        }
    }

    fn is_current(&self) -> bool {
        matches!(&self.changed, Changed::These(ids) if ids.is_empty())
    }

    fn catch_up(&mut self, rows: &BTreeMap<T::Id, T>) {
        match std::mem::replace(&mut self.changed, Changed::These(Vec::new())) {
            Changed::These(ids) => ids.iter().for_each(|id| self.refile(id, rows.get(id))),
            Changed::Any => {
                let gone = self.cards.keys().filter(|id| !rows.contains_key(*id));
                for id in gone.cloned().collect::<Vec<_>>() {
                    self.refile(&id, None);
                }
                rows.iter().for_each(|(id, row)| self.refile(id, Some(row)));
            }
        }
    }

    fn refile(&mut self, id: &T::Id, row: Option<&T>) {
        let card = row.map(T::card);
        if self.cards.get(id) == card.as_ref() {
            return;
        }
        if let Some(old) = self.cards.remove(id) {
            self.index.unfile(id, &old);
        }
        if let Some(card) = card {
            self.index.file(id, &card);
            self.cards.insert(id.clone(), card);
        }
    }
}

impl<T: Filed> Table<T> {
    fn of(rows: BTreeMap<T::Id, T>) -> Self {
        Self {
            rows,
            files: RefCell::new(Files::new(Changed::Any)),
            version: 0,
            visits: Cell::new(0),
        }
    }

    /// How often anything in it was changed: as long as it stays the same, so did the rows.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many rows were looked at one after the other so far: what a question costs that the
    /// index does not answer.
    #[must_use]
    pub fn visits(&self) -> u64 {
        self.visits.get()
    }

    fn visited(&self, rows: usize) {
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        self.visits.set(self.visits.get().saturating_add(rows));
    }

    fn note(&mut self, id: T::Id) {
        self.version += 1;
        let rows = self.rows.len();
        let changed = &mut self.files.get_mut().changed;
        match changed {
            Changed::These(ids) if ids.len() <= rows => ids.push(id),
            Changed::These(_) => *changed = Changed::Any,
            Changed::Any => {}
        }
    }

    fn note_all(&mut self) {
        self.version += 1;
        self.visited(self.rows.len());
        self.files.get_mut().changed = Changed::Any;
    }

    /// A row, to be changed.
    pub fn get_mut<Q>(&mut self, id: &Q) -> Option<&mut T>
    where
        T::Id: Borrow<Q>,
        Q: Ord + ToOwned<Owned = T::Id> + ?Sized,
    {
        if self.rows.contains_key(id) {
            self.note(id.to_owned());
        }
        self.rows.get_mut(id)
    }

    /// Puts a row in; the answer is the one that it replaces.
    pub fn insert(&mut self, id: T::Id, row: T) -> Option<T> {
        self.note(id.clone());
        self.rows.insert(id, row)
    }

    /// Takes a row out.
    pub fn remove<Q>(&mut self, id: &Q) -> Option<T>
    where
        T::Id: Borrow<Q>,
        Q: Ord + ToOwned<Owned = T::Id> + ?Sized,
    {
        self.note(id.to_owned());
        self.rows.remove(id)
    }

    /// Takes all rows out that do not pass.
    pub fn retain(&mut self, keep: impl FnMut(&T::Id, &mut T) -> bool) {
        self.note_all();
        self.rows.retain(keep);
    }

    /// All rows, in the order of their ids.
    pub fn values(&self) -> Values<'_, T> {
        Values {
            rows: self.rows.values(),
            visits: &self.visits,
        }
    }

    /// All rows, to be changed. All of them are filed anew.
    pub fn values_mut(&mut self) -> btree_map::ValuesMut<'_, T::Id, T> {
        self.note_all();
        self.rows.values_mut()
    }

    /// All rows with their ids, to be changed. All of them are filed anew.
    pub fn iter_mut(&mut self) -> btree_map::IterMut<'_, T::Id, T> {
        self.note_all();
        self.rows.iter_mut()
    }

    /// The index, brought up to date.
    pub(crate) fn index(&self) -> Ref<'_, T::Index> {
        if !self.files.borrow().is_current() {
            self.files.borrow_mut().catch_up(&self.rows);
        }
        Ref::map(self.files.borrow(), |files| &files.index)
    }

    /// Whether the index is what it would be if all rows were filed for the first time now.
    #[must_use]
    pub fn is_well_filed(&self) -> bool {
        let mut fresh = Files::<T>::new(Changed::Any);
        fresh.catch_up(&self.rows);
        *self.index() == fresh.index
    }
}

/// All rows of a table, one after the other.
pub struct Values<'table, T: Filed> {
    rows: btree_map::Values<'table, T::Id, T>,
    visits: &'table Cell<u64>,
}

impl<'table, T: Filed> Iterator for Values<'table, T> {
    type Item = &'table T;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        self.visits.set(self.visits.get().saturating_add(1));
        Some(row)
    }
}

impl<T: Filed> Default for Table<T> {
    fn default() -> Self {
        Self::of(BTreeMap::new())
    }
}

impl<T: Filed + std::fmt::Debug> std::fmt::Debug for Table<T>
where
    T::Id: std::fmt::Debug,
{
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.rows.fmt(out)
    }
}

impl<T: Filed> Deref for Table<T> {
    type Target = BTreeMap<T::Id, T>;

    fn deref(&self) -> &Self::Target {
        &self.rows
    }
}

impl<'table, T: Filed> IntoIterator for &'table Table<T> {
    type Item = (&'table T::Id, &'table T);
    type IntoIter = btree_map::Iter<'table, T::Id, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.visited(self.rows.len());
        self.rows.iter()
    }
}

impl<T: Filed + Serialize> Serialize for Table<T>
where
    T::Id: Serialize,
{
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.rows.serialize(to)
    }
}

impl<'de, T: Filed + Deserialize<'de>> Deserialize<'de> for Table<T>
where
    T::Id: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(from).map(Self::of)
    }
}

/// The card of most rows: keys that they are found by, and keys that they are only counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys<K> {
    /// What the row is found by.
    pub found: Vec<K>,
    /// What the row is counted by.
    pub counted: Vec<K>,
}

/// The index of most tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed<I, K> {
    places: BTreeSet<(K, I)>,
    counts: BTreeMap<K, usize>,
}

impl<I, K> Default for Keyed<I, K> {
    fn default() -> Self {
        Self {
            places: BTreeSet::new(),
            counts: BTreeMap::new(),
        }
    }
}

impl<I: Ord + Clone, K: Ord + Clone> Index<I, Keys<K>> for Keyed<I, K> {
    fn file(&mut self, id: &I, card: &Keys<K>) {
        let places = card.found.iter().map(|key| (key.clone(), id.clone()));
        self.places.extend(places);
        for key in &card.counted {
            *self.counts.entry(key.clone()).or_insert(0) += 1;
        }
    }

    fn unfile(&mut self, id: &I, card: &Keys<K>) {
        for key in &card.found {
            self.places.remove(&(key.clone(), id.clone()));
        }
        for key in &card.counted {
            let count = self.counts.get_mut(key);
            let left = count.map_or(0, |count| {
                *count -= 1;
                *count
            });
            if left == 0 {
                self.counts.remove(key);
            }
        }
    }
}

impl<T, K> Table<T>
where
    T: Filed<Card = Keys<K>, Index = Keyed<<T as Filed>::Id, K>>,
    T::Id: Default,
    K: Ord + Clone,
{
    /// The rows under a key, in the order of their ids.
    pub fn under(&self, key: &K) -> Vec<&T> {
        let index = self.index();
        let from = (key.clone(), T::Id::default());
        let places = index.places.range(from..);
        let places = places.take_while(|(place, _)| place == key);
        let rows: Vec<&T> = places.filter_map(|(_, id)| self.rows.get(id)).collect();
        self.visited(rows.len());
        rows
    }

    /// The ids of the rows under a key.
    pub fn ids_under(&self, key: &K) -> Vec<T::Id> {
        let index = self.index();
        let places = index.places.range((key.clone(), T::Id::default())..);
        let places = places.take_while(|(place, _)| place == key);
        places.map(|(_, id)| id.clone()).collect()
    }

    /// The first row under a key, for keys that one row has at most.
    pub fn one(&self, key: &K) -> Option<&T> {
        let index = self.index();
        let from = (key.clone(), T::Id::default());
        let (place, id) = index.places.range(from..).next()?;
        (place == key).then(|| self.rows.get(id))?
    }

    /// The rows from a key on, as long as theirs belong to it, with these keys and in their order.
    pub fn span(&self, first: K, belongs: impl Fn(&K) -> bool) -> Vec<(K, &T)> {
        let index = self.index();
        let places = index.places.range((first, T::Id::default())..);
        let places = places.take_while(|(place, _)| belongs(place));
        let rows = places.filter_map(|(key, id)| Some((key.clone(), self.rows.get(id)?)));
        let rows: Vec<_> = rows.collect();
        self.visited(rows.len());
        rows
    }

    /// The first row under a key that is not before this one.
    pub fn first_from(&self, first: K) -> Option<(K, &T)> {
        let index = self.index();
        let (key, id) = index.places.range((first, T::Id::default())..).next()?;
        Some((key.clone(), self.rows.get(id)?))
    }

    /// How many rows are counted under a key.
    pub fn count(&self, key: &K) -> usize {
        self.index().counts.get(key).copied().unwrap_or_default()
    }

    /// The counts from a key on, as long as theirs belong to it.
    pub fn counts(&self, first: K, belongs: impl Fn(&K) -> bool) -> Vec<(K, usize)> {
        let index = self.index();
        let counts = index.counts.range(first..);
        let counts = counts.take_while(|(key, _)| belongs(key));
        counts.map(|(key, count)| (key.clone(), *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Fruit {
        colour: String,
    }

    impl Filed for Fruit {
        type Id = String;
        type Card = Keys<String>;
        type Index = Keyed<String, String>;

        fn card(&self) -> Keys<String> {
            Keys {
                found: vec![self.colour.clone()],
                counted: vec![self.colour.clone()],
            }
        }
    }

    fn fruit(colour: &str) -> Fruit {
        let colour = colour.to_owned();
        Fruit { colour }
    }

    fn basket() -> Table<Fruit> {
        let mut table = Table::default();
        for (name, colour) in [("apple", "red"), ("cherry", "red"), ("lemon", "yellow")] {
            table.insert(name.to_owned(), fruit(colour));
        }
        table
    }

    #[test]
    fn rows_are_found_by_what_is_in_them_whatever_changed_them() {
        let mut table = basket();
        let red = |table: &Table<Fruit>| {
            let (found, counted) = (
                table.under(&"red".to_owned()),
                table.count(&"red".to_owned()),
            );
            assert_eq!(found.len(), counted);
            assert!(table.is_well_filed());
            counted
        };
        assert_eq!(red(&table), 2);
        table.get_mut("lemon").expect("a row").colour = "red".to_owned();
        assert_eq!(red(&table), 3);
        table.remove("apple");
        table.insert("cherry".to_owned(), fruit("black"));
        assert_eq!(red(&table), 1);
        table.values_mut().for_each(|row| *row = fruit("green"));
        assert_eq!(red(&table), 0);
        table.retain(|name, _| name == "lemon");
        assert_eq!(table.under(&"green".to_owned()).len(), 1);
        assert!(table.is_well_filed() && table.clone().is_well_filed());
    }

    #[test]
    fn a_table_is_written_as_the_map_that_it_is() {
        let table = basket();
        let text = serde_json::to_string(&table).expect("it can be written");
        let again: Table<Fruit> = serde_json::from_str(&text).expect("it can be read");
        assert_eq!(again.under(&"red".to_owned()).len(), 2);
    }

    #[test]
    fn looking_at_all_rows_is_counted_and_asking_the_index_is_not() {
        let table = basket();
        assert!(table.one(&"yellow".to_owned()).is_some());
        assert_eq!(table.visits(), 0);
        assert_eq!(table.values().filter(|row| row.colour == "red").count(), 2);
        assert_eq!(table.visits(), 3);
    }
}
