//! The stack's own name server: BIND with the very files that its machine's user data has, kept by the
//! controller, and made anew.

use std::net::SocketAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use weir::types::meta::condition;

use super::bind::{Bind, DOMAIN, KEY, until};
use crate::world::{Guests, World};

/// The files in the user data of a machine, by path.
fn file(world: &World, path: &str) -> String {
    let data = world.sim.world(|sim| {
        let vm = sim.find_vm("ims-dns-0").expect("it was deployed");
        vm.user_data.clone().expect("it has user data")
    });
    let text = String::from_utf8(STANDARD.decode(data).unwrap()).unwrap();
    let config: Value = serde_yaml::from_str(&text).unwrap();
    let mut files = config["write_files"].as_array().unwrap().iter();
    let found = files.find(|file| file["path"] == path);
    let found = found.unwrap_or_else(|| panic!("no {path} in {text}"));
    assert_eq!(found["encoding"], Value::Null, "{path} is compressed");
    found["content"].as_str().unwrap().to_owned()
}

/// What the machine's bootstrap makes of them, but for the places.
fn install(world: &World, bind: &Bind) {
    let options = file(world, "/etc/weir/named.conf.options");
    let own = "\tdirectory \"/var/cache/bind\";\n";
    assert!(options.contains(own), "{options}");
    let options = options.replace(own, &bind.confined());
    let local = file(world, "/etc/weir/named.conf.local").replace("/var/lib/bind/", "");
    bind.put("named.conf", &format!("{options}{local}"));
    bind.put(&format!("db.{DOMAIN}"), &file(world, "/etc/weir/zone"));
}

async fn says(world: &World, wanted: &str) {
    world
        .until(&format!("DNSReady says {wanted}"), |status| {
            let told = condition(&status.conditions, "DNSReady");
            told.is_some_and(|told| told.reason == wanted)
        })
        .await;
}

async fn has(bind: &Bind, name: &str, addresses: &[String]) {
    until(&format!("{name} has {addresses:?}"), async || {
        let seen = bind.dig_with((DOMAIN, KEY), name, "A");
        match seen == addresses {
            true => Ok(()),
            false => Err(format!("{seen:?}")),
        }
    })
    .await;
}

/// BIND listens on addresses that an interface has; this brings what comes to the machine's to it.
async fn forward(listener: TcpListener, bind: SocketAddr) {
    let mut lines = JoinSet::new();
    while let Ok((mut line, _)) = listener.accept().await {
        lines.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(bind).await {
                let _ = copy_bidirectional(&mut line, &mut server).await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stacks_own_name_server_is_kept_and_filled_again_when_it_is_made_anew() {
    let guests = Guests::new(42);
    let place = SocketAddr::from(([127, 42, 0, 53], 53));
    let Ok(listener) = TcpListener::bind(place).await else {
        let required = std::env::var_os("WEIR_REQUIRE_PARTS").is_some();
        assert!(!required, "nobody but root may listen on {place}");
        println!("left out: nobody but root may listen on {place}");
        return;
    };
    let Some(mut bind) = Bind::stopped() else {
        return;
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(forward(listener, bind.address()));
    let world = World::start(weir::sim::Profile::Instant).await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "ims-secrets", "namespace": "default"},
        "stringData": {
            "signupKey": "signup-1", "turnWorkaround": "turn-secret", "ellisApiKey": "ellis-api",
            "ellisCookieKey": "ellis-cookie", "tsigKey": KEY,
        },
    });
    world.create(secret).await;
    let spec = json!({
        "network": guests.network(), "dns": {"mode": "Managed"},
        "bootstrap": {"secretRef": {"name": "ims-secrets"}, "userDataMax": 1_048_576},
        "components": {"dns": {"addresses": [place.ip().to_string()], "publicAddress": false}},
    });
    world.apply(spec).await;
    world.settled().await;
    says(&world, "NameServerUnreachable").await;
    install(&world, &bind);
    bind.start().await;
    let address = |name: &str, ledger: &weir::types::ledger::Ledger| {
        ledger.machines[name].private_address.to_string()
    };
    let ledger = world.status().await.ledger;
    let sprouts = ["ims-sprout-0", "ims-sprout-1"].map(|name| address(name, &ledger));
    has(&bind, "sprout.ims.example.com", &sprouts).await;
    has(
        &bind,
        "ims-dns-0.ims.example.com",
        &[place.ip().to_string()],
    )
    .await;
    has(&bind, "ns.ims.example.com", &[place.ip().to_string()]).await;
    says(&world, "InSync").await;
    assert!(
        world.status().await.ledger.name_servers.is_empty(),
        "they go with its disk"
    );

    bind.kill();
    bind.wiped();
    says(&world, "NameServerUnreachable").await;
    install(&world, &bind);
    bind.start().await;
    has(&bind, "sprout.ims.example.com", &sprouts).await;
    says(&world, "InSync").await;
}
