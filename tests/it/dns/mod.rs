//! The port to name servers, and what is made of it, against real BIND: records made, kept, taken
//! back; whoever else writes there; everything that a server or a key can have against us.

pub(crate) mod bind;
mod kept;
mod managed;

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use weir::{
    clock::Clock,
    dns::{Client, DnsError, Server},
    names::{
        DnsView, Key, Node, Records,
        diff::{Difference, Owner, Seen, difference},
        records, told,
        update::{BYTES_MAX, Update, updates},
    },
    types::role::Role,
};

use bind::{Bind, CLOSED, DOMAIN, KEY, OPEN, OTHER_KEY, Zone};

const TTL: u32 = 30;

fn nodes(bonos: u8, sprouts: u8) -> Vec<Node> {
    let node = |role: Role, index: u8, net: u8| Node {
        name: format!("ims-{role}-{index}"),
        role,
        private: Ipv4Addr::new(10, 0, net, index + 1),
        public: role.public().then(|| Ipv4Addr::new(203, 0, 113, index + 1)),
    };
    let bonos = (0..bonos).map(|index| node(Role::Bono, index, 1));
    let sprouts = (0..sprouts).map(|index| node(Role::Sprout, index, 2));
    bonos.chain(sprouts).collect()
}

fn wanted(bonos: u8, sprouts: u8) -> Records {
    records(DOMAIN, &nodes(bonos, sprouts), DnsView::Whole)
}

fn owner() -> Owner {
    Owner {
        uid: "c0ffee".to_owned(),
        stack: "default/ims".to_owned(),
    }
}

/// A client of a server that is asked for one domain.
struct Keeper {
    client: Client,
    server: Server,
}

impl Keeper {
    fn of(server: Server) -> Self {
        let client = Client::new(Clock::system());
        Self { client, server }
    }

    async fn look(&self, wanted: &Records) -> Result<Seen, DnsError> {
        let keys: BTreeSet<Key> = wanted.keys().cloned().collect();
        self.client.look(&self.server, DOMAIN, &keys).await
    }

    async fn found(&self, wanted: &Records) -> (Seen, Difference) {
        let seen = self.look(wanted).await.unwrap();
        let found = difference(DOMAIN, (wanted, TTL), &owner(), &seen);
        (seen, found)
    }

    /// Sends what a look found to be different; says how many messages that took.
    async fn send(&self, (seen, found): &(Seen, Difference)) -> Result<usize, DnsError> {
        let all = updates(DOMAIN, found, (&owner(), TTL), BYTES_MAX);
        for update in &all {
            self.client.update(&self.server, &seen.zone, update).await?;
        }
        Ok(all.len())
    }

    async fn bring(&self, wanted: &Records) -> usize {
        let found = self.found(wanted).await;
        self.send(&found).await.unwrap()
    }

    async fn in_sync(&self, wanted: &Records) {
        let (_, found) = self.found(wanted).await;
        assert!(found.is_empty() && found.conflicts.is_empty(), "{found:?}");
    }
}

/// The life of a stack's records, on a server that lets us transfer the zone or not.
async fn life(more: &'static str) {
    let Some(bind) = Bind::with(more).await else {
        return;
    };
    let keeper = Keeper::of(bind.server());
    assert_eq!(keeper.bring(&wanted(2, 2)).await, 1);
    keeper.in_sync(&wanted(2, 2)).await;
    assert_eq!(bind.dig(DOMAIN, "A"), ["203.0.113.1", "203.0.113.2"]);
    assert_eq!(
        bind.dig("_sip._udp.ims.example.com", "SRV"),
        [
            "0 0 5060 ims-bono-0.ims.example.com.",
            "0 0 5060 ims-bono-1.ims.example.com."
        ]
    );
    assert_eq!(
        bind.dig(DOMAIN, "NAPTR"),
        [
            "1 1 \"S\" \"SIP+D2T\" \"\" _sip._tcp.ims.example.com.",
            "2 1 \"S\" \"SIP+D2U\" \"\" _sip._udp.ims.example.com."
        ]
    );

    // Somebody takes a record out, puts one in, and changes a time to live.
    bind.nsupdate(
        "zone ims.example.com\n\
         update delete sprout.ims.example.com A 10.0.2.1\n\
         update add sprout.ims.example.com 30 A 10.6.6.6\n\
         update delete _sip._tcp.ims.example.com SRV\n\
         update delete ims-bono-0.ims.example.com A\n\
         update add ims-bono-0.ims.example.com 86400 A 203.0.113.1",
    );
    let found = keeper.found(&wanted(2, 2)).await;
    let told: Vec<String> = found.1.changes.iter().map(change).collect();
    assert_eq!(
        told,
        [
            "_sip._tcp.ims.example.com SRV: none",
            "ims-bono-0.ims.example.com A: 203.0.113.1",
            "sprout.ims.example.com A: 10.0.2.2, 10.6.6.6"
        ]
    );
    keeper.send(&found).await.unwrap();
    keeper.in_sync(&wanted(2, 2)).await;
    assert_eq!(
        bind.dig("sprout.ims.example.com", "A"),
        ["10.0.2.1", "10.0.2.2"]
    );

    // One machine less, then none: what was made goes, and nothing else.
    assert_eq!(keeper.bring(&wanted(1, 2)).await, 1);
    assert_eq!(bind.dig("ims-bono-1.ims.example.com", "A"), [""; 0]);
    assert_eq!(keeper.bring(&Records::new()).await, 1);
    for name in ["_weir.ims.example.com", "_owned._weir.ims.example.com"] {
        assert_eq!(bind.dig(name, "TXT"), [""; 0], "{name}");
    }
    assert_eq!(bind.dig("ns.ims.example.com", "A"), ["127.0.0.1"]);
    keeper.in_sync(&Records::new()).await;
}

fn change(change: &weir::names::diff::Change) -> String {
    let have = change.have.as_ref().map(|set| set.data.clone());
    format!("{}: {}", change.key, told(&have.unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_made_kept_and_taken_back_where_the_zone_is_transferred() {
    life(OPEN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_made_kept_and_taken_back_where_transfers_are_refused() {
    life(CLOSED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_a_larger_zone_is_kept_there() {
    let zone = Zone {
        name: "example.com",
        more: OPEN,
        records: "www IN A 192.0.2.80\nims IN MX 10 mail",
    };
    let Some(bind) = Bind::with_zones(&[zone]).await else {
        return;
    };
    let keeper = Keeper::of(bind.server());
    keeper.bring(&wanted(2, 1)).await;
    assert_eq!(
        keeper.look(&wanted(2, 1)).await.unwrap().zone,
        "example.com"
    );
    keeper.in_sync(&wanted(2, 1)).await;
    keeper.bring(&Records::new()).await;
    assert_eq!(bind.dig("www.example.com", "A"), ["192.0.2.80"]);
    assert_eq!(bind.dig(DOMAIN, "MX"), ["10 mail.example.com."]);
    assert_eq!(bind.dig(DOMAIN, "A"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_made_is_neither_changed_nor_taken_for_ours() {
    for more in [OPEN, CLOSED] {
        let zone = Zone {
            name: DOMAIN,
            more,
            records: "@ IN TXT \"v=spf1 -all\"\n@ IN MX 10 mail\nwww IN A 192.0.2.80\n\
                      *.ims.example.com. IN A 192.0.2.99\nicscf.sprout IN CNAME www\n\
                      scscf.sprout IN A 192.0.2.81\n",
        };
        let Some(bind) = Bind::with_zones(&[zone]).await else {
            return;
        };
        let keeper = Keeper::of(bind.server());
        let found = keeper.found(&wanted(1, 1)).await;
        let told: Vec<String> = found.1.conflicts.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("scscf.sprout.ims.example.com A was there before"),
            "{told:?}"
        );
        assert!(
            told[1].contains("icscf.sprout.ims.example.com is an alias (CNAME) of www"),
            "{told:?}"
        );
        assert_eq!(keeper.send(&found).await, Ok(0), "nothing is half done");

        // Out of the way, but for the wildcard, which is in nobody's.
        bind.nsupdate(
            "zone ims.example.com\nupdate delete icscf.sprout.ims.example.com\n\
             update delete scscf.sprout.ims.example.com",
        );
        keeper.bring(&wanted(1, 1)).await;
        keeper.in_sync(&wanted(1, 1)).await;
        keeper.bring(&Records::new()).await;
        assert_eq!(bind.dig("www.ims.example.com", "A"), ["192.0.2.80"]);
        assert_eq!(bind.dig(DOMAIN, "TXT"), ["\"v=spf1 -all\""]);
        assert_eq!(bind.dig(DOMAIN, "MX"), ["10 mail.ims.example.com."]);
        assert_eq!(bind.dig("sprout.ims.example.com", "A"), ["192.0.2.99"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_the_look_is_looked_at_again() {
    let Some(bind) = Bind::with(OPEN).await else {
        return;
    };
    let keeper = Keeper::of(bind.server());
    // A record that somebody puts where there was none.
    let stale = keeper.found(&wanted(1, 1)).await;
    bind.nsupdate("zone ims.example.com\nupdate add sprout.ims.example.com 30 A 192.0.2.7");
    let refused = keeper.send(&stale).await.unwrap_err();
    assert_eq!(refused.reason(), "RecordsChanged", "{refused}");
    assert_eq!(bind.dig(DOMAIN, "A"), [""; 0], "nothing of it took effect");
    assert_eq!(bind.dig("sprout.ims.example.com", "A"), ["192.0.2.7"]);
    bind.nsupdate("zone ims.example.com\nupdate delete sprout.ims.example.com");
    keeper.bring(&wanted(1, 1)).await;

    // One that is changed, and another Weir with the same state.
    let stale = keeper.found(&wanted(2, 2)).await;
    let other = keeper.found(&wanted(2, 1)).await;
    bind.nsupdate("zone ims.example.com\nupdate add sprout.ims.example.com 30 A 192.0.2.8");
    let refused = keeper.send(&stale).await.unwrap_err();
    assert_eq!(refused.reason(), "RecordsChanged", "{refused}");
    keeper.send(&other).await.unwrap();
    let refused = keeper.send(&stale).await.unwrap_err();
    assert_eq!(refused.reason(), "RecordsChanged", "{refused}");
    keeper.bring(&wanted(2, 2)).await;
    keeper.in_sync(&wanted(2, 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_stack_is_kept_in_several_messages() {
    let Some(bind) = Bind::with(CLOSED).await else {
        return;
    };
    let keeper = Keeper::of(bind.server());
    let roles = [
        Role::Bono,
        Role::Sprout,
        Role::Homestead,
        Role::Homer,
        Role::Ralf,
    ];
    let most: Vec<Node> = roles
        .into_iter()
        .zip(0..)
        .flat_map(|(role, net)| {
            (0..50).map(move |index| Node {
                name: format!("a-stack-with-as-long-a-name-as-there-is-{role}-{index}"),
                role,
                private: Ipv4Addr::new(10, 0, net, index),
                public: None,
            })
        })
        .collect();
    let most = records(DOMAIN, &most, DnsView::Whole);
    assert!(keeper.bring(&most).await > 1);
    keeper.in_sync(&most).await;
    assert!(keeper.bring(&wanted(1, 1)).await > 1);
    keeper.in_sync(&wanted(1, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_view_has_its_own_records_and_key() {
    let Some(mut bind) = Bind::stopped() else {
        return;
    };
    let zone = |key: &str| {
        let (more, records) = (OPEN, "");
        let clause = bind.zone(
            DOMAIN,
            key,
            &Zone {
                name: DOMAIN,
                more,
                records,
            },
        );
        let clause = clause.replace("\"weir\"", &format!("\"{key}\""));
        format!("view \"{key}\" {{ match-clients {{ key \"{key}\"; }}; {clause} }};\n")
    };
    bind.configure(&(zone("weir") + &zone("public")));
    bind.start().await;
    let inside = Keeper::of(bind.server());
    let outside = Keeper::of(bind.server_with("public", OTHER_KEY));
    let view = |view| records(DOMAIN, &nodes(2, 2), view);
    inside.bring(&view(DnsView::Internal)).await;
    outside.bring(&view(DnsView::Public)).await;
    inside.in_sync(&view(DnsView::Internal)).await;
    outside.in_sync(&view(DnsView::Public)).await;
    assert_eq!(bind.dig(DOMAIN, "A"), ["10.0.1.1", "10.0.1.2"]);
    let asked = |name| bind.dig_with(("public", OTHER_KEY), name, "A");
    assert_eq!(asked(DOMAIN), ["203.0.113.1", "203.0.113.2"]);
    assert_eq!(asked("sprout.ims.example.com"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_updates_is_told() {
    let more = "allow-update { none; }; allow-transfer { none; };";
    let Some(bind) = Bind::with(more).await else {
        return;
    };
    let keeper = Keeper::of(bind.server());
    let found = keeper.found(&wanted(1, 1)).await;
    let refused = keeper.send(&found).await.unwrap_err();
    assert_eq!(refused.reason(), "UpdateRefused");
    let told = format!(
        "name server {} refused an update; let the key weir change ims.example.com (BIND: \
         `allow-update` or `update-policy`)",
        bind.address()
    );
    assert_eq!(refused.to_string(), told);
    assert_eq!(bind.dig(DOMAIN, "A"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_server_does_not_take_is_told() {
    let Some(bind) = Bind::with(OPEN).await else {
        return;
    };
    for (name, secret, code) in [("weir", OTHER_KEY, "BADSIG"), ("nobody", KEY, "BADKEY")] {
        let keeper = Keeper::of(bind.server_with(name, secret));
        let refused = keeper.look(&wanted(1, 1)).await.unwrap_err();
        assert_eq!(refused.reason(), "KeyRefused", "{refused}");
        assert!(refused.to_string().contains(code), "{refused}");
        assert!(
            !refused.to_string().contains(secret),
            "the key is not repeated"
        );
    }
    let keeper = Keeper::of(bind.server_with("weir", "no base64!"));
    let refused = keeper.look(&wanted(1, 1)).await.unwrap_err();
    assert_eq!(refused.reason(), "KeyUnusable", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_too_far_apart_are_told() {
    let Some(bind) = Bind::with(OPEN).await else {
        return;
    };
    let clock = Clock::adjustable();
    let keeper = Keeper {
        client: Client::new(clock.clone()),
        server: bind.server(),
    };
    clock.advance(Duration::from_secs(240));
    keeper.bring(&wanted(1, 1)).await;
    clock.advance(Duration::from_secs(3_360));
    let refused = keeper.look(&wanted(1, 1)).await.unwrap_err();
    let DnsError::ClockSkew { seconds, .. } = refused else {
        panic!("{refused}");
    };
    assert!((3_590..3_660).contains(&seconds), "{seconds} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_no_such_zone_is_told() {
    let broken = Zone {
        name: DOMAIN,
        more: OPEN,
        records: "this is no record",
    };
    for zones in [&[][..], &[broken]] {
        let Some(bind) = Bind::with_zones(zones).await else {
            return;
        };
        let keeper = Keeper::of(bind.server());
        let refused = keeper.look(&wanted(1, 1)).await.unwrap_err();
        assert_eq!(refused.reason(), "NotAuthoritative", "{refused}");
        let code = if zones.is_empty() {
            "REFUSED"
        } else {
            "SERVFAIL"
        };
        assert!(refused.to_string().contains(code), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_has_what_it_was_told() {
    let Some(mut bind) = Bind::with(OPEN).await else {
        return;
    };
    let keeper = Keeper::of(bind.server());
    keeper.bring(&wanted(2, 1)).await;
    let found = keeper.found(&wanted(2, 2)).await;
    bind.kill();
    let unreachable = keeper.look(&wanted(2, 1)).await.unwrap_err();
    assert_eq!(
        unreachable.reason(),
        "NameServerUnreachable",
        "{unreachable}"
    );
    let unreachable = keeper.send(&found).await.unwrap_err();
    assert_eq!(
        unreachable.reason(),
        "NameServerUnreachable",
        "it was not sent: {unreachable}"
    );
    bind.start().await;
    keeper.in_sync(&wanted(2, 1)).await;
    keeper.send(&found).await.unwrap();
    keeper.in_sync(&wanted(2, 2)).await;
}

/// Answers one message as a server would that knows nothing of signatures, or not at all.
fn impostor(answers: bool) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 14];
        stream.read_exact(&mut head).unwrap();
        if answers {
            // The same id, an authoritative answer, and nothing in it.
            let answer = [0, 12, head[2], head[3], 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            stream.write_all(&answer).unwrap();
        }
    });
    Server {
        address,
        key_name: "weir".to_owned(),
        key: weir::types::core::Confidential::new(KEY),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_signature_is_not_believed() {
    let keeper = Keeper::of(impostor(true));
    let refused = keeper.look(&wanted(1, 1)).await.unwrap_err();
    assert_eq!(refused.reason(), "AnswerInvalid", "{refused}");
    assert!(
        refused.to_string().contains("without a signature"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_without_an_answer_may_have_taken_effect() {
    let server = impostor(false);
    let client = Client::new(Clock::system());
    let nothing = Update::default();
    let unknown = client.update(&server, DOMAIN, &nothing).await.unwrap_err();
    assert_eq!(unknown.reason(), "OutcomeUnknown", "{unknown}");
}
