//! The table of commands: who may call each, what it needs, and what runs.

use super::call::{Answered, Call};
use super::{
    account, acl, address, affinity, catalogue, event, job, key_pair, network, tag, vm_deploy,
    vm_life, vm_list, vm_update, vpc,
};

/// Who may call a command. Granted to a role, not to a person: CloudStack answers 432 to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Everyone,
    AdminOnly,
}

/// A command.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) access: Access,
    /// The parameters that must be there, in the order in which the server misses them.
    pub(crate) required: &'static [&'static str],
    /// What an asynchronous command says of its job.
    pub(crate) job: Option<JobInfo>,
    pub(crate) run: fn(&mut Call<'_>) -> Answered,
}

/// What is seen of the job of an asynchronous command.
#[derive(Debug)]
pub(crate) struct JobInfo {
    package: &'static str,
    class: &'static str,
    /// Whether an admin's job runs another class.
    by_admin: bool,
    /// The type of its resource, where the server tells one.
    pub(crate) instance: Option<&'static str>,
}

impl JobInfo {
    /// The name of the Java class, as `cmd` shows it.
    pub(crate) fn class(&self, admin: bool) -> String {
        let (package, class) = (self.package, self.class);
        if admin && self.by_admin {
            format!("org.apache.cloudstack.api.command.admin.{package}.{class}ByAdmin")
        } else {
            format!("org.apache.cloudstack.api.command.user.{package}.{class}")
        }
    }
}

type Run = fn(&mut Call<'_>) -> Answered;
type Names = &'static [&'static str];

const fn sync(name: &'static str, required: Names, run: Run) -> Command {
    Command {
        name,
        access: Access::Everyone,
        required,
        job: None,
        run,
    }
}

const fn admin(name: &'static str, required: Names, run: Run) -> Command {
    Command {
        name,
        access: Access::AdminOnly,
        required,
        job: None,
        run,
    }
}

const fn job(name: &'static str, required: Names, run: Run, job: JobInfo) -> Command {
    Command {
        name,
        access: Access::Everyone,
        required,
        job: Some(job),
        run,
    }
}

const fn class(package: &'static str, class: &'static str, instance: &'static str) -> JobInfo {
    let instance = if instance.is_empty() {
        None
    } else {
        Some(instance)
    };
    JobInfo {
        package,
        class,
        by_admin: false,
        instance,
    }
}

const fn by_admin(package: &'static str, class: &'static str, instance: &'static str) -> JobInfo {
    JobInfo {
        package,
        class,
        by_admin: true,
        instance: Some(instance),
    }
}

const fn vm(class: &'static str) -> JobInfo {
    by_admin("vm", class, "VirtualMachine")
}

const ID: Names = &["id"];
const NONE: Names = &[];
const TAGS: Names = &["resourcetype", "resourceids", "tags"];
const DEPLOY: Names = &["serviceofferingid", "zoneid"];

/// Every command that this cloud knows.
pub(crate) static COMMANDS: &[Command] = &[
    sync("listCapabilities", NONE, catalogue::capabilities),
    sync("listApis", NONE, catalogue::apis),
    sync("listZones", NONE, catalogue::zones),
    sync("listTemplates", &["templatefilter"], catalogue::templates),
    sync("listServiceOfferings", NONE, catalogue::service_offerings),
    sync("listDiskOfferings", NONE, catalogue::nothing),
    sync("listNetworkOfferings", NONE, catalogue::network_offerings),
    sync("listVPCOfferings", NONE, catalogue::vpc_offerings),
    admin("listHosts", NONE, catalogue::hosts),
    admin("listCapacity", NONE, catalogue::capacity),
    sync("listAccounts", NONE, account::accounts),
    sync("listUsers", NONE, account::users),
    sync("listResourceLimits", NONE, account::limits),
    admin("updateResourceLimit", &["resourcetype"], account::set_limit),
    sync("listProjects", NONE, catalogue::nothing),
    sync("listWebhooks", NONE, catalogue::nothing),
    sync("listWebhookDeliveries", NONE, catalogue::nothing),
    sync(
        "createWebhook",
        &["name", "payloadurl"],
        catalogue::no_webhooks,
    ),
    sync("listEvents", NONE, event::list),
    sync("listAsyncJobs", NONE, job::list),
    sync("queryAsyncJobResult", &["jobid"], job::query),
    job(
        "createVPC",
        &["zoneid", "name", "vpcofferingid"],
        vpc::create,
        by_admin("vpc", "CreateVPCCmd", "None"),
    ),
    sync("listVPCs", NONE, vpc::list),
    job(
        "updateVPC",
        ID,
        vpc::update,
        by_admin("vpc", "UpdateVPCCmd", "Vpc"),
    ),
    job(
        "deleteVPC",
        ID,
        vpc::delete,
        class("vpc", "DeleteVPCCmd", "Vpc"),
    ),
    job(
        "restartVPC",
        ID,
        vpc::restart,
        class("vpc", "RestartVPCCmd", "Vpc"),
    ),
    sync(
        "createNetwork",
        &["zoneid", "networkofferingid", "name"],
        network::create,
    ),
    sync("listNetworks", NONE, network::list),
    job(
        "updateNetwork",
        ID,
        network::update,
        by_admin("network", "UpdateNetworkCmd", "Network"),
    ),
    job(
        "deleteNetwork",
        ID,
        network::delete,
        class("network", "DeleteNetworkCmd", "Network"),
    ),
    job(
        "restartNetwork",
        ID,
        network::restart,
        class("network", "RestartNetworkCmd", "Network"),
    ),
    job(
        "createNetworkACLList",
        &["name"],
        acl::create_list,
        class("network", "CreateNetworkACLListCmd", "NetworkAcl"),
    ),
    sync("listNetworkACLLists", NONE, acl::list_lists),
    job(
        "updateNetworkACLList",
        ID,
        acl::update_list,
        class("network", "UpdateNetworkACLListCmd", "NetworkAcl"),
    ),
    job(
        "deleteNetworkACLList",
        ID,
        acl::delete_list,
        class("network", "DeleteNetworkACLListCmd", "NetworkAcl"),
    ),
    job(
        "replaceNetworkACLList",
        &["aclid"],
        acl::replace_list,
        class("network", "ReplaceNetworkACLListCmd", ""),
    ),
    job(
        "createNetworkACL",
        &["protocol"],
        acl::create_item,
        class("network", "CreateNetworkACLCmd", "NetworkAclItem"),
    ),
    sync("listNetworkACLs", NONE, acl::list_items),
    job(
        "updateNetworkACLItem",
        ID,
        acl::update_item,
        class("network", "UpdateNetworkACLItemCmd", "NetworkAclItem"),
    ),
    job(
        "moveNetworkAclItem",
        ID,
        acl::move_item,
        class("network", "MoveNetworkAclItemCmd", ""),
    ),
    job(
        "deleteNetworkACL",
        ID,
        acl::delete_item,
        class("network", "DeleteNetworkACLCmd", "NetworkAclItem"),
    ),
    job(
        "associateIpAddress",
        NONE,
        address::associate,
        by_admin("address", "AssociateIPAddrCmd", "IpAddress"),
    ),
    sync("listPublicIpAddresses", NONE, address::list),
    job(
        "disassociateIpAddress",
        NONE,
        address::disassociate,
        class("address", "DisassociateIPAddrCmd", "IpAddress"),
    ),
    sync(
        "enableStaticNat",
        &["ipaddressid", "virtualmachineid"],
        address::enable_nat,
    ),
    job(
        "disableStaticNat",
        &["ipaddressid"],
        address::disable_nat,
        class("nat", "DisableStaticNatCmd", ""),
    ),
    job(
        "deployVirtualMachine",
        DEPLOY,
        vm_deploy::deploy,
        vm("DeployVMCmd"),
    ),
    sync("listVirtualMachines", NONE, vm_list::list),
    sync("listVirtualMachinesMetrics", NONE, vm_list::metrics),
    sync(
        "getVirtualMachineUserData",
        &["virtualmachineid"],
        vm_list::user_data,
    ),
    job("startVirtualMachine", ID, vm_life::start, vm("StartVMCmd")),
    job("stopVirtualMachine", ID, vm_life::stop, vm("StopVMCmd")),
    job(
        "rebootVirtualMachine",
        ID,
        vm_life::reboot,
        vm("RebootVMCmd"),
    ),
    job(
        "destroyVirtualMachine",
        ID,
        vm_life::destroy,
        vm("DestroyVMCmd"),
    ),
    job(
        "expungeVirtualMachine",
        ID,
        vm_life::expunge,
        vm("ExpungeVMCmd"),
    ),
    sync("recoverVirtualMachine", ID, vm_life::recover),
    job(
        "restoreVirtualMachine",
        &["virtualmachineid"],
        vm_life::restore,
        vm("RestoreVMCmd"),
    ),
    job(
        "scaleVirtualMachine",
        &["id", "serviceofferingid"],
        vm_life::scale,
        vm("ScaleVMCmd"),
    ),
    job(
        "updateVmNicIp",
        &["nicid"],
        vm_life::move_nic,
        class("vm", "UpdateVmNicIpCmd", ""),
    ),
    job(
        "updateVMAffinityGroup",
        ID,
        vm_life::regroup,
        class("affinitygroup", "UpdateVMAffinityGroupCmd", ""),
    ),
    sync("updateVirtualMachine", ID, vm_update::update),
    sync(
        "changeServiceForVirtualMachine",
        &["id", "serviceofferingid"],
        vm_update::change_service,
    ),
    admin(
        "resetUserDataForVirtualMachine",
        ID,
        vm_update::reset_user_data,
    ),
    job(
        "createAffinityGroup",
        &["name", "type"],
        affinity::create,
        class("affinitygroup", "CreateAffinityGroupCmd", "AffinityGroup"),
    ),
    sync("listAffinityGroups", NONE, affinity::list),
    sync("listAffinityGroupTypes", NONE, affinity::types),
    job(
        "deleteAffinityGroup",
        NONE,
        affinity::delete,
        class("affinitygroup", "DeleteAffinityGroupCmd", "AffinityGroup"),
    ),
    sync(
        "registerSSHKeyPair",
        &["name", "publickey"],
        key_pair::register,
    ),
    sync("createSSHKeyPair", &["name"], key_pair::create),
    sync("listSSHKeyPairs", NONE, key_pair::list),
    sync("deleteSSHKeyPair", &["name"], key_pair::delete),
    job(
        "createTags",
        TAGS,
        tag::create,
        class("tag", "CreateTagsCmd", ""),
    ),
    sync("listTags", NONE, tag::list),
    job(
        "deleteTags",
        &["resourcetype", "resourceids"],
        tag::delete,
        class("tag", "DeleteTagsCmd", ""),
    ),
    job(
        "addResourceDetail",
        &["resourceid", "resourcetype", "details"],
        tag::add_detail,
        class("volume", "AddResourceDetailCmd", ""),
    ),
    job(
        "removeResourceDetail",
        &["resourceid", "resourcetype"],
        tag::remove_detail,
        class("volume", "RemoveResourceDetailCmd", ""),
    ),
    sync("listResourceDetails", &["resourcetype"], tag::list_details),
];

/// The command of this name, which must be spelt exactly so.
pub(crate) fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}
