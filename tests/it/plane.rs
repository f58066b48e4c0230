//! Machines that answer: real sockets against the simulator's data plane.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use weir::{
    clock::Clock,
    sim::{Breakage, Profile, Sim, SimConfig, Who, plane::PlaneConfig},
};

const TCP: u16 = 18_022;
const HTTP: u16 = 18_080;
const UDP: u16 = 15_060;

/// How long anything may take before a test fails; nothing should take a tenth of it.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a machine that says nothing is listened to.
const SILENCE: Duration = Duration::from_millis(300);

/// A stack whose tier and public addresses lie in `127.NET.0.0/16`: one for each test, since they
/// share the computer.
struct Lab {
    sim: Sim,
    net: u8,
    vpc: String,
    tier: String,
    list: String,
    stop: CancellationToken,
    plane: JoinSet<()>,
}

impl Lab {
    async fn new(net: u8) -> Self {
        let sim = Sim::new(SimConfig {
            profile: Profile::Instant,
            seed: 1,
            clock: Clock::system(),
            state_file: None,
        });
        let public = |last| Ipv4Addr::new(127, net, 200, last);
        sim.world(|world| world.set_public_range(&[(public(1), public(20))]));
        let stop = CancellationToken::new();
        let mut plane = JoinSet::new();
        let services = format!("tcp:{TCP},http:{HTTP},udp:{UDP}");
        let config = PlaneConfig::answering(&services).unwrap();
        plane.spawn(sim.answer(config, stop.clone()));
        let mut lab = Self {
            sim,
            net,
            vpc: String::new(),
            tier: String::new(),
            list: String::new(),
            stop,
            plane,
        };
        lab.furnish().await;
        lab
    }

    async fn furnish(&mut self) {
        let net = self.net;
        let row =
            |rows: &[serde_json::Map<String, Value>]| rows[0]["id"].as_str().unwrap().to_owned();
        let (zone, vpc_offering, offering) = self.sim.world(|world| {
            let catalogue = &world.catalogue;
            (
                catalogue.zone["id"].as_str().unwrap().to_owned(),
                row(&catalogue.vpc_offerings),
                row(&catalogue.network_offerings),
            )
        });
        let cidr = format!("127.{net}.0.0/16");
        let vpc = [
            ("name", "v"),
            ("cidr", &cidr),
            ("zoneid", &zone),
            ("vpcofferingid", &vpc_offering),
        ];
        self.vpc = self.created("createVPC", &vpc).await;
        let list = [("name", "l"), ("vpcid", &self.vpc)];
        self.list = self.created("createNetworkACLList", &list).await;
        let gateway = format!("127.{net}.0.1");
        let tier = [
            ("name", "t"),
            ("zoneid", &zone),
            ("networkofferingid", &offering),
            ("vpcid", &self.vpc),
            ("aclid", &self.list),
            ("gateway", &gateway),
            ("netmask", "255.255.255.0"),
        ];
        let tier = self.call("createNetwork", &tier).await;
        self.tier = tier["network"]["id"].as_str().unwrap().to_owned();
    }

    async fn call(&self, command: &str, params: &[(&str, &str)]) -> Value {
        let mut all = vec![("command", command)];
        all.extend_from_slice(params);
        let reply = self.sim.call(Who::Tenant, &all).await;
        assert_eq!(reply.status, 200, "{command}: {}", reply.body);
        let inner = reply.inner();
        if let Some(job) = inner["jobid"].as_str() {
            let ended = [("command", "queryAsyncJobResult"), ("jobid", job)];
            let ended = self.sim.call(Who::Tenant, &ended).await.inner();
            assert_eq!(ended["jobstatus"], 1, "{command}: {ended}");
        }
        inner
    }

    async fn created(&self, command: &str, params: &[(&str, &str)]) -> String {
        let made = self.call(command, params).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// A machine at an address of the tier that runs; the answer is its id.
    async fn vm(&self, name: &str, last: u8, more: &[(&str, &str)]) -> String {
        let (zone, offering, template) = self.sim.world(|world| {
            let id = |row: &serde_json::Map<String, Value>| row["id"].as_str().unwrap().to_owned();
            let catalogue = &world.catalogue;
            (
                id(&catalogue.zone),
                id(&catalogue.service_offerings[0]),
                id(&catalogue.templates[0]),
            )
        });
        let ip = self.ip(last).to_string();
        let mut params = vec![
            ("name", name),
            ("networkids", &self.tier),
            ("ipaddress", &ip),
            ("zoneid", &zone),
            ("serviceofferingid", &offering),
            ("templateid", &template),
        ];
        params.extend_from_slice(more);
        self.created("deployVirtualMachine", &params).await
    }

    fn ip(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.net, 0, last)
    }

    /// A public address; the answer is its id and itself.
    async fn address(&self) -> (String, Ipv4Addr) {
        let id = self
            .created("associateIpAddress", &[("vpcid", &self.vpc)])
            .await;
        let ip = self.sim.world(|world| world.addresses[&id].ip);
        (id, ip)
    }

    async fn nat(&self, address: &str, vm: &str) {
        let nat = [
            ("ipaddressid", address),
            ("virtualmachineid", vm),
            ("networkid", &self.tier),
        ];
        self.call("enableStaticNat", &nat).await;
    }

    /// A rule of the tier; the answer is its id.
    async fn rule(&self, protocol: &str, port: u16, more: &[(&str, &str)]) -> String {
        let port = port.to_string();
        let mut rule = vec![
            ("aclid", self.list.as_str()),
            ("protocol", protocol),
            ("startport", &port),
            ("endport", &port),
            ("traffictype", "Ingress"),
        ];
        rule.extend_from_slice(more);
        self.created("createNetworkACL", &rule).await
    }

    /// Waits until asking comes to what is wanted.
    async fn until<T, F>(&self, what: &str, ask: impl Fn() -> F, wanted: impl Fn(&T) -> bool) -> T
    where
        T: std::fmt::Debug,
        F: Future<Output = T>,
    {
        let mut last = None;
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let seen = ask().await;
                if wanted(&seen) {
                    return seen;
                }
                last = Some(seen);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        match waited.await {
            Ok(seen) => seen,
            Err(_) => {
                let plane = &self.sim.overview()["plane"];
                panic!("{what}: it came to {last:?}; the plane: {plane:#}")
            }
        }
    }

    /// Waits until HTTP at an address is answered by the machine of this name.
    async fn answered_by(&self, ip: Ipv4Addr, name: &str) -> Value {
        let what = format!("{ip} should be answered by {name}");
        let by = |said: &io::Result<Value>| said.as_ref().is_ok_and(|said| said["vm"] == name);
        self.until(&what, || http(ip), by).await.unwrap()
    }

    /// Waits until nobody takes HTTP connections at an address.
    async fn refused(&self, ip: Ipv4Addr) {
        let what = format!("{ip} should refuse");
        self.until(&what, || http(ip), is_refused).await.ok();
    }

    async fn end(mut self) {
        self.stop.cancel();
        while self.plane.join_next().await.is_some() {}
    }
}

fn is_refused<T>(said: &io::Result<T>) -> bool {
    said.as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

async fn connect(from: Ipv4Addr, to: (Ipv4Addr, u16)) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let to = SocketAddr::V4(SocketAddrV4::new(to.0, to.1));
    tokio::time::timeout(PATIENCE, socket.connect(to)).await?
}

/// What HTTP says at an address.
async fn http(ip: Ipv4Addr) -> io::Result<Value> {
    http_from(Ipv4Addr::LOCALHOST, ip).await
}

async fn http_from(from: Ipv4Addr, ip: Ipv4Addr) -> io::Result<Value> {
    let mut stream = connect(from, (ip, HTTP)).await?;
    let request = "GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await??;
    if !text.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(text));
    }
    let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
    Ok(serde_json::from_str(body)?)
}

/// What comes back for a datagram, if anything does soon.
async fn udp(ip: Ipv4Addr) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect((ip, UDP)).await.unwrap();
    socket.send(b"OPTIONS").await.ok()?;
    let mut answer = vec![0; 100];
    let received = tokio::time::timeout(SILENCE, socket.recv(&mut answer)).await;
    let length = received.ok()?.ok()?;
    answer.truncate(length);
    Some(answer)
}

/// Connects, reads the greeting and has a word echoed.
async fn conversation(ip: Ipv4Addr) -> io::Result<TcpStream> {
    let mut stream = connect(Ipv4Addr::LOCALHOST, (ip, TCP)).await?;
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"\r\n") {
        greeting.push(tokio::time::timeout(PATIENCE, stream.read_u8()).await??);
    }
    echoed(&mut stream).await?;
    Ok(stream)
}

async fn echoed(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"hello").await?;
    let mut back = [0; 5];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut back)).await??;
    assert_eq!(&back, b"hello");
    Ok(())
}

/// Waits until the other side ends a connection.
async fn ended(stream: &mut TcpStream) {
    let mut byte = [0];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await;
    let read = read.expect("the connection should have been cut");
    assert!(
        matches!(read, Ok(0) | Err(_)),
        "it said something: {read:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_answers_while_it_runs_and_only_then() {
    let lab = Lab::new(201).await;
    let vm = lab.vm("a", 5, &[("details[0].role", "sprout")]).await;
    let ip = lab.ip(5);
    let said = lab.answered_by(ip, "a").await;
    assert_eq!(
        (&said["role"], &said["port"]),
        (&"sprout".into(), &HTTP.into())
    );
    let mut open = conversation(ip).await.unwrap();
    assert_eq!(udp(ip).await.as_deref(), Some(&b"OPTIONS"[..]));
    lab.call("stopVirtualMachine", &[("id", &vm)]).await;
    lab.refused(ip).await;
    ended(&mut open).await;
    assert_eq!(udp(ip).await, None);
    lab.call("startVirtualMachine", &[("id", &vm)]).await;
    lab.answered_by(ip, "a").await;
    lab.call("destroyVirtualMachine", &[("id", &vm)]).await;
    lab.refused(ip).await;
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_hangs_says_nothing_and_a_dead_one_refuses() {
    let lab = Lab::new(202).await;
    let vm = lab.vm("a", 5, &[]).await;
    let ip = lab.ip(5);
    lab.answered_by(ip, "a").await;
    let mut open = conversation(ip).await.unwrap();
    let name = || "a".to_owned();
    lab.sim
        .break_it(Breakage::HangGuest { vm: name() })
        .unwrap();
    let silent = |answer: &Option<Vec<u8>>| answer.is_none();
    lab.until("UDP should be silent", || udp(ip), silent).await;
    let mut fresh = connect(Ipv4Addr::LOCALHOST, (ip, TCP)).await.unwrap();
    for stream in [&mut open, &mut fresh] {
        stream.write_all(b"hello").await.unwrap();
        let mut byte = [0];
        let read = tokio::time::timeout(SILENCE, stream.read(&mut byte)).await;
        assert!(read.is_err(), "it said something: {read:?}");
    }
    lab.sim
        .break_it(Breakage::KillGuest { vm: name() })
        .unwrap();
    lab.refused(ip).await;
    ended(&mut open).await;
    lab.call("rebootVirtualMachine", &[("id", &vm)]).await;
    lab.answered_by(ip, "a").await;
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_address_lets_in_what_nat_and_rules_allow() {
    let lab = Lab::new(203).await;
    let vm = lab.vm("a", 5, &[]).await;
    lab.answered_by(lab.ip(5), "a").await;
    let (address, public) = lab.address().await;
    lab.nat(&address, &vm).await;
    // Nothing is open before there is a rule.
    lab.refused(public).await;
    let rule = lab
        .rule(
            "tcp",
            HTTP,
            &[("cidrlist", "127.0.0.1/32"), ("number", "5")],
        )
        .await;
    lab.answered_by(public, "a").await;
    assert_eq!(udp(public).await, None, "no rule lets UDP in");
    let elsewhere = lab.ip(77);
    let said = http_from(elsewhere, public).await;
    assert!(said.is_err(), "the rule is for one source only: {said:?}");
    let all = lab.rule("udp", UDP, &[("number", "6")]).await;
    let some = |answer: &Option<Vec<u8>>| answer.is_some();
    lab.until("UDP should pass", || udp(public), some).await;
    // A rule with a lower number comes first.
    lab.rule("udp", UDP, &[("number", "2"), ("action", "Deny")])
        .await;
    lab.until("UDP should be denied", || udp(public), Option::is_none)
        .await;
    lab.call("deleteNetworkACL", &[("id", &rule)]).await;
    lab.call("deleteNetworkACL", &[("id", &all)]).await;
    lab.refused(public).await;
    lab.answered_by(lab.ip(5), "a").await;
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_cut_when_its_rule_or_nat_goes() {
    let lab = Lab::new(204).await;
    let vm = lab.vm("a", 5, &[]).await;
    let (address, public) = lab.address().await;
    lab.nat(&address, &vm).await;
    let rule = lab.rule("tcp", TCP, &[]).await;
    let talks = |said: &io::Result<TcpStream>| said.is_ok();
    let mut open = lab
        .until("it should talk", || conversation(public), talks)
        .await
        .unwrap();
    echoed(&mut open).await.unwrap();
    lab.call("deleteNetworkACL", &[("id", &rule)]).await;
    ended(&mut open).await;
    let all = [("aclid", lab.list.as_str()), ("protocol", "all")];
    lab.created("createNetworkACL", &all).await;
    let mut open = lab
        .until("it should talk again", || conversation(public), talks)
        .await
        .unwrap();
    lab.call("disableStaticNat", &[("ipaddressid", &address)])
        .await;
    ended(&mut open).await;
    lab.until("it should refuse", || conversation(public), is_refused)
        .await
        .ok();
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_leads_where_its_nat_was_moved() {
    let lab = Lab::new(205).await;
    let (a, b) = (lab.vm("a", 5, &[]).await, lab.vm("b", 6, &[]).await);
    let (address, public) = lab.address().await;
    lab.rule("tcp", HTTP, &[]).await;
    lab.nat(&address, &a).await;
    lab.answered_by(public, "a").await;
    lab.call("disableStaticNat", &[("ipaddressid", &address)])
        .await;
    lab.nat(&address, &b).await;
    lab.answered_by(public, "b").await;
    lab.call("stopVirtualMachine", &[("id", &b)]).await;
    lab.refused(public).await;
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_address_answers_for_whom_it_was_given_to_last() {
    let lab = Lab::new(206).await;
    lab.vm("a", 5, &[]).await;
    lab.answered_by(lab.ip(5), "a").await;
    let purge = Breakage::DestroyVm {
        vm: "a".to_owned(),
        expunge: true,
    };
    lab.sim.break_it(purge).unwrap();
    lab.vm("b", 5, &[]).await;
    lab.answered_by(lab.ip(5), "b").await;
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_says_itself_what_it_answers() {
    let lab = Lab::new(207).await;
    let only = format!("udp:{UDP}");
    lab.vm("a", 5, &[("details[0].answer", &only)]).await;
    let answers = |answer: &Option<Vec<u8>>| answer.is_some();
    lab.until("UDP should answer", || udp(lab.ip(5)), answers)
        .await;
    assert!(is_refused(&http(lab.ip(5)).await));
    lab.vm("b", 6, &[("details[0].answer", "sip:5060")]).await;
    let problem = || async { lab.sim.overview()["plane"]["problems"][0].clone() };
    let problem = lab
        .until("it should be told", problem, |row| row["vm"] == "b")
        .await;
    assert_eq!(problem["why"], "`sip` is none of http, tcp, udp");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_told_and_taken_when_it_is_free() {
    let lab = Lab::new(208).await;
    let taken = TcpListener::bind((lab.ip(5), HTTP)).await.unwrap();
    let vm = lab.vm("a", 5, &[]).await;
    let problem = || async { lab.sim.overview()["plane"]["problems"][0].clone() };
    let told = lab
        .until("it should be told", problem, |row| row["vm"] == "a")
        .await;
    assert_eq!(told["what"], format!("tcp {}:{HTTP}", lab.ip(5)));
    conversation(lab.ip(5)).await.unwrap();
    drop(taken);
    lab.call("updateVirtualMachine", &[("id", &vm), ("displayname", "x")])
        .await;
    lab.answered_by(lab.ip(5), "a").await;
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarding_and_firewall_rules_lead_into_an_isolated_network() {
    let mut lab = Lab::new(209).await;
    let (zone, offering) = lab.sim.world(|world| {
        let name = "DefaultIsolatedNetworkOfferingWithSourceNatService";
        let mut rows = world.catalogue.network_offerings.iter();
        let row = rows.find(|row| row["name"] == name).unwrap();
        let id = |row: &serde_json::Map<String, Value>| row["id"].as_str().unwrap().to_owned();
        (id(&world.catalogue.zone), id(row))
    });
    let network = [
        ("name", "i"),
        ("zoneid", &zone),
        ("networkofferingid", &offering),
        ("gateway", "127.209.1.1"),
        ("netmask", "255.255.255.0"),
    ];
    let network = lab.call("createNetwork", &network).await;
    lab.tier = network["network"]["id"].as_str().unwrap().to_owned();
    let vm = lab.vm("a", 5, &[("ipaddress", "127.209.1.5")]).await;
    lab.answered_by(Ipv4Addr::new(127, 209, 1, 5), "a").await;
    let address = lab
        .created("associateIpAddress", &[("networkid", &lab.tier)])
        .await;
    let public = lab.sim.world(|world| world.addresses[&address].ip);
    let port = HTTP.to_string();
    let forward = [
        ("ipaddressid", address.as_str()),
        ("protocol", "tcp"),
        ("publicport", &port),
        ("privateport", &port),
        ("virtualmachineid", &vm),
        ("openfirewall", "false"),
    ];
    let forward = lab.created("createPortForwardingRule", &forward).await;
    lab.refused(public).await;
    let rule = [
        ("ipaddressid", address.as_str()),
        ("protocol", "tcp"),
        ("startport", &port),
        ("endport", &port),
        ("cidrlist", "127.0.0.1/32"),
    ];
    lab.created("createFirewallRule", &rule).await;
    lab.answered_by(public, "a").await;
    assert!(http_from(lab.ip(77), public).await.is_err());
    lab.call("deletePortForwardingRule", &[("id", &forward)])
        .await;
    lab.refused(public).await;
    lab.end().await;
}
