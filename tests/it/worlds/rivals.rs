//! What befalls two controllers that want to lead: one sleeps, dies, stops, cannot reach its store or
//! loses its lease, at any moment or with a request or a write in hand.
//!
//! It is drawn apart from all else, so that a seed whose controller is alone stays what it was.

use std::time::Duration;

use fastrand::Rng;

use super::{
    aims::COMMANDS,
    doom::{Doom, Door, Fates, Place},
    world::World,
};

/// Longest time that something of this lasts: ten leases.
const LONGEST_MILLIS: u64 = 60_000;

/// One in so many worlds has rivals.
const ONE_IN: u64 = 3;

/// Something that happens between two controllers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Quarrel {
    /// It waits for a request or a write.
    Doom(Doom),
    Now(Turn, Target),
}

/// What happens to one of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn {
    /// It is stopped, and goes on later.
    Sleeps(Duration),
    /// It cannot reach the store, and its lease may run out.
    CutOff(Duration),
    /// Its process is killed.
    Killed,
    /// It is asked to stop.
    Resigns,
    /// Its lease is taken from it.
    Deposed,
}

/// Which of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Leader,
    StandBy,
}

impl Turn {
    const fn name(self) -> &'static str {
        match self {
            Self::Sleeps(_) => "Sleeps",
            Self::CutOff(_) => "CutOff",
            Self::Killed => "Killed",
            Self::Resigns => "Resigns",
            Self::Deposed => "Deposed",
        }
    }
}

/// What must have happened somewhere in the worlds of a run, by name.
pub(super) fn names() -> Vec<String> {
    let turns = [
        Turn::Sleeps(Duration::ZERO),
        Turn::CutOff(Duration::ZERO),
        Turn::Killed,
        Turn::Resigns,
        Turn::Deposed,
    ];
    let places = Place::OF_RIVALS.iter().map(|place| format!("{place:?}"));
    let turns = turns.into_iter().map(|turn| turn.name().to_owned());
    // And what comes of it: that one takes over, is refused, and is late.
    let came = ["TakesOver", "NotLeading", "Fenced", "OnItsWay"];
    let came = came.into_iter().map(str::to_owned);
    places.chain(turns).chain(came).collect()
}

/// Whether the world of a seed has two controllers.
pub(super) const fn are_there(seed: u64) -> bool {
    seed.is_multiple_of(ONE_IN)
}

/// Draws what happens.
pub(super) struct Quarrels(Rng);

impl Quarrels {
    /// Those of a seed, if there are two controllers to have them.
    pub(super) fn of(seed: u64) -> Option<Self> {
        let rng = Rng::with_seed(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x7269_7661_6c73);
        are_there(seed).then_some(Self(rng))
    }

    pub(super) fn next(&mut self) -> Quarrel {
        match self.0.u32(..5) {
            0..3 => Quarrel::Doom(self.doom()),
            _ => Quarrel::Now(self.turn(), self.target()),
        }
    }

    fn doom(&mut self) -> Doom {
        let place = Place::OF_RIVALS[self.0.usize(..Place::OF_RIVALS.len())];
        let at = COMMANDS[self.0.usize(..COMMANDS.len())];
        let at = (place.door() == Door::Request && self.0.bool()).then_some(at);
        Doom {
            place,
            after: match at {
                Some(_) => 0,
                None => self.0.u32(..6),
            },
            at,
            time: self.time(),
        }
    }

    fn turn(&mut self) -> Turn {
        match self.0.u32(..7) {
            0 | 1 => Turn::Sleeps(self.time()),
            2 | 3 => Turn::CutOff(self.time()),
            4 => Turn::Killed,
            5 => Turn::Resigns,
            _ => Turn::Deposed,
        }
    }

    fn target(&mut self) -> Target {
        match self.0.u32(..4) {
            0 => Target::StandBy,
            _ => Target::Leader,
        }
    }

    /// From less than a lease to ten, and often about one.
    fn time(&mut self) -> Duration {
        let rng = &mut self.0;
        Duration::from_millis(match rng.u32(..2) {
            0 => rng.u64(3_000..12_000),
            _ => rng.u64(..LONGEST_MILLIS),
        })
    }
}

/// Has it happen; where nobody leads, nothing happens to the leader.
pub(super) fn befall(world: &World, quarrel: Quarrel) {
    let (turn, target) = match quarrel {
        Quarrel::Doom(doom) => return world.fates.await_doom(doom),
        Quarrel::Now(turn, target) => (turn, target),
    };
    let Some(whose) = world.who(matches!(target, Target::Leader)) else {
        return;
    };
    strike(whose, turn);
}

/// Has something happen to one of them now.
pub(super) fn strike(whose: &Fates, turn: Turn) {
    whose.strike(turn.name(), "leader");
    match turn {
        Turn::Sleeps(time) => whose.sleep(time),
        Turn::CutOff(time) => whose.cut_off(time),
        Turn::Killed => whose.kill(),
        Turn::Resigns => whose.resign(),
        Turn::Deposed => whose.lose_lease(),
    }
}
