//! Items 19 to 33: what lists hold, page by page, and who sees what in them.

use serde_json::{Value, json};
use weir::sim::{Profile, Reply, Who};

use super::{Cloud, Params, text};

/// What the rows of a list say in one member, in their order.
fn column(list: &Value, rows: &str, member: &str) -> Vec<String> {
    let rows = list[rows].as_array().cloned().unwrap_or_default();
    rows.iter().map(|row| text(&row[member])).collect()
}

/// A refusal: status, code and text.
fn told(reply: &Reply) -> (u16, Value, String) {
    let inside = reply.inner();
    (
        reply.status,
        inside["cserrorcode"].clone(),
        text(&inside["errortext"]),
    )
}

impl Cloud {
    /// VPCs beside the one that is there, by name.
    async fn vpcs(&self, names: &[&str]) {
        let offering = self.sim.world(|world| {
            let offering = &world.catalogue.vpc_offerings[0];
            text(&offering["id"])
        });
        for name in names {
            self.new_vpc(name, &offering).await;
        }
    }

    /// What somebody finds in a list: names or states, by a member of its rows.
    async fn found(&self, who: Who, params: &Params<'_>) -> Vec<String> {
        let list = self.ask(who, "listVirtualMachines", params).await;
        column(&list, "virtualmachine", "name")
    }

    async fn tag(&self, resource: &str, key: &str, value: &str) {
        let tag = [
            ("resourceids", resource),
            ("resourcetype", "UserVm"),
            ("tags[0].key", key),
            ("tags[0].value", value),
        ];
        self.done("createTags", &tag).await;
    }
}

/// 19. Empty list → `{"listvpcsresponse":{}}`.
#[tokio::test(start_paused = true)]
async fn c019_an_empty_list_is_an_empty_object() {
    let cloud = Cloud::new(Profile::Instant).await;
    let none = cloud
        .send(Who::Tenant, "listVPCs", &[("name", "none")])
        .await;
    assert_eq!(
        (none.status, &*none.body),
        (200, r#"{"listvpcsresponse":{}}"#)
    );
}

/// 20. Three VPCs, page=1&pagesize=2 → count 3, two elements; page=2 → count 3, one element.
#[tokio::test(start_paused = true)]
async fn c020_a_page_tells_how_many_there_are_in_all() {
    let cloud = Cloud::new(Profile::Instant).await;
    cloud.vpcs(&["a", "b"]).await;
    let mut seen = Vec::new();
    for (page, rows) in [("1", 2), ("2", 1)] {
        let params = [("page", page), ("pagesize", "2")];
        let list = cloud.tenant("listVPCs", &params).await;
        assert_eq!(list["count"], 3, "page {page}");
        let names = column(&list, "vpc", "name");
        assert_eq!(names.len(), rows, "page {page}: {names:?}");
        seen.extend(names);
    }
    seen.sort();
    assert_eq!(seen, ["a", "b", "v"]);
    // As observed, a page past the end has the count and no rows.
    let past = [("page", "3"), ("pagesize", "2")];
    assert_eq!(cloud.tenant("listVPCs", &past).await, json!({"count": 3}));
}

/// 21. pagesize without page, page without pagesize → 431 with the quoted texts; `pagesize=-1`
/// without page is no limit.
#[tokio::test(start_paused = true)]
async fn c021_page_and_page_size_come_together() {
    let cloud = Cloud::new(Profile::Instant).await;
    for (given, lacks) in [("pagesize", "page"), ("page", "pagesize")] {
        let reply = cloud.send(Who::Tenant, "listVPCs", &[(given, "1")]).await;
        let why = format!("\"{lacks}\" parameter is required when \"{given}\" is specified");
        assert_eq!(told(&reply), (431, json!(9999), why));
    }
    let all = cloud.tenant("listVPCs", &[("pagesize", "-1")]).await;
    assert_eq!(column(&all, "vpc", "name"), ["v"]);
}

/// 22. pagesize=501 with page → 431 "Page size can't exceed max allowed page size value: 500".
#[tokio::test(start_paused = true)]
async fn c022_a_page_has_500_rows_at_most() {
    let cloud = Cloud::new(Profile::Instant).await;
    let of = async |size| {
        let params = [("page", "1"), ("pagesize", size)];
        cloud.send(Who::Tenant, "listVPCs", &params).await
    };
    let why = "Page size can't exceed max allowed page size value: 500".to_owned();
    assert_eq!(told(&of("501").await), (431, json!(4350), why));
    assert_eq!(of("500").await.status, 200);
}

/// 23. More than 500 rows without paging → 500 rows, count = all.
#[tokio::test(start_paused = true)]
async fn c023_who_does_not_page_gets_500_rows_and_the_count_of_all() {
    let cloud = Cloud::new(Profile::Instant).await;
    for group in 0..503 {
        let name = format!("g{group}");
        let params = [("name", name.as_str())];
        cloud.tenant("createInstanceGroup", &params).await;
    }
    let list = cloud.tenant("listInstanceGroups", &[]).await;
    assert_eq!(list["count"], 503);
    assert_eq!(list["instancegroup"].as_array().unwrap().len(), 500);
    let rest = [("page", "2"), ("pagesize", "500")];
    let rest = cloud.tenant("listInstanceGroups", &rest).await;
    assert_eq!(rest["count"], 503);
    assert_eq!(rest["instancegroup"].as_array().unwrap().len(), 3);
    let all = [("pagesize", "-1")];
    let all = cloud.tenant("listInstanceGroups", &all).await;
    assert_eq!(all["instancegroup"].as_array().unwrap().len(), 503);
}

/// 24. listVirtualMachines name=web does not return `web-1`; listVPCs name=web does.
#[tokio::test(start_paused = true)]
async fn c024_names_of_machines_are_matched_whole_and_those_of_vpcs_in_part() {
    let cloud = Cloud::new(Profile::Instant).await;
    cloud.stopped("web-1").await;
    let named = |name| [("name", name)];
    let nothing: [&str; 0] = [];
    assert_eq!(cloud.found(Who::Tenant, &named("web")).await, nothing);
    assert_eq!(cloud.found(Who::Tenant, &named("web-1")).await, ["web-1"]);
    cloud.vpcs(&["web-1"]).await;
    let list = cloud.tenant("listVPCs", &named("web")).await;
    assert_eq!(column(&list, "vpc", "name"), ["web-1"]);
}

/// 25. Two tag filters → rows that match either.
#[tokio::test(start_paused = true)]
async fn c025_of_two_tags_one_is_enough() {
    let cloud = Cloud::new(Profile::Instant).await;
    for (name, key, value) in [("a", "k", "1"), ("b", "l", "2"), ("c", "k", "3")] {
        let vm = cloud.stopped(name).await;
        cloud.tag(&vm, key, value).await;
    }
    cloud.stopped("d").await;
    let first = [("tags[0].key", "k"), ("tags[0].value", "1")];
    let second = [("tags[1].key", "l"), ("tags[1].value", "2")];
    assert_eq!(cloud.found(Who::Tenant, &first).await, ["a"]);
    let either = [first, second].concat();
    assert_eq!(cloud.found(Who::Tenant, &either).await, ["a", "b"]);
}

/// 26. listVirtualMachines details=min → row without nic contents (`nic` empty, no ipaddress) but
/// with id, name, state, tags.
#[tokio::test(start_paused = true)]
async fn c026_the_smallest_row_has_no_cards_and_its_tags() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.stopped("a").await;
    cloud.tag(&vm, "k", "1").await;
    let of = async |details| {
        let list = cloud
            .tenant("listVirtualMachines", &[("details", details)])
            .await;
        list["virtualmachine"][0].clone()
    };
    let min = of("min").await;
    assert_eq!(min["nic"], json!([]));
    assert!(min.get("ipaddress").is_none(), "{min}");
    assert_eq!(min["id"], vm);
    assert_eq!(
        (&min["name"], &min["state"]),
        (&json!("a"), &json!("Stopped"))
    );
    assert_eq!(min["tags"][0]["key"], "k");
    let cards = of("min,nics").await;
    assert_eq!(cards["nic"].as_array().unwrap().len(), 1);
    assert_eq!(cards["ipaddress"], cards["nic"][0]["ipaddress"]);
}

/// 27. details=bogus → 431.
#[tokio::test(start_paused = true)]
async fn c027_an_unknown_detail_is_refused() {
    let cloud = Cloud::new(Profile::Instant).await;
    let (status, why) = cloud
        .refusal("listVirtualMachines", &[("details", "min,bogus")])
        .await;
    assert_eq!(status, 431);
    let start = "The details parameter contains a non permitted value.";
    assert!(why.starts_with(start), "{why}");
}

/// 28. retrieveonlyresourcecount=true → only count.
#[tokio::test(start_paused = true)]
async fn c028_a_count_can_be_asked_for_alone() {
    let cloud = Cloud::new(Profile::Instant).await;
    for name in ["a", "b"] {
        cloud.stopped(name).await;
    }
    let only = [("retrieveonlyresourcecount", "true")];
    let counts = [
        ("listVirtualMachines", 2),
        ("listNetworks", 1),
        ("listPublicIpAddresses", 1),
        ("listVolumes", 2),
    ];
    for (command, count) in counts {
        let list = cloud.tenant(command, &only).await;
        assert_eq!(list, json!({"count": count}), "{command}");
    }
}

/// 29. listall absent and caller root admin → only own resources; normal user → own resources in
/// both cases.
#[tokio::test(start_paused = true)]
async fn c029_an_admin_sees_everything_only_if_asked() {
    let cloud = Cloud::new(Profile::Instant).await;
    cloud.stopped("ours").await;
    cloud.sim.add_neighbour().unwrap();
    let all = [("listall", "true")];
    let nothing: [&str; 0] = [];
    assert_eq!(cloud.found(Who::Admin, &[]).await, nothing);
    let everybodys = cloud.found(Who::Admin, &all).await;
    assert!(everybodys.contains(&"ours".to_owned()), "{everybodys:?}");
    assert!(everybodys.len() > 1, "{everybodys:?}");
    for params in [&all[..], &[]] {
        assert_eq!(cloud.found(Who::Tenant, params).await, ["ours"]);
        let theirs = cloud.found(Who::Other, params).await;
        assert_eq!(theirs.len(), everybodys.len() - 1, "{theirs:?}");
        assert!(!theirs.contains(&"ours".to_owned()), "{theirs:?}");
    }
}

/// 30. VM of a project: absent without projectid, present with projectid or projectid=-1; by id
/// alone present for an admin, absent for a normal user.
#[tokio::test(start_paused = true)]
async fn c030_what_is_a_projects_is_seen_by_its_id() {
    let cloud = Cloud::new(Profile::Instant).await;
    let project = cloud.done("createProject", &[("name", "p")]).await;
    let project = text(&project["project"]["id"]);
    let of = ("projectid", project.as_str());
    let offering = cloud
        .sim
        .world(|world| text(&world.catalogue.vpc_offerings[0]["id"]));
    let vpc = [
        ("name", "theirs"),
        ("cidr", "10.2.0.0/16"),
        ("zoneid", &cloud.zone),
        ("vpcofferingid", &offering),
        of,
    ];
    let vpc = text(&cloud.done("createVPC", &vpc).await["vpc"]["id"]);
    let tier = [
        ("name", "theirs"),
        ("zoneid", &cloud.zone),
        ("networkofferingid", &cloud.tier_offering),
        ("vpcid", &vpc),
        ("gateway", "10.2.0.1"),
        ("netmask", "255.255.255.0"),
        of,
    ];
    let tier = text(&cloud.tenant("createNetwork", &tier).await["network"]["id"]);
    let vm = [
        ("name", "a"),
        ("networkids", &tier),
        ("zoneid", &cloud.zone),
        ("serviceofferingid", &cloud.offering),
        ("templateid", &cloud.template),
        of,
    ];
    let vm = cloud.done("deployVirtualMachine", &vm).await;
    let vm = text(&vm["virtualmachine"]["id"]);
    let nothing: [&str; 0] = [];
    let id = ("id", vm.as_str());
    let any = ("projectid", "-1");
    let all = ("listall", "true");
    let looks: [(&Params<'_>, bool, bool); 6] = [
        (&[], false, false),
        (&[all], false, false),
        (&[of], true, true),
        (&[any], true, true),
        (&[id], false, true),
        (&[id, of], true, true),
    ];
    for (params, tenant, admin) in looks {
        for (who, present) in [(Who::Tenant, tenant), (Who::Admin, admin)] {
            let found = cloud.found(who, params).await;
            let wanted: &[&str] = if present { &["a"] } else { &nothing };
            assert_eq!(found, wanted, "{who:?} {params:?}");
        }
    }
}

/// 31. listNetworks with name: a server of 4.22, which this one is, filters exactly; older ones
/// ignored the parameter.
#[tokio::test(start_paused = true)]
async fn c031_networks_are_filtered_by_their_whole_name() {
    let cloud = Cloud::new(Profile::Instant).await;
    cloud.new_tier(&cloud.vpc, "t2", "10.1.1.1").await;
    for (name, found) in [("t", vec!["t"]), ("t2", vec!["t2"]), ("T3", vec![])] {
        let list = cloud.tenant("listNetworks", &[("name", name)]).await;
        assert_eq!(column(&list, "network", "name"), found, "{name}");
    }
}

/// 32. listPublicIpAddresses without allocatedonly → only allocated; allocatedonly=false → also
/// Free rows (no account).
#[tokio::test(start_paused = true)]
async fn c032_free_addresses_are_listed_if_asked_for() {
    let cloud = Cloud::new(Profile::Instant).await;
    let list = cloud.tenant("listPublicIpAddresses", &[]).await;
    assert_eq!(column(&list, "publicipaddress", "state"), ["Allocated"]);
    assert_eq!(list["publicipaddress"][0]["account"], "operator");
    let all = [("allocatedonly", "false"), ("state", "Free")];
    let free = cloud.tenant("listPublicIpAddresses", &all).await;
    let rows = free["publicipaddress"].as_array().unwrap();
    assert!(rows.len() > 1, "{free}");
    for row in rows {
        assert_eq!(row["state"], "Free");
        assert!(row.get("account").is_none(), "{row}");
        assert!(row.get("allocated").is_none(), "{row}");
    }
    let both = [("allocatedonly", "false"), ("listall", "true")];
    let both = cloud.ask(Who::Admin, "listPublicIpAddresses", &both).await;
    let states = column(&both, "publicipaddress", "state");
    assert!(states.contains(&"Free".to_owned()), "{states:?}");
    assert!(states.contains(&"Allocated".to_owned()), "{states:?}");
}

/// 33. listNetworkACLLists vpcid=V → own lists plus default_allow and default_deny.
#[tokio::test(start_paused = true)]
async fn c033_the_lists_of_a_vpc_are_its_own_and_the_two_default_ones() {
    let cloud = Cloud::new(Profile::Instant).await;
    cloud.vpcs(&["other"]).await;
    let vpcs = cloud.tenant("listVPCs", &[("name", "other")]).await;
    let other = text(&vpcs["vpc"][0]["id"]);
    for (vpc, name) in [(&cloud.vpc, "mine"), (&other, "others")] {
        let list = [("vpcid", vpc.as_str()), ("name", name)];
        cloud.done("createNetworkACLList", &list).await;
    }
    let of = [("vpcid", cloud.vpc.as_str())];
    let lists = cloud.tenant("listNetworkACLLists", &of).await;
    let mut names = column(&lists, "networkacllist", "name");
    names.sort();
    assert_eq!(names, ["default_allow", "default_deny", "mine"]);
}
