//! The stack that is measured: as large as the one that the 2015 article built by hand.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use weir::{
    sim::{Sim, Who},
    types::meta::{API_VERSION, FINALIZER},
};

/// Machines of the stack, each with a public address and a static NAT.
pub(crate) const MACHINES: usize = 7;

/// Rules of its network ACL list.
pub(crate) const RULES: usize = 27;

/// Rules that the roles bring along: ten ports of bono, ellis and the name server, one rule that lets
/// everything out, and one that lets ICMP in.
const OWN_RULES: usize = 12;

/// What CloudStack holds of the stack: a VPC, a tier, an ACL list with its rules, and for each
/// machine a VM, an address and a static NAT.
pub(crate) const RESOURCES: usize = 3 + RULES + 3 * MACHINES;

/// Writes that make it: one for each resource, one start for each VM, and three calls that tag.
pub(crate) const WRITES_MAX: usize = RESOURCES + MACHINES + 3;

/// The Secret with a user's keys.
pub(crate) fn keys(sim: &Sim, who: Who) -> Value {
    let keys = sim.credentials(who);
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "keys", "namespace": "default"},
        "data": {
            "apiKey": STANDARD.encode(keys.api_key),
            "secretKey": STANDARD.encode(keys.secret_key),
        },
    })
}

/// One machine of each role and a name server, all with public addresses.
pub(crate) fn stack(name: &str) -> Value {
    let public = json!({"replicas": 1, "publicAddress": true});
    json!({
        "apiVersion": API_VERSION, "kind": "ClearwaterStack",
        "metadata": {"name": name, "namespace": "default", "finalizers": [FINALIZER]},
        "spec": {
            "accountRef": {"name": "cloud"}, "domain": "ims.example.com",
            "template": {"name": "Ubuntu 14.04"}, "serviceOffering": {"name": "2vCPU-4GB"},
            "packages": {"repository": "http://mirror.example.net/clearwater"},
            "dns": {"mode": "Managed"},
            "network": {
                "rules": (0..RULES - OWN_RULES)
                    .map(|n| json!({"protocol": "tcp", "startPort": 7000 + n}))
                    .collect::<Vec<_>>(),
            },
            "components": {
                "bono": public, "sprout": public, "homestead": public, "ralf": public,
                "homer": public, "ellis": public,
            },
        },
    })
}
