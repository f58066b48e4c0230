//! What one account has is out of reach for another: each parameter of each command that names
//! a thing is given one of somebody else's.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Cloud;
use super::town::{Town, ask};
use super::walks::requests::{Luck, all_of, draw, meant_by, weighted};
use crate::sim::Who;
use crate::sim::commands;
use crate::sim::world::{Kind, World};

/// How many requests each of the two accounts sends before they meet.
const BEFORE: usize = 600;
/// How often each parameter is given something of the other account's.
const TRIES: usize = 4;
/// How many parameters must have been tried: fewer, and the first account had too little.
const TRIED_MIN: usize = 150;
/// Commands that would make friends of strangers.
const APART: &[&str] = &["addAccountToProject", "createProject", "updateProject"];

/// Parameters that may name what is somebody else's, since nothing comes of it; and why.
const HARMLESS: &[(&str, &str, &str)] = &[
    (
        "createProject",
        "accountid",
        "whoever creates a project is its admin here",
    ),
    ("createProject", "userid", "the same"),
    (
        "removeFromLoadBalancerRule",
        "virtualmachineids",
        "the rule is the caller's, and a machine that is not in it is passed over",
    ),
    (
        "updateVirtualMachine",
        "securitygroupids",
        "no zone here has security groups, and the parameter is not read",
    ),
];

fn account_of(world: &World, who: Who) -> String {
    let user = world.user_named(who.user_name());
    user.expect("a user").account.clone()
}

/// What an account has, row by row, as the state file has it.
fn belongings(world: &World, account: &str) -> BTreeSet<String> {
    let Value::Object(state) = serde_json::to_value(world).expect("a world") else {
        unreachable!("a world is a map");
    };
    let tables = state.values().filter_map(Value::as_object);
    let rows = tables.flat_map(|table| table.values());
    let mine = rows.filter(|row| row["account"] == account);
    mine.map(Value::to_string).collect()
}

/// Something of a kind that an account has and another may not touch.
fn foreign(world: &World, kind: Kind, luck: &mut Luck) -> Option<String> {
    let (theirs, mine) = (
        account_of(world, Who::Tenant),
        account_of(world, Who::Other),
    );
    let mut ids = all_of(world, kind);
    ids.retain(|id| {
        let owner = world.owner(kind, id);
        owner == Some(&theirs) && !world.may_act(&mine, &theirs)
    });
    luck.pick(&ids)
}

/// A request of the second account into which something of the first one's is put.
struct Trespass {
    command: &'static str,
    param: &'static str,
    kind: Kind,
    id: String,
    asked: Vec<(String, String)>,
}

impl Trespass {
    fn draw(
        world: &World,
        command: &'static str,
        param: &'static str,
        luck: &mut Luck,
    ) -> Option<Self> {
        let mut asked = draw(world, Who::Other.user_name(), command, luck)?;
        let kind = meant_by(command, param, &asked)?;
        let id = foreign(world, kind, luck)?;
        asked.retain(|(name, _)| name != param);
        asked.push((param.to_owned(), id.clone()));
        Some(Self {
            command,
            param,
            kind,
            id,
            asked,
        })
    }

    /// What is wrong with how the simulator takes it, if anything.
    async fn commit(&self, cloud: &Cloud) -> Option<String> {
        let (accepted, answer) = ask(cloud, Who::Other, self.command, &self.asked).await;
        let lists = commands::find(self.command).is_some_and(|row| row.is_list());
        let shown = answer.to_string().contains(&self.id);
        (accepted && (!lists || shown)).then(|| {
            let Self {
                command,
                param,
                kind,
                ..
            } = self;
            format!("{command} accepts in {param} what is somebody else's ({kind:?}): {answer}")
        })
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_another_account_is_seen_or_touched() {
    let mut town = Town::new(1, APART);
    for _ in 0..BEFORE {
        town.step(Who::Tenant).await;
        town.step(Who::Other).await;
    }
    let cloud = town.cloud;
    let theirs = || {
        let look = |world: &World| belongings(world, &account_of(world, Who::Tenant));
        cloud.sim.world(|world| look(world))
    };
    let harmless = |command, param| {
        let mut rows = HARMLESS.iter();
        rows.any(|(known, name, _)| (*known, *name) == (command, param))
    };
    let names: BTreeSet<&str> = weighted(commands::names()).into_iter().collect();
    let mut luck = Luck::of(2);
    let mut wrong = Vec::new();
    let mut tried = BTreeSet::new();
    let mut before = theirs();
    for row in names.into_iter().filter_map(commands::find) {
        let command = row.name;
        let params = row.params().map(|param| param.name);
        let known = tried.len();
        for param in params.filter(|param| !harmless(command, param)) {
            for _ in 0..TRIES {
                let drawn = |world: &mut World| Trespass::draw(world, command, param, &mut luck);
                let Some(trespass) = cloud.sim.world(drawn) else {
                    continue;
                };
                tried.insert((command, param));
                wrong.extend(trespass.commit(&cloud).await);
            }
        }
        if tried.len() == known {
            continue;
        }
        let after = theirs();
        let mut changed = before.symmetric_difference(&after);
        wrong.extend(changed.next().map(|row| format!("{command} changes {row}")));
        before = after;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        tried.len() >= TRIED_MIN,
        "only {} parameters were tried: {tried:?}",
        tried.len()
    );
}
