//! The faults that are waiting, and which of them strike a request.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::{Fault, FaultKind, Stage};
use crate::sim::commands;
use crate::sim::jobs::Twist;
use crate::sim::world::World;
use crate::sim::world::chance::Chance;

/// How many faults can wait: more than any script needs, and an end to a client that adds one a
/// second.
const FAULTS_MAX: usize = 1_000;

/// How many worlds are remembered for stale lists: each is a copy of everything.
const STALE_MAX: usize = 8;

/// A fault that is waiting.
#[derive(Clone, Debug, Serialize)]
pub struct WaitingFault {
    /// Its number, by which it can be taken away.
    pub id: u64,
    /// The fault, with what is left of its count.
    #[serde(flatten)]
    pub fault: Fault,
    /// How often it has struck.
    pub struck: u64,
    /// The world that a stale list shows.
    #[serde(skip)]
    stale: Option<Box<World>>,
}

/// The faults that are waiting.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    waiting: Vec<WaitingFault>,
    added: u64,
    tally: Tally,
}

/// How often each kind of fault, by its name, struck each command.
pub(crate) type Tally = BTreeMap<(&'static str, String), u64>;

/// What strikes a request: at most one fault at each stage of its way.
#[derive(Debug, Default)]
pub(crate) struct Struck {
    pub(crate) before: Option<FaultKind>,
    pub(crate) twist: Option<Twist>,
    pub(crate) list: Option<FaultKind>,
    pub(crate) stale: Option<Box<World>>,
    pub(crate) after: Option<FaultKind>,
    pub(crate) delay: Duration,
}

impl Faults {
    /// Adds a fault; the answer is its number.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn add(&mut self, fault: Fault) -> Result<u64, String> {
        if self.waiting.len() >= FAULTS_MAX {
            return Err(format!("{FAULTS_MAX} faults are waiting; clear some first"));
        }
        self.added += 1;
        self.waiting.push(WaitingFault {
            id: self.added,
            fault,
            struck: 0,
            stale: None,
        });
        Ok(self.added)
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Takes one fault away; whether it was there.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.id != id);
        self.waiting.len() < before
    }

    /// What struck so far. Commands that there are not are left out, since anybody can invent some.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn all(&self) -> &[WaitingFault] {
        &self.waiting
    }

    /// When the next fault begins to wait or is over.
    pub(crate) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let edges = |waiting: &WaitingFault| [waiting.fault.from, waiting.fault.until];
        let edges = self.waiting.iter().flat_map(edges).flatten();
        edges.filter(|edge| *edge > now).min()
    }

    /// Forgets what is over, and remembers the world for stale lists that begin to wait.
    pub(crate) fn advance(&mut self, world: &World) {
        let now = world.now();
        self.waiting
            .retain(|waiting| waiting.fault.until.is_none_or(|until| until > now));
        let kept = |waiting: &&WaitingFault| waiting.stale.is_some();
        let room = STALE_MAX.saturating_sub(self.waiting.iter().filter(kept).count());
        let opened = |waiting: &&mut WaitingFault| {
            waiting.fault.kind == FaultKind::StaleList
                && waiting.stale.is_none()
                && waiting.fault.from.is_none_or(|from| from <= now)
        };
        for waiting in self.waiting.iter_mut().filter(opened).take(room) {
            waiting.stale = Some(Box::new(world.clone()));
        }
    }

    /// What strikes this request: at each stage the first that waits for it and is lucky.
    pub(crate) fn strike(&mut self, user: &str, command: &str, world: &mut World) -> Struck {
        let now = world.now();
        let mut strike = |stage| self.strike_at(stage, (user, command), now, &mut world.chance);
        let mut struck = Struck {
            before: strike(Stage::Before).map(|(kind, _)| kind),
            ..Struck::default()
        };
        if struck.before.is_none() {
            struck.twist = strike(Stage::Job).and_then(|(kind, _)| kind.twist());
            if let Some((kind, stale)) = strike(Stage::List) {
                (struck.list, struck.stale) = (Some(kind), stale);
            }
            struck.after = strike(Stage::After).map(|(kind, _)| kind);
            if let Some((FaultKind::Slow { millis }, _)) = strike(Stage::Delay) {
                struck.delay = Duration::from_millis(millis);
            }
        }
        self.waiting
            .retain(|waiting| waiting.fault.count != Some(0));
        struck
    }

    fn strike_at(
        &mut self,
        stage: Stage,
        (user, command): (&str, &str),
        now: Timestamp,
        chance: &mut Chance,
    ) -> Option<(FaultKind, Option<Box<World>>)> {
        let waits = |waiting: &&mut WaitingFault| {
            let fault = &waiting.fault;
            fault.kind.stage() == stage
                && fault.count != Some(0)
                && fault.from.is_none_or(|from| from <= now)
                && fault.until.is_none_or(|until| now < until)
                && fault.waits_for(user, command)
        };
        for waiting in self.waiting.iter_mut().filter(waits) {
            let fault = &mut waiting.fault;
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if fault.probability < 1.0 && !chance.happens(fault.probability) {
                continue;
            }
            fault.count = fault.count.map(|count| count - 1);
            waiting.struck += 1;
            if commands::find(command).is_some() {
                let key = (fault.kind.name(), command.to_owned());
                *self.tally.entry(key).or_default() += 1;
            }
            return Some((fault.kind.clone(), waiting.stale.clone()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::sim::Profile;

    fn world() -> World {
        World::new(Profile::Instant, 1, Timestamp::UNIX_EPOCH)
    }

    fn faults(all: impl IntoIterator<Item = Fault>) -> Faults {
        let mut faults = Faults::default();
        for fault in all {
            faults.add(fault).unwrap();
        }
        faults
    }

    #[test]
    fn a_fault_skips_strikes_and_is_used_up() {
        let mut faults = faults([Fault {
            skip: 1,
            ..Fault::once("listVPCs", FaultKind::LostReply)
        }]);
        let mut world = world();
        let struck: Vec<bool> = (0..4)
            .map(|_| faults.strike("a", "listVPCs", &mut world).after.is_some())
            .collect();
        assert_eq!(struck, [false, true, false, false]);
        assert!(faults.all().is_empty());
        let once = (("lost-reply", "listVPCs".to_owned()), 1);
        assert_eq!(faults.tally(), &BTreeMap::from([once]));
    }

    #[test]
    fn a_start_fault_leaves_lists_alone() {
        let mut faults = faults([Fault::always(None, FaultKind::NoCapacity)]);
        let struck = faults.strike("a", "listVPCs", &mut world());
        assert_eq!(struck.twist, None);
    }

    #[test]
    fn a_fault_strikes_one_user_and_commands_that_begin_so() {
        let mut faults = faults([Fault {
            user: Some("kim".to_owned()),
            ..Fault::always(Some("list*"), FaultKind::LostRequest)
        }]);
        let mut world = world();
        let mut lost = |user, command| faults.strike(user, command, &mut world).before.is_some();
        assert!(lost("kim", "listVPCs") && lost("kim", "listZones"));
        assert!(!lost("lee", "listVPCs") && !lost("kim", "createVPC"));
    }

    #[test]
    fn a_window_opens_and_closes_on_the_simulated_clock() {
        let mut world = world();
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        let mut faults = faults([Fault {
            from: Some(at(10)),
            until: Some(at(20)),
            ..Fault::always(None, FaultKind::LostReply)
        }]);
        let mut struck = Vec::new();
        for seconds in [0, 9, 10, 19, 20, 21] {
            assert_eq!(
                faults.next_change(at(seconds)),
                [at(10), at(20)]
                    .into_iter()
                    .find(|edge| *edge > at(seconds))
                    .filter(|_| seconds < 20)
            );
            world.advance(at(seconds));
            faults.advance(&world);
            struck.push(faults.strike("a", "listVPCs", &mut world).after.is_some());
        }
        assert_eq!(struck, [false, false, true, true, false, false]);
        assert!(faults.all().is_empty());
    }

    #[test]
    fn a_slow_answer_can_be_lost_as_well_and_a_lost_request_is_nothing_else() {
        let mut faults = faults([
            Fault::always(None, FaultKind::Slow { millis: 5 }),
            Fault::once("createVPC", FaultKind::LostRequest),
            Fault::once("createVPC", FaultKind::LostReply),
        ]);
        let mut world = world();
        let first = faults.strike("a", "createVPC", &mut world);
        assert_eq!(
            (first.before, first.after, first.delay),
            (Some(FaultKind::LostRequest), None, Duration::ZERO)
        );
        let second = faults.strike("a", "createVPC", &mut world);
        assert_eq!(
            (second.before, second.after, second.delay),
            (None, Some(FaultKind::LostReply), Duration::from_millis(5))
        );
    }

    #[test]
    fn the_same_seed_draws_the_same_strikes() {
        let draw = |seed| {
            let mut world = World::new(Profile::Instant, seed, Timestamp::UNIX_EPOCH);
            let mut faults = faults([Fault {
                probability: 0.5,
                ..Fault::always(None, FaultKind::LostReply)
            }]);
            let strikes =
                (0..64).map(|_| faults.strike("a", "listVPCs", &mut world).after.is_some());
            strikes.collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn no_more_faults_wait_than_can_be_looked_through() {
        let mut faults = faults(vec![Fault::always(None, FaultKind::Html); FAULTS_MAX]);
        let refused = faults.add(Fault::always(None, FaultKind::Html));
        assert!(refused.unwrap_err().contains("clear some"));
        assert!(faults.remove(7) && !faults.remove(7));
        assert!(faults.add(Fault::always(None, FaultKind::Html)).is_ok());
    }
}
