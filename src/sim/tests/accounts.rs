//! Accounts, users and domains change, and go with all that they own.

use serde_json::Value;

use super::Cloud;
use crate::sim::{Profile, Who};

/// A domain `d` and in it the account `a` with a user of the same name.
struct Made {
    domain: String,
    account: String,
    user: String,
}

async fn made(cloud: &Cloud) -> Made {
    let domain = cloud
        .ask(Who::Admin, "createDomain", &[("name", "d")])
        .await;
    let domain = domain["domain"]["id"].as_str().unwrap().to_owned();
    let params = [
        ("username", "a"),
        ("password", "p"),
        ("email", "a@example.com"),
        ("firstname", "A"),
        ("lastname", "A"),
        ("domainid", domain.as_str()),
    ];
    let made = cloud.ask(Who::Admin, "createAccount", &params).await;
    let account = &made["account"];
    Made {
        account: account["id"].as_str().unwrap().to_owned(),
        user: account["user"][0]["id"].as_str().unwrap().to_owned(),
        domain,
    }
}

/// Gives the account `a` a VPC, an address, a machine in an isolated network, and a key pair.
async fn give(cloud: &Cloud, made: &Made) {
    let isolated = cloud.sim.world(|world| {
        let mut rows = world.catalogue.network_offerings.iter();
        let found = rows.find(|row| row["forvpc"] == false && row["guestiptype"] == "Isolated");
        found.unwrap()["id"].as_str().unwrap().to_owned()
    });
    let vpc = owned(
        made,
        &[
            ("name", "v"),
            ("cidr", "10.7.0.0/16"),
            ("zoneid", &cloud.zone),
            ("vpcofferingid", &cloud.vpc_offering),
        ],
    );
    let vpc = cloud.job_as(Who::Admin, "createVPC", &vpc).await;
    let vpc = vpc["jobresult"]["vpc"]["id"].as_str().unwrap().to_owned();
    let address = [("vpcid", vpc.as_str())];
    let address = cloud
        .job_as(Who::Admin, "associateIpAddress", &address)
        .await;
    assert_eq!(address["jobstatus"], 1, "{address}");
    let network = owned(
        made,
        &[
            ("name", "n"),
            ("zoneid", &cloud.zone),
            ("networkofferingid", &isolated),
        ],
    );
    let network = cloud.ask(Who::Admin, "createNetwork", &network).await;
    let network = network["network"]["id"].as_str().unwrap().to_owned();
    let vm = owned(made, &cloud.deploy(&network, "vm", &[]));
    let vm = cloud.job_as(Who::Admin, "deployVirtualMachine", &vm).await;
    assert_eq!(vm["jobstatus"], 1, "{vm}");
    let pair = owned(made, &[("name", "k")]);
    cloud.ask(Who::Admin, "createSSHKeyPair", &pair).await;
}

/// The parameters, for the account `a` of the domain `d`.
fn owned<'a>(made: &'a Made, params: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let owner = [("account", "a"), ("domainid", made.domain.as_str())];
    params.iter().copied().chain(owner).collect()
}

/// What is left of an account: rows that name it.
fn left(cloud: &Cloud, account: &str) -> Vec<String> {
    cloud.sim.world(|world| {
        let mut left = Vec::new();
        let mut note = |what: &str, count: usize| {
            if count > 0 {
                left.push(format!("{count} {what}"));
            }
        };
        let mine = |owner: &String| owner == account;
        let vms = world.vms.values();
        note("vms", vms.filter(|row| mine(&row.account)).count());
        let volumes = world.volumes.values();
        note("volumes", volumes.filter(|row| mine(&row.account)).count());
        let networks = world.networks.values();
        note(
            "networks",
            networks.filter(|row| mine(&row.account)).count(),
        );
        let vpcs = world.vpcs.values();
        note("vpcs", vpcs.filter(|row| mine(&row.account)).count());
        let held = world.addresses.values();
        let held = held.filter(|row| row.account.as_ref().is_some_and(mine));
        note("addresses", held.count());
        let pairs = world.key_pairs.values();
        note("key pairs", pairs.filter(|row| mine(&row.account)).count());
        let users = world.users.values();
        note("users", users.filter(|row| mine(&row.account)).count());
        left
    })
}

#[tokio::test(start_paused = true)]
async fn an_account_goes_with_all_that_it_owns() {
    let cloud = Cloud::new(Profile::Instant);
    let made = made(&cloud).await;
    give(&cloud, &made).await;
    assert_eq!(left(&cloud, &made.account).len(), 7);
    let job = cloud
        .job_as(Who::Admin, "deleteAccount", &[("id", &made.account)])
        .await;
    assert_eq!(job["jobresult"]["success"], true, "{job}");
    assert_eq!(left(&cloud, &made.account), Vec::<String>::new());
    let broken = cloud.sim.world(|world| super::invariants::check(world));
    assert_eq!(broken, Vec::<String>::new());
    let listed = cloud
        .ask(Who::Admin, "listUsers", &[("id", &made.user)])
        .await;
    assert_eq!(listed, serde_json::json!({}));
}

#[tokio::test(start_paused = true)]
async fn an_account_whose_network_serves_another_stays() {
    let cloud = Cloud::new(Profile::Instant);
    let made = made(&cloud).await;
    give(&cloud, &made).await;
    let network = cloud.sim.world(|world| {
        let mut networks = world.networks.values();
        let found = networks.find(|row| row.account == made.account);
        found.unwrap().id.clone()
    });
    let vm = cloud.deploy(&network, "guest", &[]);
    let vm = cloud.job_as(Who::Admin, "deployVirtualMachine", &vm).await;
    assert_eq!(vm["jobstatus"], 1, "{vm}");
    let job = cloud
        .job_as(Who::Admin, "deleteAccount", &[("id", &made.account)])
        .await;
    assert_eq!(job["jobstatus"], 2);
    assert_eq!(
        job["jobresult"]["errortext"],
        "Failed to delete user account and all corresponding users"
    );
    assert_eq!(left(&cloud, &made.account).len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_domain_goes_when_it_is_empty_or_to_be_cleaned_up() {
    let cloud = Cloud::new(Profile::Instant);
    let made = made(&cloud).await;
    give(&cloud, &made).await;
    let inner = [("name", "inner"), ("parentdomainid", &made.domain)];
    cloud.ask(Who::Admin, "createDomain", &inner).await;
    let id = ("id", made.domain.as_str());
    let job = cloud.job_as(Who::Admin, "deleteDomain", &[id]).await;
    let text = job["jobresult"]["errortext"].as_str().unwrap();
    assert!(
        text.starts_with("Delete failed on domain d (id: "),
        "{text}"
    );
    let cleanup = [id, ("cleanup", "true")];
    let job = cloud.job_as(Who::Admin, "deleteDomain", &cleanup).await;
    assert_eq!(job["jobresult"]["success"], true, "{job}");
    assert_eq!(left(&cloud, &made.account), Vec::<String>::new());
    let listed = cloud
        .ask(Who::Admin, "listDomains", &[("listall", "true")])
        .await;
    assert_eq!(listed["count"], 1, "{listed}");
    let broken = cloud.sim.world(|world| super::invariants::check(world));
    assert_eq!(broken, Vec::<String>::new());
    let root = listed["domain"][0]["id"].as_str().unwrap();
    let refused = cloud
        .send(Who::Admin, "deleteDomain", &[("id", root)])
        .await;
    assert_eq!(refused.inner()["errortext"], "Can't delete ROOT domain");
}

#[tokio::test(start_paused = true)]
async fn accounts_users_and_domains_are_renamed_but_not_to_a_name_that_is_taken() {
    let cloud = Cloud::new(Profile::Instant);
    let made = made(&cloud).await;
    let account = [("id", made.account.as_str()), ("newname", "b")];
    let row = cloud.ask(Who::Admin, "updateAccount", &account).await;
    assert_eq!(row["account"]["name"], "b");
    let domain = [
        ("id", made.domain.as_str()),
        ("name", "e"),
        ("networkdomain", "e.example"),
    ];
    let row = cloud.ask(Who::Admin, "updateDomain", &domain).await;
    assert_eq!(row["domain"]["path"], "ROOT/e");
    assert_eq!(row["domain"]["networkdomain"], "e.example");
    let user = [("id", made.user.as_str()), ("firstname", "Ada")];
    let row = cloud.ask(Who::Admin, "updateUser", &user).await;
    assert_eq!(row["user"]["firstname"], "Ada");
    assert_eq!(row["user"]["lastname"], "A");
    cloud
        .ask(Who::Admin, "createDomain", &[("name", "f")])
        .await;
    for (command, id, name) in [
        ("updateDomain", &made.domain, ("name", "f")),
        ("updateUser", &made.user, ("username", "operator")),
    ] {
        let refused = cloud.send(Who::Admin, command, &[("id", id), name]).await;
        assert_eq!(refused.status, 431, "{command}: {}", refused.body);
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_changes_the_password_by_telling_the_old_one() {
    let cloud = Cloud::new(Profile::Instant);
    let id = cloud.sim.world(|world| {
        let user = world.user_named("operator");
        user.unwrap().id.clone()
    });
    let new = [("id", id.as_str()), ("password", "new")];
    let (_, text) = cloud.refusal("updateUser", &new).await;
    assert_eq!(
        text,
        "To set a new password the current password must be provided."
    );
    let wrong = [new[0], new[1], ("currentpassword", "x")];
    let (_, text) = cloud.refusal("updateUser", &wrong).await;
    assert_eq!(text, "Current password is incorrect.");
    let right = [new[0], new[1], ("currentpassword", "password")];
    cloud.tenant("updateUser", &right).await;
    let word = cloud
        .sim
        .world(|world| world.user_named("operator").unwrap().password.clone());
    assert_eq!(word, "new");
}

#[tokio::test(start_paused = true)]
async fn a_disabled_user_sends_nothing_until_it_is_enabled() {
    let cloud = Cloud::new(Profile::Instant);
    let created = [
        ("username", "second"),
        ("password", "p"),
        ("account", "operator"),
        ("email", "e"),
        ("firstname", "f"),
        ("lastname", "l"),
    ];
    let made = cloud.ask(Who::Admin, "createUser", &created).await;
    let id = made["user"]["id"].as_str().unwrap();
    let state = |row: &Value| row["user"]["state"].as_str().unwrap().to_owned();
    let job = cloud.job_as(Who::Admin, "disableUser", &[("id", id)]).await;
    assert_eq!(state(&job["jobresult"]), "disabled");
    let locked = cloud.ask(Who::Admin, "lockUser", &[("id", id)]).await;
    assert_eq!(state(&locked), "locked");
    let enabled = cloud.ask(Who::Admin, "enableUser", &[("id", id)]).await;
    assert_eq!(state(&enabled), "enabled");
}

#[tokio::test(start_paused = true)]
async fn an_account_is_what_its_role_says() {
    let cloud = Cloud::new(Profile::Instant);
    let roles = cloud.ask(Who::Admin, "listRoles", &[]).await;
    let role = |name: &str| {
        let mut rows = roles["role"].as_array().unwrap().iter();
        let found = rows.find(|row| row["name"] == name).unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    let made = made(&cloud).await;
    let manager = role("Domain Admin");
    let change = [("id", made.account.as_str()), ("roleid", manager.as_str())];
    let row = cloud.ask(Who::Admin, "updateAccount", &change).await;
    assert_eq!(row["account"]["rolename"], "Domain Admin");
    assert_eq!(row["account"]["accounttype"], 2);
    let user = role("User");
    let rules = [
        ("roleid", user.as_str()),
        ("pagesize", "500"),
        ("page", "1"),
    ];
    let rules = cloud.ask(Who::Admin, "listRolePermissions", &rules).await;
    let rules = rules["rolepermission"].as_array().unwrap();
    let may = |command: &str| rules.iter().any(|row| row["rule"] == command);
    assert!(may("listVPCs") && !may("createDomain") && !may("listHosts"));
}

#[tokio::test(start_paused = true)]
async fn global_settings_are_read_and_changed_by_root_admins() {
    let cloud = Cloud::new(Profile::Instant);
    let named = [("name", "expunge.delay")];
    let rows = cloud.ask(Who::Admin, "listConfigurations", &named).await;
    assert_eq!(rows["configuration"][0]["value"], "86400");
    let change = [("name", "expunge.delay"), ("value", "60")];
    let row = cloud.ask(Who::Admin, "updateConfiguration", &change).await;
    assert_eq!(row["configuration"]["value"], "60");
    assert_eq!(cloud.sim.world(|world| world.settings.expunge_delay), 60);
    let wrong = [("name", "expunge.delay"), ("value", "soon")];
    let refused = cloud.send(Who::Admin, "updateConfiguration", &wrong).await;
    assert_eq!(refused.status, 431, "{}", refused.body);
    let own = [("name", "clock.skew"), ("value", "5")];
    let refused = cloud.send(Who::Admin, "updateConfiguration", &own).await;
    assert_eq!(
        refused.inner()["errortext"],
        "Config parameter with name clock.skew doesn't exist"
    );
    assert_eq!(
        cloud
            .send(Who::Tenant, "listConfigurations", &[])
            .await
            .status,
        432
    );
}
