//! The records by role, release and view, and a zone in memory that updates are tried on.

use std::{collections::BTreeMap, net::Ipv4Addr};

use proptest::prelude::*;

use super::{
    diff::{Change, Claim, Conflict, Difference, Owner, RecordSet, Seen, difference},
    update::{BYTES_MAX, Edit, Require, Update, updates},
    *,
};
use crate::types::stack::Layout;

const DOMAIN: &str = "ims.example.com";
const TTL: u32 = 30;

fn node(role: Role, index: u8) -> Node {
    let place = Role::ALL
        .iter()
        .position(|one| *one == role)
        .unwrap_or_default();
    let last = 10 * u8::try_from(place).expect("there are nine roles") + index;
    Node {
        name: format!("ims-{role}-{index}"),
        role,
        private: Ipv4Addr::new(10, 0, 0, last),
        public: role.public().then(|| Ipv4Addr::new(203, 0, 113, last)),
    }
}

/// As many machines of each role of a layout, but one ellis.
fn nodes(layout: Layout, count: u8) -> Vec<Node> {
    let roles = Role::ALL.into_iter().filter(|role| layout.has(*role));
    let roles = roles.filter(|role| *role != Role::Dns);
    let count = |role| if role == Role::Ellis { 1 } else { count };
    roles
        .flat_map(|role| (0..count(role)).map(move |index| node(role, index)))
        .collect()
}

fn owner() -> Owner {
    Owner {
        uid: "5f0c".to_owned(),
        stack: "default/ims".to_owned(),
    }
}

fn wanted(count: u8) -> Records {
    records(DOMAIN, &nodes(Layout::Classic, count), DnsView::Whole)
}

/// A zone, as a server would keep it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Zone(BTreeMap<Key, RecordSet>);

impl Zone {
    fn seen(&self) -> Seen {
        Seen {
            zone: DOMAIN.to_owned(),
            records: self.0.clone(),
            aliases: BTreeMap::new(),
        }
    }

    fn holds(&self, key: &Key) -> BTreeSet<Data> {
        self.0
            .get(key)
            .map(|set| set.data.clone())
            .unwrap_or_default()
    }

    /// All of an update or nothing.
    fn apply(&mut self, update: &Update) -> Result<(), Require> {
        for require in &update.requires {
            let met = match require {
                Require::Absent(key) => self.holds(key).is_empty(),
                Require::Exactly(key, data) => self.holds(key) == *data,
            };
            if !met {
                return Err(require.clone());
            }
        }
        for edit in &update.edits {
            match edit {
                Edit::Clear(key) => drop(self.0.remove(key)),
                Edit::Add(name, ttl, data) => {
                    let set = self.0.entry(Key::new(name, data.kind())).or_default();
                    set.ttl = *ttl;
                    set.data.insert(data.clone());
                }
            }
        }
        Ok(())
    }

    fn difference(&self, wanted: &Records) -> Difference {
        difference(DOMAIN, (wanted, TTL), &owner(), &self.seen())
    }

    /// What is wanted, in as many updates as it takes; looks at the zone after each.
    fn brought(
        &mut self,
        wanted: &Records,
        bytes_max: usize,
        mut after: impl FnMut(&Self),
    ) -> usize {
        let found = self.difference(wanted);
        let all = updates(DOMAIN, &found, (&owner(), TTL), bytes_max);
        for update in &all {
            self.apply(update).expect("nobody else writes");
            after(self);
        }
        all.len()
    }

    fn put(&mut self, name: &str, data: Data) {
        let set = self.0.entry(Key::new(name, data.kind())).or_default();
        set.ttl = TTL;
        set.data.insert(data);
    }

    /// Records but Weir's marks.
    fn served(&self) -> Records {
        let sets = self.0.iter().filter(|(key, _)| key.kind != Kind::Txt);
        sets.map(|(key, set)| (key.clone(), set.data.clone()))
            .collect()
    }
}

fn a(last: u8) -> Data {
    Data::A(Ipv4Addr::new(192, 0, 2, last))
}

#[test]
fn the_classic_layout_has_the_records_of_the_guide() {
    let records = wanted(2);
    let count = |kind| {
        let sets = records.iter().filter(|(key, _)| key.kind == kind);
        sets.map(|(_, data)| data.len()).sum::<usize>()
    };
    // As in the guide, but for the server's own name: 2B + 4S + 2H + 2X + 2R + 2, 2B + 3S, 5.
    assert_eq!(
        (count(Kind::A), count(Kind::Srv), count(Kind::Naptr)),
        (26, 10, 5)
    );
    insta::assert_snapshot!(zone_file(DOMAIN, &records, TTL, &[]));
}

#[test]
fn the_split_layout_has_dime_and_vellum() {
    let records = records(DOMAIN, &nodes(Layout::Split, 2), DnsView::Whole);
    insta::assert_snapshot!(zone_file(DOMAIN, &records, TTL, &[]));
}

#[test]
fn the_world_sees_the_edge_and_machines_see_private_addresses() {
    let nodes = nodes(Layout::Classic, 2);
    let public = records(DOMAIN, &nodes, DnsView::Public);
    insta::assert_snapshot!("public", zone_file(DOMAIN, &public, TTL, &[]));
    let internal = records(DOMAIN, &nodes, DnsView::Internal);
    let outside = Ipv4Addr::new(203, 0, 113, 0).octets();
    for (key, data) in &internal {
        for data in data {
            let Data::A(address) = data else { continue };
            assert_ne!(address.octets()[..3], outside[..3], "{key}");
        }
    }
    let names = |records: &Records| records.keys().cloned().collect::<Vec<_>>();
    let whole = records_of(&nodes, DnsView::Whole);
    assert_eq!(
        names(&internal),
        names(&whole),
        "the views differ in addresses alone"
    );
}

fn records_of(nodes: &[Node], view: DnsView) -> Records {
    records(DOMAIN, nodes, view)
}

#[test]
fn a_role_that_does_not_serve_has_no_name() {
    for layout in [Layout::Classic, Layout::Split] {
        let all = nodes(layout, 2);
        for role in Role::ALL.into_iter().filter(|role| layout.has(*role)) {
            let others: Vec<_> = all
                .iter()
                .filter(|node| node.role != role)
                .cloned()
                .collect();
            let left = records_of(&others, DnsView::Whole);
            let own = format!("ims-{role}-");
            let speaks = left.iter().any(|(key, data)| {
                key.name.contains(&own) || data.iter().any(|data| data.to_string().contains(&own))
            });
            assert!(!speaks, "{role}");
            let alone: Vec<_> = all
                .iter()
                .filter(|node| node.role == role)
                .cloned()
                .collect();
            for key in records_of(&alone, DnsView::Whole).keys() {
                let shared = left.contains_key(key);
                assert!(!shared, "{key} is {role}'s alone");
            }
        }
    }
}

#[test]
fn what_was_made_is_not_made_again() {
    let mut zone = Zone::default();
    assert_eq!(
        zone.brought(&wanted(2), BYTES_MAX, |_| {}),
        1,
        "one message, one moment"
    );
    assert_eq!(zone.served(), wanted(2));
    assert!(zone.difference(&wanted(2)).is_empty());
    assert_eq!(zone.brought(&wanted(2), BYTES_MAX, |_| {}), 0);
}

#[test]
fn what_was_changed_by_hand_is_put_right() {
    let mut zone = Zone::default();
    zone.brought(&wanted(2), BYTES_MAX, |_| {});
    let sprout = Key::new("sprout.ims.example.com", Kind::A);
    let homer = Key::new("homer.ims.example.com", Kind::A);
    zone.put(&sprout.name, a(66));
    zone.0.remove(&homer);
    zone.0.get_mut(&Key::new(DOMAIN, Kind::Naptr)).unwrap().ttl = 86_400;
    let found = zone.difference(&wanted(2));
    let changed: Vec<String> = found
        .changes
        .iter()
        .map(|one| one.key.to_string())
        .collect();
    assert_eq!(
        changed,
        [
            "homer.ims.example.com A",
            "ims.example.com NAPTR",
            "sprout.ims.example.com A"
        ]
    );
    zone.brought(&wanted(2), BYTES_MAX, |_| {});
    assert_eq!(zone.served(), wanted(2));
}

#[test]
fn what_somebody_else_made_stays() {
    let mut zone = Zone::default();
    zone.put("www.ims.example.com", a(1));
    zone.put("sprout.ims.example.com", a(2));
    let found = zone.difference(&wanted(1));
    assert_eq!(found.changes, [], "a first update is all or nothing");
    let told: Vec<String> = found.conflicts.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "sprout.ims.example.com A was there before (192.0.2.2), and Weir leaves it alone; delete \
          it, or choose another `spec.domain`"
        ]
    );
    zone.0.remove(&Key::new("sprout.ims.example.com", Kind::A));
    zone.brought(&wanted(1), BYTES_MAX, |_| {});
    assert!(zone.difference(&wanted(1)).conflicts.is_empty());

    // Later on it holds up itself alone.
    zone.put("ims-bono-1.ims.example.com", a(3));
    zone.brought(&wanted(2), BYTES_MAX, |_| {});
    let found = zone.difference(&wanted(2));
    assert_eq!(
        (found.changes.len(), found.conflicts.len()),
        (0, 1),
        "{found:?}"
    );
    zone.brought(&Records::new(), BYTES_MAX, |_| {});
    let left: Vec<String> = zone.0.keys().map(ToString::to_string).collect();
    assert_eq!(
        left,
        ["ims-bono-1.ims.example.com A", "www.ims.example.com A"]
    );
}

#[test]
fn an_alias_is_in_the_way() {
    let mut seen = Zone::default().seen();
    let (name, target) = ("hs.ims.example.com", "hss.example.net");
    seen.aliases.insert(name.to_owned(), target.to_owned());
    let found = difference(DOMAIN, (&wanted(1), TTL), &owner(), &seen);
    assert_eq!(found.changes, []);
    assert_eq!(found.conflicts[0].reason(), "ForeignRecords");
    assert!(
        found.conflicts[0].to_string().contains("CNAME"),
        "{found:?}"
    );
}

#[test]
fn a_second_stack_leaves_the_domain_of_the_first_alone() {
    let mut zone = Zone::default();
    zone.brought(&wanted(2), BYTES_MAX, |_| {});
    let second = Owner {
        uid: "77aa".to_owned(),
        stack: "lab/ims".to_owned(),
    };
    let found = difference(DOMAIN, (&wanted(1), TTL), &second, &zone.seen());
    assert!(found.is_empty(), "{found:?}");
    let [Conflict::Claimed { owner: first, .. }] = &found.conflicts[..] else {
        panic!("{found:?}");
    };
    assert_eq!(*first, owner());
    let leaving = difference(DOMAIN, (&Records::new(), TTL), &second, &zone.seen());
    assert_eq!(
        leaving,
        Difference::default(),
        "it has nothing there to take back"
    );
}

#[test]
fn a_strange_mark_is_nobodys_to_change() {
    let mut zone = Zone::default();
    zone.put(
        &Claim::key(DOMAIN).name,
        Data::Txt(vec!["v=spf1".to_owned()]),
    );
    let found = zone.difference(&wanted(1));
    assert!(found.is_empty() && found.conflicts.len() == 1, "{found:?}");
    let mut zone = Zone::default();
    let entry = Data::Txt(vec!["A www".to_owned()]);
    zone.put(&Claim::index(DOMAIN).name, entry);
    zone.put("www.ims.example.com", a(1));
    let found = zone.difference(&wanted(1));
    assert!(found.is_empty() && found.conflicts.len() == 1, "{found:?}");
}

#[test]
fn two_updates_of_one_look_do_not_both_take_effect() {
    let mut zone = Zone::default();
    zone.brought(&wanted(2), BYTES_MAX, |_| {});
    let (one, other) = (zone.difference(&wanted(1)), zone.difference(&wanted(3)));
    let send = |zone: &mut Zone, found: &Difference| {
        let all = updates(DOMAIN, found, (&owner(), TTL), BYTES_MAX);
        zone.apply(&all[0])
    };
    send(&mut zone, &one).unwrap();
    let before = zone.clone();
    assert!(send(&mut zone, &other).is_err());
    assert_eq!(zone, before);
    // A change by hand since the look is seen as well.
    let again = zone.difference(&wanted(3));
    zone.put("sprout.ims.example.com", a(9));
    assert!(send(&mut zone, &again).is_err());
}

#[test]
fn a_change_says_what_was_and_what_is_to_be() {
    let mut zone = Zone::default();
    zone.brought(&wanted(1), BYTES_MAX, |_| {});
    let found = zone.difference(&wanted(2));
    let apex = found
        .changes
        .iter()
        .find(|one| one.key == Key::new(DOMAIN, Kind::A));
    let Some(Change {
        have: Some(have),
        want: Some(want),
        ..
    }) = apex
    else {
        panic!("{found:?}");
    };
    assert_eq!(told(&have.data), "203.0.113.70");
    assert_eq!(told(want), "203.0.113.70, 203.0.113.71");
}

#[test]
fn the_largest_stack_takes_several_messages() {
    let mut zone = Zone::default();
    let roles = Role::ALL
        .into_iter()
        .filter(|role| Layout::Classic.has(*role));
    let all: Vec<_> = roles
        .flat_map(|role| (0..50).map(move |index| node(role, index)))
        .collect();
    let most = records_of(&all, DnsView::Whole);
    assert!(zone.brought(&most, BYTES_MAX, points_somewhere) > 1);
    assert_eq!(zone.served(), most);
}

/// Whatever a record points to is there.
fn points_somewhere(zone: &Zone) {
    for (key, set) in &zone.0 {
        for data in &set.data {
            let target = match data {
                Data::Srv { target, .. } => Key::new(target, Kind::A),
                Data::Naptr { replacement, .. } => Key::new(replacement, Kind::Srv),
                Data::A(_) | Data::Txt(_) => continue,
            };
            assert!(
                zone.0.contains_key(&target),
                "{key} points to {target}, which is not there"
            );
        }
    }
}

/// Roles that are found, and are to be found afterwards as well.
fn lasting(from: &[Node], to: &[Node]) -> Records {
    let mut lasting = records_of(from, DnsView::Whole);
    let after = records_of(to, DnsView::Whole);
    lasting.retain(|key, _| after.contains_key(key));
    lasting
}

fn some_nodes() -> impl Strategy<Value = Vec<Node>> {
    prop::collection::btree_set((0..Role::ALL.len(), 0..6_u8), 0..30).prop_map(|places| {
        let nodes = places
            .into_iter()
            .map(|(place, index)| node(Role::ALL[place], index));
        nodes.collect()
    })
}

proptest! {
    #[test]
    fn no_order_of_messages_leaves_a_role_without_records(
        from in some_nodes(),
        to in some_nodes(),
        bytes_max in 200..2_000_usize,
    ) {
        let mut zone = Zone::default();
        zone.brought(&records_of(&from, DnsView::Whole), BYTES_MAX, |_| {});
        let kept = lasting(&from, &to);
        let want = records_of(&to, DnsView::Whole);
        zone.brought(&want, bytes_max, |zone| {
            points_somewhere(zone);
            for key in kept.keys() {
                assert!(zone.0.contains_key(key), "{key} is not there for a while");
            }
        });
        prop_assert_eq!(zone.served(), want.clone());
        prop_assert!(zone.difference(&want).is_empty());
        prop_assert_eq!(zone.0.contains_key(&Claim::key(DOMAIN)), !want.is_empty());
    }
}
