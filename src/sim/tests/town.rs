//! A cloud in which some have asked for a lot, so that there is something of everything.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::Cloud;
use super::walks::requests::{Luck, draw, may_send, weighted};
use crate::clock::Clock;
use crate::sim::commands;
use crate::sim::{Profile, Who};

/// How much later the next one asks.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Town {
    pub(super) cloud: Cloud,
    commands: Vec<&'static str>,
    luck: Luck,
}

/// Sends a request, waits for the job that it may begin, and tells whether it was done and what
/// was answered at last: the inside of the envelope, or the job's result.
pub(super) async fn ask(
    cloud: &Cloud,
    who: Who,
    command: &str,
    asked: &[(String, String)],
) -> (bool, Value) {
    let params: Vec<(&str, &str)> = asked
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let reply = cloud.send(who, command, &params).await;
    let answer = reply.inner();
    let begins = commands::find(command).is_some_and(|command| command.job.is_some());
    match answer["jobid"].as_str() {
        Some(job) if reply.status == 200 && begins => {
            let ended = cloud.ended(job).await;
            (ended["jobstatus"] == 1, ended["jobresult"].clone())
        }
        _ => (reply.status == 200, answer),
    }
}

impl Town {
    /// A town where these commands are not sent.
    pub(super) fn new(seed: u64, never: &[&str]) -> Self {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        let mut commands = weighted(commands::names());
        commands.retain(|command| !never.contains(command));
        Self {
            cloud: Cloud::seeded(Profile::Instant, clock, seed),
            commands,
            luck: Luck::of(seed),
        }
    }

    /// Somebody asks for something that makes sense; the answer if it was done.
    pub(super) async fn step(&mut self, who: Who) -> Option<(&'static str, Value)> {
        self.cloud.clock.sleep(PAUSE).await;
        let command = self.luck.pick(&self.commands)?;
        let user = who.user_name();
        let luck = &mut self.luck;
        let drawn = self.cloud.sim.world(|world| {
            let may = may_send(world, user, command);
            may.then(|| draw(world, user, command, luck)).flatten()
        })?;
        let (done, answer) = ask(&self.cloud, who, command, &drawn).await;
        done.then_some((command, answer))
    }
}
