"""A whole life in a simulated CloudStack, lived by the Python client `cs`.

Reads the endpoint and the keys that `weir sim --env-file` wrote from the environment. Says what
it has done, a line each; fails by an exception. Nothing is left behind, and that is checked too.
"""

import base64

from cs import CloudStackApiException

from inventory import client, inventory

tenant = client("_TENANT", fetch_result=True)
poster = client("_TENANT", fetch_result=True, method="post")
admin = client("", fetch_result=True)


def one(rows, **wanted):
    """The only row that has these values."""
    found = [r for r in rows if all(r.get(k) == v for k, v in wanted.items())]
    assert len(found) == 1, (wanted, rows)
    return found[0]


def listed(cloud, command, **params):
    """All rows of a list, page by page."""
    return getattr(cloud, command)(fetch_list=True, **params)


def refused(code, text, call, **params):
    """The call is refused with this code, in words that hold this text."""
    try:
        answer = call(**params)
    except CloudStackApiException as refusal:
        error = refusal.error
        assert error["errorcode"] == code, error
        assert text in error["errortext"], error
        return error
    raise AssertionError(f"not refused: {params}: {answer}")


def catalogue():
    capability = tenant.listCapabilities()["capability"]
    assert capability["cloudstackversion"].startswith("4.22"), capability
    zone = one(listed(tenant, "listZones", available=True), networktype="Advanced")
    template = listed(
        tenant, "listTemplates", templatefilter="executable", zoneid=zone["id"]
    )[0]
    assert template["isready"] is True, template
    offering = one(listed(tenant, "listServiceOfferings"), name="Small Instance")
    assert offering["memory"] == 512 and offering["cpunumber"] == 1, offering
    names = {api["name"] for api in listed(tenant, "listApis")}
    assert "deployVirtualMachine" in names and "listHosts" not in names
    api = tenant.listApis(name="deployVirtualMachine")["api"][0]
    assert api["isasync"] is True, api
    assert one(api["params"], name="zoneid")["required"] is True
    print("catalogue read")
    return zone["id"], template["id"], offering["id"]


def vpc(zone, template, offering):
    name = "Default VPC offering"
    vpc_offering = one(listed(tenant, "listVPCOfferings"), name=name)["id"]
    made = tenant.createVPC(
        name="cs-vpc",
        displaytext="made by cs",
        cidr="10.7.0.0/16",
        vpcofferingid=vpc_offering,
        zoneid=zone,
    )["vpc"]
    assert made["state"] == "Enabled" and made["cidr"] == "10.7.0.0/16", made
    vpc_id = made["id"]
    acl = tenant.createNetworkACLList(name="web", vpcid=vpc_id)["networkacllist"]
    for number, port in ((10, 80), (20, 443)):
        item = tenant.createNetworkACL(
            aclid=acl["id"],
            number=number,
            protocol="tcp",
            startport=port,
            endport=port,
            cidrlist=["0.0.0.0/0"],
            traffictype="Ingress",
            action="Allow",
        )["networkacl"]
        assert item["state"] == "Active" and item["startport"] == str(port), item
    wanted = one(
        listed(tenant, "listNetworkOfferings", forvpc=True),
        name="DefaultIsolatedNetworkOfferingForVpcNetworks",
    )
    tier = tenant.createNetwork(
        name="cs-tier",
        displaytext="a tier",
        networkofferingid=wanted["id"],
        zoneid=zone,
        vpcid=vpc_id,
        gateway="10.7.1.1",
        netmask="255.255.255.0",
        aclid=acl["id"],
    )["network"]
    assert tier["aclid"] == acl["id"] and tier["cidr"] == "10.7.1.0/24", tier
    refused(
        431,
        "",
        tenant.createNetwork,
        name="too far",
        displaytext="outside",
        networkofferingid=wanted["id"],
        zoneid=zone,
        vpcid=vpc_id,
        gateway="10.8.1.1",
        netmask="255.255.255.0",
    )
    print("VPC, ACL and tier made")
    vm = machine(zone, template, offering, tier["id"], "cs-web")
    address = tenant.associateIpAddress(vpcid=vpc_id)["ipaddress"]
    answer = tenant.enableStaticNat(
        ipaddressid=address["id"], virtualmachineid=vm["id"], networkid=tier["id"]
    )
    assert answer in ({"success": True}, {"success": "true"}), answer
    row = one(listed(tenant, "listPublicIpAddresses", id=address["id"]))
    assert row["isstaticnat"] is True and row["virtualmachineid"] == vm["id"], row
    print("static NAT enabled")
    power(vm["id"])
    marks(vm["id"])
    tenant.disableStaticNat(ipaddressid=address["id"])
    tenant.disassociateIpAddress(id=address["id"])
    refused(530, "", tenant.destroyVirtualMachine, id=vm["id"], expunge=True)
    admin.destroyVirtualMachine(id=vm["id"], expunge=True)
    assert listed(admin, "listVirtualMachines", id=vm["id"]) == []
    tenant.deleteNetwork(id=tier["id"])
    tenant.deleteNetworkACLList(id=acl["id"])
    tenant.deleteVPC(id=vpc_id)
    refused(431, "", tenant.deleteVPC, id=vpc_id)
    print("VPC deleted")


def machine(zone, template, offering, network, name):
    data = base64.b64encode(b"#!/bin/sh\n" * 500).decode()
    vm = poster.deployVirtualMachine(
        zoneid=zone,
        templateid=template,
        serviceofferingid=offering,
        networkids=[network],
        name=name,
        displayname="A machine's name (a*b)",
        userdata=data,
        details={"mark": "cs & friends"},
    )["virtualmachine"]
    assert vm["state"] == "Running" and vm["name"] == name, vm
    assert vm["displayname"] == "A machine's name (a*b)", vm
    assert vm["details"]["mark"] == "cs & friends", vm
    assert vm["nic"][0]["networkid"] == network, vm
    got = tenant.getVirtualMachineUserData(virtualmachineid=vm["id"])
    assert got["virtualmachineuserdata"]["userdata"] == data, got
    refused(
        431,
        f"The vm with hostName {name} already exists",
        poster.deployVirtualMachine,
        zoneid=zone,
        templateid=template,
        serviceofferingid=offering,
        networkids=[network],
        name=name,
    )
    print(f"{name} deployed")
    return vm


def power(vm):
    state = lambda answer: answer["virtualmachine"]["state"]
    assert state(tenant.stopVirtualMachine(id=vm)) == "Stopped"
    assert state(tenant.startVirtualMachine(id=vm)) == "Running"
    assert state(tenant.rebootVirtualMachine(id=vm)) == "Running"
    restored = tenant.restoreVirtualMachine(virtualmachineid=vm)
    assert restored["virtualmachine"]["id"] == vm, restored
    assert state(tenant.stopVirtualMachine(id=vm, forced=True)) == "Stopped"
    renamed = tenant.updateVirtualMachine(id=vm, displayname="renamed")
    assert renamed["virtualmachine"]["displayname"] == "renamed", renamed
    assert state(tenant.startVirtualMachine(id=vm)) == "Running"
    print("stopped, started, rebooted, restored, renamed")


def marks(vm):
    tags = [{"key": "role", "value": "web"}, {"key": "tier", "value": "front end"}]
    tenant.createTags(resourceids=vm, resourcetype="UserVm", tags=tags)
    row = one(listed(tenant, "listVirtualMachines", tags=tags[:1]))
    assert row["id"] == vm and len(row["tags"]) == 2, row
    assert listed(tenant, "listTags", resourceid=vm, key="tier")[0]["value"] == "front end"
    tenant.deleteTags(resourceids=vm, resourcetype="UserVm", tags=tags)
    assert listed(tenant, "listTags", resourceid=vm) == []
    print("tagged and untagged")


if __name__ == "__main__":
    before = inventory(admin)
    ids = catalogue()
    vpc(*ids)
    after = inventory(admin)
    assert after == before, (before, after)
    print("nothing left behind")
