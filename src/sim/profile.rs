//! How long things take: three kinds of cloud.
//!
//! `Instant` is for tests of logic: every job has ended when its submission is answered.
//! `Lab` charges the times measured on a two-core machine (`cloudstack-observed.md`, section 3).
//! `Slow` is the same machine with guests that need a minute to boot.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The pace of a simulated cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// No time at all.
    Instant,
    /// The measured times.
    Lab,
    /// The measured times, and a minute for each boot.
    Slow,
}

impl fmt::Display for Profile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Instant => "instant",
            Self::Lab => "lab",
            Self::Slow => "slow",
        })
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "instant" => Ok(Self::Instant),
            "lab" => Ok(Self::Lab),
            "slow" => Ok(Self::Slow),
            other => Err(format!("{other} is none of instant, lab and slow")),
        }
    }
}

/// What a job spends its time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    Boot,
    Deploy,
    Stop,
    Reboot,
    ForcedReboot,
    Restore,
    Destroy,
    Expunge,
    Move,
    Quick,
    Acl,
    Rule,
    CreateVpc,
    DeleteVpc,
    DeleteNetwork,
    Associate,
    FailedStart,
    BringUp,
}

impl Profile {
    /// How long a job of this kind takes once it has begun.
    pub(crate) fn job(self, cost: Cost) -> Duration {
        let lab = match cost {
            Cost::Boot | Cost::Reboot => 1_000,
            Cost::Deploy => 100,
            Cost::Stop => 1_200,
            Cost::DeleteNetwork => 500,
            Cost::ForcedReboot | Cost::FailedStart => 4_000,
            Cost::Restore => 1_600,
            Cost::Destroy => 5_400,
            Cost::Expunge => 8_000,
            Cost::Move | Cost::BringUp => 900,
            Cost::Quick => 400,
            Cost::Acl => 250,
            Cost::Rule => 40,
            Cost::CreateVpc => 2_000,
            Cost::DeleteVpc => 1_100,
            Cost::Associate => 80,
        };
        match (self, cost) {
            (Self::Instant, _) => Duration::ZERO,
            (Self::Slow, Cost::Boot | Cost::Reboot | Cost::ForcedReboot | Cost::Restore) => {
                Duration::from_secs(60)
            }
            (Self::Lab | Self::Slow, _) => Duration::from_millis(lab),
        }
    }

    /// How long a job is queued before it begins: between the two a deploying machine is seen
    /// `Stopped` with a `jobid`.
    pub(crate) fn lead(self, deploy: bool) -> Duration {
        match (self, deploy) {
            (Self::Instant, _) => Duration::ZERO,
            (Self::Lab | Self::Slow, true) => Duration::from_millis(200),
            (Self::Lab | Self::Slow, false) => Duration::from_millis(60),
        }
    }

    /// How long the answer to a request takes, apart from the rows of a list.
    pub(crate) fn request(self, command: &str) -> Duration {
        let lab = match command {
            "createNetwork" => 110,
            "deployVirtualMachine" => 120,
            "enableStaticNat" => 90,
            "associateIpAddress" => 65,
            "createVPC" | "recoverVirtualMachine" => 60,
            "createNetworkACLList" | "createAffinityGroup" => 50,
            _ => 15,
        };
        match self {
            Self::Instant => Duration::ZERO,
            Self::Lab | Self::Slow => Duration::from_millis(lab),
        }
    }

    /// How long each row of a list takes, in microseconds of the database's time: 300 machines
    /// were 0.6 s bare and 1.2 s with everything.
    pub(crate) fn row(self, full: bool) -> Duration {
        match (self, full) {
            (Self::Instant, _) => Duration::ZERO,
            (Self::Lab | Self::Slow, false) => Duration::from_micros(2_000),
            (Self::Lab | Self::Slow, true) => Duration::from_micros(3_500),
        }
    }

    /// How long a caller sleeps that finds a lock taken.
    pub(crate) fn lock_step(self) -> Duration {
        match self {
            Self::Instant => Duration::ZERO,
            Self::Lab | Self::Slow => Duration::from_secs(5),
        }
    }

    /// How long a host is silent before the management server acts on it: `ping.interval` times
    /// `ping.timeout`.
    pub(crate) fn host_timeout(self) -> Duration {
        match self {
            Self::Instant => Duration::ZERO,
            Self::Lab | Self::Slow => Duration::from_secs(150),
        }
    }

    /// How long a machine that is to be available waits for its next start.
    pub(crate) fn restart_delay(self, tries: u32) -> Duration {
        match (self, tries) {
            (Self::Instant, 0) => Duration::ZERO,
            (Self::Lab | Self::Slow, 0) => Duration::from_secs(10),
            (_, _) => Duration::from_secs(60),
        }
    }

    /// How long a killed management server is away.
    pub(crate) fn restart(self) -> Duration {
        match self {
            Self::Instant => Duration::ZERO,
            Self::Lab | Self::Slow => Duration::from_secs(20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_reads_back_as_it_is_written() {
        for profile in [Profile::Instant, Profile::Lab, Profile::Slow] {
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        assert!("fast".parse::<Profile>().is_err());
    }
}
