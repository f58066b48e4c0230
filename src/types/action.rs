//! One CloudStack command, decided but not yet sent; and questions about single resources.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{
    core::Confidential,
    id::{
        AclId, AclRuleId, AddressId, AffinityGroupId, JobId, NetworkId, NicId, OfferingId,
        TemplateId, VmId, VpcId, ZoneId,
    },
    inventory::{AclList, Address, AffinityGroup, List},
    stack::RuleSpec,
};

/// One CloudStack command with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all_fields = "camelCase",
    tag = "command",
    rename_all = "camelCase"
)]
pub enum Action {
    /// Makes a VPC. Asynchronous; the row exists at once.
    CreateVpc {
        /// Its name.
        name: String,
        /// Carries our mark, see [`mark`].
        display_text: String,
        /// Its range.
        cidr: Ipv4Net,
        /// The VPC offering.
        offering: OfferingId,
        /// The zone.
        zone: ZoneId,
    },
    /// Deletes a VPC that has no tiers.
    DeleteVpc {
        /// Which.
        vpc: VpcId,
    },
    /// Makes a network ACL list.
    CreateAclList {
        /// In which VPC.
        vpc: VpcId,
        /// Its name.
        name: String,
        /// Carries our mark.
        description: String,
    },
    /// Deletes a network ACL list with its rules.
    DeleteAclList {
        /// Which.
        acl: AclId,
    },
    /// Adds a rule.
    CreateAclRule {
        /// To which list.
        acl: AclId,
        /// At which number.
        number: u32,
        /// The rule.
        rule: RuleSpec,
    },
    /// Changes a rule in place; its id stays.
    UpdateAclRule {
        /// Which.
        id: AclRuleId,
        /// Its number.
        number: u32,
        /// The rule as it shall be.
        rule: RuleSpec,
    },
    /// Deletes a rule.
    DeleteAclRule {
        /// Which.
        id: AclRuleId,
    },
    /// Makes a tier. Synchronous (`createNetwork`).
    CreateTier {
        /// In which VPC.
        vpc: VpcId,
        /// With which ACL list.
        acl: AclId,
        /// Its name.
        name: String,
        /// Carries our mark.
        display_text: String,
        /// Its range.
        cidr: Ipv4Net,
        /// Its gateway.
        gateway: Ipv4Addr,
        /// The network offering.
        offering: OfferingId,
        /// The zone.
        zone: ZoneId,
    },
    /// Gives a tier another ACL list.
    ReplaceAcl {
        /// Which tier.
        tier: NetworkId,
        /// Which list.
        acl: AclId,
    },
    /// Deletes a tier that has no VM, not even a destroyed one.
    DeleteTier {
        /// Which.
        tier: NetworkId,
    },
    /// Makes an affinity group.
    CreateAffinityGroup {
        /// Its name, unique in the account.
        name: String,
        /// CloudStack's type, like `non-strict host anti-affinity`.
        kind: String,
        /// Carries our mark.
        description: String,
    },
    /// Deletes an affinity group; VMs in it lose it.
    DeleteAffinityGroup {
        /// Which.
        group: AffinityGroupId,
    },
    /// Takes a public address for a VPC.
    AssociateAddress {
        /// For which VPC.
        vpc: VpcId,
        /// This one, if it is free.
        ip: Option<Ipv4Addr>,
    },
    /// Gives a public address back.
    ReleaseAddress {
        /// Which.
        address: AddressId,
    },
    /// Leads a public address to a VM. Synchronous, and not idempotent.
    EnableStaticNat {
        /// Which address.
        address: AddressId,
        /// To which VM.
        vm: VmId,
        /// In which tier.
        tier: NetworkId,
    },
    /// Stops leading a public address to a VM.
    DisableStaticNat {
        /// Which address.
        address: AddressId,
    },
    /// Makes a VM, stopped.
    DeployVm(Box<Deploy>),
    /// Starts a VM.
    StartVm {
        /// Which.
        vm: VmId,
    },
    /// Stops a VM, by force.
    StopVm {
        /// Which.
        vm: VmId,
    },
    /// Reboots a VM.
    RebootVm {
        /// Which.
        vm: VmId,
    },
    /// Destroys a VM.
    DestroyVm {
        /// Which.
        vm: VmId,
        /// At once and for good; needs the right to expunge.
        expunge: bool,
    },
    /// Purges a destroyed VM; needs the right to expunge.
    ExpungeVm {
        /// Which.
        vm: VmId,
    },
    /// Gives a VM a new root disk; everything else stays (`restoreVirtualMachine`).
    ReimageVm {
        /// Which.
        vm: VmId,
        /// From which template.
        template: TemplateId,
    },
    /// Changes what may change at any time. Synchronous (`updateVirtualMachine`).
    UpdateVm {
        /// Which.
        vm: VmId,
        /// What of it.
        change: VmChange,
    },
    /// Gives a stopped VM another service offering. Synchronous.
    ChangeOffering {
        /// Which.
        vm: VmId,
        /// Which offering.
        offering: OfferingId,
    },
    /// Gives a stopped VM's NIC another address.
    MoveNic {
        /// Whose.
        vm: VmId,
        /// Which NIC.
        nic: NicId,
        /// Which address.
        address: Ipv4Addr,
    },
    /// Puts a stopped VM into affinity groups, and out of all others.
    SetAffinityGroups {
        /// Which.
        vm: VmId,
        /// The groups.
        groups: Vec<AffinityGroupId>,
    },
    /// Tags resources of one type: all or none.
    Tag {
        /// Their type.
        kind: TagKind,
        /// Their ids.
        resources: Vec<String>,
        /// The tags; a key that a resource has makes the whole call fail.
        tags: BTreeMap<String, String>,
    },
    /// Removes tags, by key.
    Untag {
        /// The type of the resource.
        kind: TagKind,
        /// Its id.
        resource: String,
        /// The keys.
        keys: Vec<String>,
    },
}

/// What a VM is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deploy {
    /// The machine it realises.
    pub machine: String,
    /// Host name: unique in the VPC, dead VMs included.
    pub name: String,
    /// Display name.
    pub display_name: String,
    /// Zone.
    pub zone: ZoneId,
    /// Template.
    pub template: TemplateId,
    /// Service offering.
    pub offering: OfferingId,
    /// Tier.
    pub tier: NetworkId,
    /// Address in the tier.
    pub address: Ipv4Addr,
    /// SSH key pair, by name.
    pub key_pair: Option<String>,
    /// Affinity groups.
    pub affinity_groups: Vec<AffinityGroupId>,
    /// Our mark; the executor adds [`mark::INTENT`] with the job id.
    pub details: BTreeMap<String, String>,
    /// User data in plain text. Carries secrets, so it is never written down.
    #[serde(skip)]
    pub user_data: Confidential,
    /// SHA-256 of the user data, in hex.
    pub user_data_hash: String,
    /// SHA-256, in hex, of what of it takes effect with a new image only; none where that is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data_image: Option<String>,
}

/// One change of a VM that needs no stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VmChange {
    /// Its host name (seen by the guest only after a re-image).
    Name(String),
    /// Its display name.
    DisplayName(String),
    /// All of its details: what is not named goes.
    Details(BTreeMap<String, String>),
    /// Its user data; takes effect with the next re-image, but for what the machine keeps reading.
    UserData {
        /// The text; never written down.
        #[serde(skip)]
        text: Confidential,
        /// Its SHA-256, in hex.
        hash: String,
        /// SHA-256, in hex, of what of it takes effect with a new image only; none where that is all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<String>,
    },
}

/// Types of resources that Weir tags, as CloudStack spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TagKind {
    /// A virtual machine.
    UserVm,
    /// A VPC.
    Vpc,
    /// A tier.
    Network,
    /// A public address.
    PublicIpAddress,
}

impl TagKind {
    const fn list(self) -> &'static [List] {
        match self {
            Self::UserVm => &[List::Vms],
            Self::Vpc => &[List::Vpcs],
            Self::Network => &[List::Networks],
            Self::PublicIpAddress => &[List::Addresses],
        }
    }

    /// As CloudStack spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UserVm => "UserVm",
            Self::Vpc => "Vpc",
            Self::Network => "Network",
            Self::PublicIpAddress => "PublicIpAddress",
        }
    }
}

impl Action {
    /// The lists of a look that the command changes.
    #[must_use]
    pub const fn touches(&self) -> &'static [List] {
        match self {
            Self::CreateVpc { .. } => &[List::Vpcs],
            Self::DeleteVpc { .. } => &[List::Vpcs, List::Rules, List::Addresses],
            Self::CreateAclList { .. }
            | Self::CreateAffinityGroup { .. }
            | Self::DeleteAffinityGroup { .. } => &[],
            Self::DeleteAclList { .. }
            | Self::CreateAclRule { .. }
            | Self::UpdateAclRule { .. }
            | Self::DeleteAclRule { .. } => &[List::Rules],
            Self::CreateTier { .. } | Self::ReplaceAcl { .. } => &[List::Networks],
            Self::DeleteTier { .. } => &[List::Networks, List::Addresses],
            Self::AssociateAddress { .. }
            | Self::ReleaseAddress { .. }
            | Self::EnableStaticNat { .. }
            | Self::DisableStaticNat { .. } => &[List::Addresses],
            Self::DestroyVm { .. } | Self::ExpungeVm { .. } | Self::MoveNic { .. } => {
                &[List::Vms, List::Addresses]
            }
            Self::DeployVm(_)
            | Self::StartVm { .. }
            | Self::StopVm { .. }
            | Self::RebootVm { .. }
            | Self::ReimageVm { .. }
            | Self::UpdateVm { .. }
            | Self::ChangeOffering { .. }
            | Self::SetAffinityGroups { .. } => &[List::Vms],
            Self::Tag { kind, .. } | Self::Untag { kind, .. } => kind.list(),
        }
    }

    /// CloudStack's name of the command.
    #[must_use]
    pub const fn command(&self) -> &'static str {
        match self {
            Self::CreateVpc { .. } => "createVPC",
            Self::DeleteVpc { .. } => "deleteVPC",
            Self::CreateAclList { .. } => "createNetworkACLList",
            Self::DeleteAclList { .. } => "deleteNetworkACLList",
            Self::CreateAclRule { .. } => "createNetworkACL",
            Self::UpdateAclRule { .. } => "updateNetworkACLItem",
            Self::DeleteAclRule { .. } => "deleteNetworkACL",
            Self::CreateTier { .. } => "createNetwork",
            Self::ReplaceAcl { .. } => "replaceNetworkACLList",
            Self::DeleteTier { .. } => "deleteNetwork",
            Self::CreateAffinityGroup { .. } => "createAffinityGroup",
            Self::DeleteAffinityGroup { .. } => "deleteAffinityGroup",
            Self::AssociateAddress { .. } => "associateIpAddress",
            Self::ReleaseAddress { .. } => "disassociateIpAddress",
            Self::EnableStaticNat { .. } => "enableStaticNat",
            Self::DisableStaticNat { .. } => "disableStaticNat",
            Self::DeployVm(_) => "deployVirtualMachine",
            Self::StartVm { .. } => "startVirtualMachine",
            Self::StopVm { .. } => "stopVirtualMachine",
            Self::RebootVm { .. } => "rebootVirtualMachine",
            Self::DestroyVm { .. } => "destroyVirtualMachine",
            Self::ExpungeVm { .. } => "expungeVirtualMachine",
            Self::ReimageVm { .. } => "restoreVirtualMachine",
            Self::UpdateVm { .. } => "updateVirtualMachine",
            Self::ChangeOffering { .. } => "changeServiceForVirtualMachine",
            Self::MoveNic { .. } => "updateVmNicIp",
            Self::SetAffinityGroups { .. } => "updateVMAffinityGroup",
            Self::Tag { .. } => "createTags",
            Self::Untag { .. } => "deleteTags",
        }
    }

    /// Whether the command answers only when it is done, without a job.
    #[must_use]
    pub const fn synchronous(&self) -> bool {
        matches!(
            self,
            Self::CreateTier { .. }
                | Self::EnableStaticNat { .. }
                | Self::UpdateVm { .. }
                | Self::ChangeOffering { .. }
        )
    }

    /// Whether what the command makes exists once the submit is answered; its job only reports
    /// it, and no list of a look shows it.
    #[must_use]
    pub const fn made_at_submit(&self) -> bool {
        matches!(
            self,
            Self::CreateAclList { .. } | Self::CreateAffinityGroup { .. }
        )
    }

    /// Whether the lists of a look alone tell that the command has had its effect. A VPC is listed
    /// as `Enabled` from its first moment, and of the others no list shows anything.
    #[must_use]
    pub const fn shown(&self) -> bool {
        !matches!(
            self,
            Self::CreateVpc { .. }
                | Self::CreateAclList { .. }
                | Self::DeleteAclList { .. }
                | Self::CreateAffinityGroup { .. }
                | Self::DeleteAffinityGroup { .. }
                | Self::RebootVm { .. }
                | Self::ReimageVm { .. }
                | Self::ExpungeVm { .. }
        )
    }

    /// Whether the command takes something away for good.
    #[must_use]
    pub const fn destroys(&self) -> bool {
        matches!(
            self,
            Self::DeleteVpc { .. }
                | Self::DeleteAclList { .. }
                | Self::DeleteAclRule { .. }
                | Self::DeleteTier { .. }
                | Self::DeleteAffinityGroup { .. }
                | Self::ReleaseAddress { .. }
                | Self::DestroyVm { .. }
                | Self::ExpungeVm { .. }
                | Self::ReimageVm { .. }
        )
    }
}

/// Keys by which a resource in CloudStack says whose it is.
pub mod mark {
    use crate::types::id::Uid;

    /// Detail of a VM: the uid of its stack.
    pub const STACK: &str = "weirStack";
    /// Detail of a VM: the name of its machine.
    pub const MACHINE: &str = "weirMachine";
    /// Detail of a VM: the job id under which it was deployed.
    pub const INTENT: &str = "weirIntent";
    /// Tag: the uid of the stack.
    pub const TAG_STACK: &str = "weir.dev/stack";

    /// The display text or description of what can carry no details: names the stack for people
    /// and its uid for Weir.
    #[must_use]
    pub fn text(namespace: &str, stack: &str, uid: &Uid) -> String {
        format!("weir {namespace}/{stack} uid={uid}")
    }

    /// The uid in a text made by [`text`].
    #[must_use]
    pub fn uid_in(text: &str) -> Option<Uid> {
        stack_in(text).map(|(_, _, uid)| uid)
    }

    /// Namespace, name and uid of the stack in a text made by [`text`].
    #[must_use]
    pub fn stack_in(text: &str) -> Option<(&str, &str, Uid)> {
        let (stack, uid) = text.strip_prefix("weir ")?.split_once(" uid=")?;
        let (namespace, name) = stack.split_once('/')?;
        Some((namespace, name, Uid::new(uid)))
    }
}

/// Something about one resource that a look does not tell, asked before a decision that must
/// not rest on a list alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Is this VM really gone?
    Vm(VmId),
    /// Is this VPC really gone?
    Vpc(VpcId),
    /// Is this tier really gone?
    Tier(NetworkId),
    /// Is this address really not ours any more?
    Address(AddressId),
    /// Which ACL lists are there? (A look shows rules, so an empty list is unseen.)
    AclLists,
    /// Which affinity groups are there?
    AffinityGroups,
    /// Which addresses are stuck in `Allocating`? No ordinary list shows them.
    StuckAddresses,
    /// How did this job end?
    Job(JobId),
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// CloudStack knows no such resource, or does not show it to us.
    Absent,
    /// It exists.
    Present,
    /// To [`Question::AclLists`].
    AclLists(Vec<AclList>),
    /// To [`Question::AffinityGroups`].
    AffinityGroups(Vec<AffinityGroup>),
    /// To [`Question::StuckAddresses`].
    Addresses(Vec<Address>),
    /// To [`Question::Job`].
    Job(JobOutcome),
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// It has not.
    Running,
    /// It did what it should; the id of what it made or worked on, where CloudStack tells.
    Succeeded {
        /// `jobinstanceid`, or the id inside `jobresult`.
        resource: Option<String>,
    },
    /// It says that it failed. What it did before that is for the next look to tell.
    Failed {
        /// CloudStack's error code.
        code: u16,
        /// CloudStack's words.
        text: String,
        /// The id of what it worked on, where CloudStack tells.
        resource: Option<String>,
    },
    /// The management server went away while it ran: nobody knows what took effect.
    Lost {
        /// The id of what it worked on, where CloudStack tells.
        resource: Option<String>,
    },
    /// CloudStack knows no such job: the command never arrived, or is long forgotten.
    Unknown,
}

/// Answers given so far in a round.
pub type Answers = BTreeMap<Question, Answer>;
