//! Breakages as people write them: `what`, and to what.

use super::{Breakage, Rule};
use crate::sim::fields::{Fields, Wrong, unknown};
use crate::sim::world::HostFailure;

/// A kind of breakage, for those who ask which there are: its name, its fields, what it does.
pub(crate) type Described = (&'static str, &'static str, &'static str);

/// The kinds of breakages. The first field is what a bare word on the command line means.
pub(crate) const KINDS: &[Described] = &[
    ("stop-vm", "vm", "the guest shuts itself down"),
    (
        "hang-guest",
        "vm",
        "the guest hangs and the VM stays Running",
    ),
    (
        "kill-guest",
        "vm",
        "the guest dies unseen and the VM stays Running",
    ),
    (
        "destroy-vm",
        "vm [expunge]",
        "destroy a VM; with expunge=true for good",
    ),
    (
        "error-vm",
        "vm",
        "put a VM where a failed first start leaves it",
    ),
    ("rename-vm", "vm [name]", "change the host name of a VM"),
    ("change-offering", "vm [offering]", "resize a VM"),
    (
        "move-nic",
        "vm [ip]",
        "give a VM another address in its tier",
    ),
    (
        "wipe-details",
        "vm",
        "replace the details of a VM by a stranger's",
    ),
    (
        "delete-tags",
        "resource",
        "delete the tags of a VM, address, tier, VPC or rule",
    ),
    (
        "close-port",
        "port [protocol number rule list]",
        "delete a rule",
    ),
    (
        "add-rule",
        "port [protocol number list]",
        "open a port to everybody",
    ),
    (
        "edit-rule",
        "port [protocol number rule list to]",
        "change the port of a rule",
    ),
    (
        "renumber-rule",
        "number [port protocol rule list to]",
        "give a rule another number",
    ),
    (
        "replace-acl",
        "tier",
        "swap the ACL list of a tier for default_allow",
    ),
    ("disable-nat", "address", "disable a static NAT"),
    (
        "move-address",
        "address to",
        "point an address at another VM",
    ),
    ("release-address", "address", "give an address back"),
    (
        "delete-tier",
        "tier",
        "delete a tier with all that is in it",
    ),
    ("delete-vpc", "vpc", "delete a VPC with all that is in it"),
    ("delete-affinity-group", "group", "delete an affinity group"),
    (
        "fail-host",
        "host [how]",
        "a host fails with what runs on it; how=undetermined where nobody knows",
    ),
    (
        "recover-host",
        "[host]",
        "a host that failed is up again; every one if none is named",
    ),
    (
        "restart-management-server",
        "",
        "kill the management server; it is back after 20 s",
    ),
];

/// Reads a breakage. `user` is left to the caller.
pub(crate) fn breakage(fields: &mut Fields) -> Result<Breakage, Wrong> {
    let what = fields.needed("what", "stop-vm")?;
    let vm = |fields: &mut Fields| fields.needed("vm", "ims-sprout-0");
    let address = |fields: &mut Fields| fields.needed("address", "ims-bono-0");
    Ok(match what.as_str() {
        "stop-vm" => Breakage::StopVm { vm: vm(fields)? },
        "hang-guest" => Breakage::HangGuest { vm: vm(fields)? },
        "kill-guest" => Breakage::KillGuest { vm: vm(fields)? },
        "destroy-vm" => Breakage::DestroyVm {
            vm: vm(fields)?,
            expunge: fields.flag("expunge")?.unwrap_or(false),
        },
        "error-vm" => Breakage::ErrorVm { vm: vm(fields)? },
        "rename-vm" => Breakage::RenameVm {
            vm: vm(fields)?,
            name: fields.text("name")?,
        },
        "change-offering" => Breakage::ChangeOffering {
            vm: vm(fields)?,
            offering: fields.text("offering")?,
        },
        "move-nic" => Breakage::MoveNic {
            vm: vm(fields)?,
            ip: fields.parsed("ip", "an IPv4 address, like 10.0.0.9")?,
        },
        "wipe-details" => Breakage::WipeDetails { vm: vm(fields)? },
        "delete-tags" => Breakage::DeleteTags {
            resource: fields.needed("resource", "ims-bono-0")?,
        },
        "disable-nat" => Breakage::DisableNat {
            address: address(fields)?,
        },
        "move-address" => Breakage::MoveAddress {
            address: address(fields)?,
            to: fields.needed("to", "ims-bono-1")?,
        },
        "release-address" => Breakage::ReleaseAddress {
            address: address(fields)?,
        },
        "delete-affinity-group" => Breakage::DeleteAffinityGroup {
            group: fields.needed("group", "ims-sprout")?,
        },
        "fail-host" => Breakage::FailHost {
            host: fields.needed("host", "busiest")?,
            how: how(fields)?,
        },
        "recover-host" => Breakage::RecoverHost {
            host: fields.text("host")?,
        },
        "restart-management-server" => Breakage::RestartManagementServer,
        other => return network(fields, other),
    })
}

/// Those that are about rules, tiers and VPCs.
fn network(fields: &mut Fields, what: &str) -> Result<Breakage, Wrong> {
    Ok(match what {
        "close-port" => Breakage::ClosePort {
            rule: rule(fields)?,
        },
        "add-rule" => Breakage::AddRule {
            rule: rule(fields)?,
        },
        "edit-rule" => Breakage::EditRule {
            rule: rule(fields)?,
            to: fields.whole("to", 1..=u16::MAX)?,
        },
        "renumber-rule" => Breakage::RenumberRule {
            rule: rule(fields)?,
            to: fields.whole("to", 1..=u32::from(u16::MAX))?,
        },
        "replace-acl" => Breakage::ReplaceAcl {
            tier: fields.text("tier")?,
        },
        "delete-tier" => Breakage::DeleteTier {
            tier: fields.needed("tier", "ims")?,
        },
        "delete-vpc" => Breakage::DeleteVpc {
            vpc: fields.needed("vpc", "ims")?,
        },
        other => {
            let known: Vec<&str> = KINDS.iter().map(|(name, ..)| *name).collect();
            return Err(fields.wrong("what", unknown(other, "breakage", &known)));
        }
    })
}

fn how(fields: &mut Fields) -> Result<HostFailure, Wrong> {
    match fields.text("how")?.as_deref() {
        None | Some("down") => Ok(HostFailure::Down),
        Some("undetermined") => Ok(HostFailure::Undetermined),
        Some(other) => {
            let known = ["down", "undetermined"];
            Err(fields.wrong("how", unknown(other, "way to fail", &known)))
        }
    }
}

fn rule(fields: &mut Fields) -> Result<Rule, Wrong> {
    Ok(Rule {
        rule: fields.text("rule")?,
        port: fields.whole("port", 1..=u16::MAX)?,
        protocol: fields.text("protocol")?,
        number: fields.whole("number", 1..=u32::from(u16::MAX))?,
        list: fields.text("list")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    fn read(value: Value) -> Result<Breakage, String> {
        let mut fields = Fields::of("", value).unwrap();
        let read = breakage(&mut fields);
        let read = read.and_then(|read| fields.end().map(|()| read));
        read.map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn every_breakage_is_read_with_each_of_its_fields() {
        for (name, fields, _) in KINDS {
            let mut written = Map::from_iter([("what".to_owned(), json!(name))]);
            for field in fields
                .split([' ', '[', ']'])
                .filter(|field| !field.is_empty())
            {
                let value = match field {
                    "port" | "number" => json!(7),
                    "to" if name.ends_with("rule") => json!(7),
                    "expunge" => json!(true),
                    "how" => json!("undetermined"),
                    "ip" => json!("10.0.0.9"),
                    _ => json!("x"),
                };
                written.insert(field.to_owned(), value);
            }
            let broken = read(written.clone().into()).unwrap();
            let back = serde_json::to_value(&broken).unwrap();
            for (field, value) in written {
                assert_eq!(back[&field], value, "{name}");
            }
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (value, told) in [
            (
                json!({"what": "stopvm", "vm": "a"}),
                "what: `stopvm` is no breakage; did you mean `stop-vm`?",
            ),
            (
                json!({"what": "stop-vm"}),
                "vm: is missing: write vm: ims-sprout-0",
            ),
            (
                json!({"what": "close-port", "port": 70_000}),
                "port: `70000` is not a whole number from 1 to 65535",
            ),
            (
                json!({"what": "move-nic", "vm": "a", "ip": "10.0.0"}),
                "ip: `10.0.0` is not an IPv4 address, like 10.0.0.9",
            ),
            (
                json!({"what": "destroy-vm", "vm": "a", "expunges": true}),
                "expunges: there is no such field; did you mean `expunge`?",
            ),
        ] {
            assert_eq!(read(value), Err(told.to_owned()));
        }
    }
}
