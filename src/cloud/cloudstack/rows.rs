//! The rows of the five lists of a look, and what Weir makes of them.
//!
//! A row that cannot be read is an error, never skipped: what is missing from an inventory looks
//! like something to create.

use std::{collections::BTreeMap, error::Error, net::Ipv4Addr};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ipnet::Ipv4Net;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::wire::{Listed, date, details, pending, tags};
use crate::types::{
    id::{
        AclId, AclRuleId, AddressId, AffinityGroupId, NetworkId, NicId, OfferingId, TemplateId,
        VmId, VpcId,
    },
    inventory::{AclRule, Address, Network, Nic, Tags, Vm, VmState, Vpc},
    role::Protocol,
    stack::{Direction, RuleAction},
};

/// Why a row cannot be read.
pub(super) type RowError = Box<dyn Error + Send + Sync>;

/// A row of `listVPCs`.
#[derive(Debug, Deserialize)]
pub(super) struct VpcResponse {
    id: String,
    name: String,
    #[serde(default)]
    displaytext: String,
    state: String,
    cidr: Ipv4Net,
    #[serde(default, deserialize_with = "tags")]
    tags: Tags,
    jobid: Option<String>,
    jobstatus: Option<u8>,
    /// Whose it is. Without `listall` a list of VPCs holds only the caller's own.
    pub(super) account: Option<String>,
}

impl Listed for VpcResponse {
    fn id(&self) -> &str {
        &self.id
    }
}

impl TryFrom<VpcResponse> for Vpc {
    type Error = RowError;

    fn try_from(row: VpcResponse) -> Result<Self, RowError> {
        Ok(Self {
            id: VpcId::new(row.id),
            name: row.name,
            display_text: row.displaytext,
            state: row.state,
            cidr: row.cidr,
            tags: row.tags,
            job: pending(row.jobid, row.jobstatus),
        })
    }
}

/// A row of `listNetworks`.
#[derive(Debug, Deserialize)]
pub(super) struct NetworkResponse {
    id: String,
    name: String,
    #[serde(default)]
    displaytext: String,
    state: String,
    cidr: Option<Ipv4Net>,
    gateway: Option<Ipv4Addr>,
    vpcid: Option<String>,
    aclid: Option<String>,
    #[serde(default, deserialize_with = "tags")]
    tags: Tags,
    jobid: Option<String>,
    jobstatus: Option<u8>,
}

impl Listed for NetworkResponse {
    fn id(&self) -> &str {
        &self.id
    }
}

impl TryFrom<NetworkResponse> for Network {
    type Error = RowError;

    fn try_from(row: NetworkResponse) -> Result<Self, RowError> {
        Ok(Self {
            id: NetworkId::new(row.id),
            name: row.name,
            display_text: row.displaytext,
            state: row.state,
            cidr: row.cidr,
            gateway: row.gateway,
            vpc: row.vpcid.map(VpcId::new),
            acl: row.aclid.map(AclId::new),
            tags: row.tags,
            job: pending(row.jobid, row.jobstatus),
        })
    }
}

/// A row of `listNetworkACLs`. Ports are strings, ranges one text with commas.
#[derive(Debug, Deserialize)]
pub(super) struct NetworkACLItemResponse {
    id: String,
    aclid: String,
    number: u32,
    protocol: String,
    startport: Option<String>,
    endport: Option<String>,
    #[serde(default)]
    cidrlist: String,
    traffictype: String,
    action: String,
    #[serde(default)]
    reason: String,
    state: String,
    icmptype: Option<i32>,
    icmpcode: Option<i32>,
}

impl Listed for NetworkACLItemResponse {
    fn id(&self) -> &str {
        &self.id
    }
}

impl TryFrom<NetworkACLItemResponse> for AclRule {
    type Error = RowError;

    fn try_from(row: NetworkACLItemResponse) -> Result<Self, RowError> {
        let port = |port: Option<String>| port.map(|port| port.parse::<u16>()).transpose();
        let (cidrs, other_cidrs) = ranges(&row.cidrlist);
        let icmp = match (row.icmptype, row.icmpcode) {
            (None, None) => None,
            (kind, code) => Some((kind.unwrap_or(-1), code.unwrap_or(-1))),
        };
        Ok(Self {
            id: AclRuleId::new(row.id),
            acl: AclId::new(row.aclid),
            number: row.number,
            protocol: protocol(&row.protocol),
            start_port: port(row.startport)?,
            end_port: port(row.endport)?,
            cidrs,
            other_cidrs,
            direction: direction(&row.traffictype)?,
            action: action(&row.action)?,
            reason: row.reason,
            state: row.state,
            icmp,
        })
    }
}

fn protocol(word: &str) -> Option<Protocol> {
    let known = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp, Protocol::All];
    let mut known = known.into_iter();
    known.find(|protocol| protocol.name().eq_ignore_ascii_case(word))
}

fn direction(word: &str) -> Result<Direction, RowError> {
    match word.to_ascii_lowercase().as_str() {
        "ingress" => Ok(Direction::Ingress),
        "egress" => Ok(Direction::Egress),
        _ => Err(format!("traffictype `{word}` is neither Ingress nor Egress").into()),
    }
}

fn action(word: &str) -> Result<RuleAction, RowError> {
    match word.to_ascii_lowercase().as_str() {
        "allow" => Ok(RuleAction::Allow),
        "deny" => Ok(RuleAction::Deny),
        _ => Err(format!("action `{word}` is neither Allow nor Deny").into()),
    }
}

fn ranges(list: &str) -> (Vec<Ipv4Net>, Vec<String>) {
    let (mut cidrs, mut others) = (Vec::new(), Vec::new());
    for range in list
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        match range.parse() {
            Ok(cidr) => cidrs.push(cidr),
            Err(_) => others.push(range.to_owned()),
        }
    }
    cidrs.sort_unstable();
    others.sort_unstable();
    (cidrs, others)
}

/// A row of `listVirtualMachines`.
#[derive(Debug, Deserialize)]
pub(super) struct UserVmResponse {
    id: String,
    name: String,
    displayname: Option<String>,
    state: String,
    templateid: Option<String>,
    serviceofferingid: Option<String>,
    #[serde(default)]
    nic: Vec<NicResponse>,
    #[serde(default)]
    affinitygroup: Vec<IdResponse>,
    #[serde(default, deserialize_with = "details")]
    details: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "tags")]
    tags: Tags,
    jobid: Option<String>,
    jobstatus: Option<u8>,
    created: Option<String>,
    /// Base64, and only there where it was asked for and the VM has any.
    userdata: Option<UserData>,
}

impl Listed for UserVmResponse {
    fn id(&self) -> &str {
        &self.id
    }
}

/// User data carries secrets: it is hashed as it is read, and never printed.
#[derive(Deserialize)]
#[serde(from = "String")]
struct UserData {
    hash: String,
}

impl std::fmt::Debug for UserData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[confidential]")
    }
}

/// CloudStack stores the base64 as it was sent, so with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl From<String> for UserData {
    fn from(text: String) -> Self {
        let plain = BASE64.decode(&text).unwrap_or_else(|_| text.into_bytes());
        Self {
            hash: sha256_hex(&plain),
        }
    }
}

/// The SHA-256 of user data, in hex.
fn sha256_hex(data: &[u8]) -> String {
    let digest = Sha256::digest(data);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, Deserialize)]
struct NicResponse {
    id: String,
    networkid: String,
    ipaddress: Option<Ipv4Addr>,
}

impl From<NicResponse> for Nic {
    fn from(row: NicResponse) -> Self {
        Self {
            id: NicId::new(row.id),
            network: NetworkId::new(row.networkid),
            address: row.ipaddress,
        }
    }
}

#[derive(Debug, Deserialize)]
struct IdResponse {
    id: String,
}

impl TryFrom<UserVmResponse> for Vm {
    type Error = RowError;

    fn try_from(row: UserVmResponse) -> Result<Self, RowError> {
        let groups = row.affinitygroup.into_iter();
        Ok(Self {
            id: VmId::new(row.id),
            display_name: row.displayname.unwrap_or_else(|| row.name.clone()),
            name: row.name,
            state: VmState::from_word(&row.state),
            template: row.templateid.map(TemplateId::new),
            offering: row.serviceofferingid.map(OfferingId::new),
            nics: row.nic.into_iter().map(Nic::from).collect(),
            affinity_groups: groups.map(|group| AffinityGroupId::new(group.id)).collect(),
            details: row.details,
            tags: row.tags,
            job: pending(row.jobid, row.jobstatus),
            user_data_hash: row.userdata.map(|data| data.hash),
            created: row.created.as_deref().map(date).transpose()?,
        })
    }
}

/// Says of VMs that were listed with their user data, but have none, what is known: its hash is
/// that of the empty text.
pub(super) fn audited(mut vms: Vec<Vm>) -> Vec<Vm> {
    for vm in &mut vms {
        let hash = vm.user_data_hash.take();
        vm.user_data_hash = hash.or_else(|| Some(sha256_hex(b"")));
    }
    vms
}

/// A row of `listPublicIpAddresses`.
#[derive(Debug, Deserialize)]
pub(super) struct IPAddressResponse {
    id: String,
    ipaddress: Ipv4Addr,
    #[serde(default)]
    state: String,
    vpcid: Option<String>,
    associatednetworkid: Option<String>,
    #[serde(default)]
    issourcenat: bool,
    virtualmachineid: Option<String>,
    #[serde(default, deserialize_with = "tags")]
    tags: Tags,
    jobid: Option<String>,
    jobstatus: Option<u8>,
    account: Option<String>,
    allocated: Option<String>,
}

impl Listed for IPAddressResponse {
    fn id(&self) -> &str {
        &self.id
    }
}

impl IPAddressResponse {
    /// Whether the address is leased to us. Its id outlives the lease and comes back under
    /// another owner, whom an admin sees; `owner` is our account's name, where it is known.
    pub(super) fn is_ours(&self, owner: Option<&str>) -> bool {
        let foreign = match (&self.account, owner) {
            (Some(account), Some(owner)) => account != owner,
            _ => false,
        };
        self.state != "Free" && !foreign
    }
}

impl TryFrom<IPAddressResponse> for Address {
    type Error = RowError;

    fn try_from(row: IPAddressResponse) -> Result<Self, RowError> {
        Ok(Self {
            id: AddressId::new(row.id),
            ip: row.ipaddress,
            state: row.state,
            vpc: row.vpcid.map(VpcId::new),
            tier: row.associatednetworkid.map(NetworkId::new),
            source_nat: row.issourcenat,
            vm: row.virtualmachineid.map(VmId::new),
            tags: row.tags,
            job: pending(row.jobid, row.jobstatus),
            // Only proves more where it can be read; nothing is decided without it.
            leased: row.allocated.as_deref().and_then(|at| date(at).ok()),
        })
    }
}
