//! Firewall, port-forwarding and load-balancer rules: what clashes, and what takes them along.

use serde_json::{Value, json};

use super::Cloud;
use crate::sim::{Profile, Who};

/// An isolated network with a running machine and a second address.
struct Ground {
    network: String,
    vm: String,
    address: String,
}

impl Cloud {
    async fn ground(&self) -> Ground {
        let network = self.isolated("n").await;
        let vm = self.vm(&network, "a").await;
        let address = self.address_in(&network).await;
        Ground {
            network,
            vm,
            address,
        }
    }

    /// How many rows the tenant sees in a list.
    async fn count(&self, command: &str, params: &[(&str, &str)]) -> u64 {
        let list = self.tenant(command, params).await;
        list["count"].as_u64().unwrap_or_default()
    }

    async fn expunge(&self, vm: &str) {
        let params = [("id", vm), ("expunge", "true")];
        let job = self
            .job_as(Who::Admin, "destroyVirtualMachine", &params)
            .await;
        assert_eq!(job["jobstatus"], 1, "{job}");
    }

    async fn forward(&self, ground: &Ground, port: &str) -> Value {
        let params = forwarding(ground, port);
        let done = self.done("createPortForwardingRule", &params).await;
        done["portforwardingrule"].clone()
    }
}

fn forwarding<'a>(ground: &'a Ground, port: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("ipaddressid", &ground.address),
        ("virtualmachineid", &ground.vm),
        ("protocol", "TCP"),
        ("publicport", port),
        ("privateport", port),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_firewall_rule_is_refused_where_another_is_about_the_same() {
    let cloud = Cloud::new(Profile::Instant);
    let ground = cloud.ground().await;
    let rule = |protocol: &'static str, more: &[(&'static str, &'static str)]| {
        let mut params = vec![
            ("ipaddressid", ground.address.as_str()),
            ("protocol", protocol),
        ];
        params.extend_from_slice(more);
        params
    };
    let web = rule("tcp", &[("startport", "80"), ("endport", "90")]);
    let done = cloud.done("createFirewallRule", &web).await;
    let row = &done["firewallrule"];
    assert_eq!(
        (row["startport"].clone(), row["state"].clone()),
        (json!(80), json!("Active"))
    );
    assert_eq!(row["cidrlist"], "0.0.0.0/0");
    let inner = rule("tcp", &[("startport", "85")]);
    let (status, text) = cloud.refusal("createFirewallRule", &inner).await;
    assert!(
        status == 537 && text.starts_with("The range specified, 85-85, conflicts"),
        "{text}"
    );
    let udp = rule("udp", &[("startport", "85")]);
    cloud.done("createFirewallRule", &udp).await;
    let other = rule("tcp", &[("startport", "85"), ("cidrlist", "192.0.2.0/24")]);
    cloud.done("createFirewallRule", &other).await;
    let all = rule("all", &[]);
    cloud.done("createFirewallRule", &all).await;
    let (status, text) = cloud.refusal("createFirewallRule", &all).await;
    let expected = "There is already a firewall rule specified with protocol = all and no ports";
    assert_eq!((status, text.as_str()), (537, expected));
    let ping = rule("icmp", &[("icmptype", "8"), ("icmpcode", "0")]);
    cloud.done("createFirewallRule", &ping).await;
    let (status, text) = cloud.refusal("createFirewallRule", &ping).await;
    assert!(
        status == 431 && text.starts_with("New rule conflicts with existing rule"),
        "{text}"
    );
    let id = row["id"].as_str().unwrap();
    cloud.done("deleteFirewallRule", &[("id", id)]).await;
    let (status, _) = cloud.refusal("deleteFirewallRule", &[("id", id)]).await;
    assert_eq!(status, 431);
    assert_eq!(cloud.count("listFirewallRules", &[]).await, 4);
}

#[tokio::test(start_paused = true)]
async fn egress_is_from_the_network_unless_told_otherwise() {
    let cloud = Cloud::new(Profile::Instant);
    let ground = cloud.ground().await;
    let params = [("networkid", ground.network.as_str()), ("protocol", "all")];
    let done = cloud.done("createEgressFirewallRule", &params).await;
    let row = &done["firewallrule"];
    assert_eq!(row["cidrlist"], "10.1.1.0/24");
    assert_eq!(
        (row["traffictype"].clone(), row.get("ipaddressid")),
        (json!("Egress"), None)
    );
    assert_eq!(cloud.count("listFirewallRules", &[]).await, 0);
    assert_eq!(cloud.count("listEgressFirewallRules", &[]).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_forwarding_opens_the_firewall_and_takes_it_along() {
    let cloud = Cloud::new(Profile::Instant);
    let ground = cloud.ground().await;
    let rule = cloud.forward(&ground, "22").await;
    assert_eq!(
        (&rule["publicport"], &rule["protocol"]),
        (&json!("22"), &json!("tcp"))
    );
    assert_eq!(cloud.count("listFirewallRules", &[]).await, 1);
    let again = forwarding(&ground, "22");
    let (status, _) = cloud.refusal("createPortForwardingRule", &again).await;
    assert_eq!(status, 537);
    let nat = [
        ("ipaddressid", ground.address.as_str()),
        ("virtualmachineid", ground.vm.as_str()),
    ];
    let (status, text) = cloud.refusal("enableStaticNat", &nat).await;
    assert!(
        status == 537 && text.ends_with("as it already has PortForwarding rules assigned"),
        "{text}"
    );
    let id = rule["id"].as_str().unwrap();
    let change = [("id", id), ("privateport", "2222")];
    let changed = cloud.done("updatePortForwardingRule", &change).await;
    assert_eq!(changed["portforwardingrule"]["privateport"], "2222");
    cloud.done("deletePortForwardingRule", &[("id", id)]).await;
    assert_eq!(cloud.count("listFirewallRules", &[]).await, 0);
    cloud.tenant("enableStaticNat", &nat).await;
    let (status, text) = cloud.refusal("createPortForwardingRule", &again).await;
    assert!(
        status == 431 && text.ends_with("has static nat enabled"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn rules_go_with_their_machine_and_with_their_address() {
    let cloud = Cloud::new(Profile::Instant);
    let ground = cloud.ground().await;
    cloud.forward(&ground, "22").await;
    let balance = [
        ("publicipid", ground.address.as_str()),
        ("name", "web"),
        ("algorithm", "roundrobin"),
        ("publicport", "80"),
        ("privateport", "8080"),
    ];
    let done = cloud.done("createLoadBalancerRule", &balance).await;
    let rule = done["loadbalancer"]["id"].as_str().unwrap().to_owned();
    assert_eq!(done["loadbalancer"]["state"], "Add", "nobody to spread to");
    let assign = [
        ("id", rule.as_str()),
        ("virtualmachineids", ground.vm.as_str()),
    ];
    cloud.done("assignToLoadBalancerRule", &assign).await;
    let (code, text) = cloud.failure("assignToLoadBalancerRule", &assign).await;
    assert_eq!(
        (code, text.as_str()),
        (530, "Failed to assign load balancer rule")
    );
    let of = [("id", rule.as_str())];
    let members = cloud.tenant("listLoadBalancerRuleInstances", &of).await;
    assert_eq!(members["loadbalancerruleinstance"][0]["name"], "a");
    cloud.expunge(&ground.vm).await;
    assert_eq!(cloud.count("listPortForwardingRules", &[]).await, 0);
    assert_eq!(cloud.count("listLoadBalancerRuleInstances", &of).await, 0);
    assert_eq!(cloud.count("listLoadBalancerRules", &[]).await, 1);
    cloud
        .done("disassociateIpAddress", &[("id", &ground.address)])
        .await;
    assert_eq!(cloud.count("listLoadBalancerRules", &[]).await, 0);
    assert_eq!(cloud.count("listFirewallRules", &[]).await, 0);
}

#[tokio::test(start_paused = true)]
async fn in_a_vpc_the_first_rule_binds_an_address_and_the_last_one_loosens_it() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let vm = cloud.vm(&stack.tier, "a").await;
    let address = cloud.address(&stack.vpc).await;
    let params = |more: &[(&'static str, String)]| {
        let mut params = vec![
            ("ipaddressid", address.clone()),
            ("virtualmachineid", vm.clone()),
            ("protocol", "tcp".to_owned()),
            ("publicport", "80".to_owned()),
            ("privateport", "80".to_owned()),
        ];
        params.extend_from_slice(more);
        params
    };
    let unbound = params(&[]);
    let unbound: Vec<_> = unbound.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let (status, text) = cloud.refusal("createPortForwardingRule", &unbound).await;
    assert!(
        status == 431 && text.ends_with("no networkId is passed in"),
        "{text}"
    );
    let bound = params(&[("networkid", stack.tier.clone())]);
    let bound: Vec<_> = bound.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let rule = cloud.done("createPortForwardingRule", &bound).await;
    assert_eq!(
        cloud.address_row(&address).await["associatednetworkid"],
        stack.tier.as_str()
    );
    assert_eq!(cloud.count("listFirewallRules", &[]).await, 0);
    let open = [("ipaddressid", address.as_str()), ("protocol", "tcp")];
    let (status, _) = cloud.refusal("createFirewallRule", &open).await;
    assert_eq!(status, 431, "tiers have ACLs");
    let id = rule["portforwardingrule"]["id"].as_str().unwrap();
    cloud.done("deletePortForwardingRule", &[("id", id)]).await;
    assert_eq!(
        cloud.address_row(&address).await.get("associatednetworkid"),
        None
    );
}

#[tokio::test(start_paused = true)]
async fn rules_are_tagged_and_lose_their_tags_with_their_end() {
    let cloud = Cloud::new(Profile::Instant);
    let ground = cloud.ground().await;
    let rule = cloud.forward(&ground, "22").await;
    let id = rule["id"].as_str().unwrap();
    let tags = [
        ("resourcetype", "PortForwardingRule"),
        ("resourceids", id),
        ("tags[0].key", "a"),
        ("tags[0].value", "1"),
    ];
    cloud.done("createTags", &tags).await;
    let filter = [("tags[0].key", "a"), ("tags[0].value", "1")];
    let list = cloud.tenant("listPortForwardingRules", &filter).await;
    assert_eq!(list["portforwardingrule"][0]["tags"][0]["key"], "a");
    cloud.done("deletePortForwardingRule", &[("id", id)]).await;
    assert_eq!(cloud.count("listTags", &[]).await, 0);
}
