"""A whole life in a simulated CloudStack, lived by Apache Libcloud's two CloudStack drivers.

Reads the endpoint and the keys that `weir sim --env-file` wrote from the environment. Says what
it has done, a line each; fails by an exception. Nothing is left behind, and that is checked too.
"""

import os
from urllib.parse import urlparse

from libcloud.compute import providers as compute
from libcloud.compute.drivers.cloudstack import CloudStackNetworkOffering
from libcloud.compute.types import NodeState
from libcloud.compute.types import Provider as Compute
from libcloud.loadbalancer import providers as balance
from libcloud.loadbalancer.types import Provider as Balance

from inventory import client, inventory


def driver(of, provider):
    """One of Libcloud's drivers as the tenant, asking for results ten times a second."""
    endpoint = urlparse(os.environ["CLOUDSTACK_ENDPOINT_TENANT"])
    made = of.get_driver(provider)(
        os.environ["CLOUDSTACK_KEY_TENANT"],
        os.environ["CLOUDSTACK_SECRET_TENANT"],
        secure=False,
        host=endpoint.hostname,
        port=endpoint.port,
        path=endpoint.path,
    )
    made.connection.poll_interval = 0.1
    return made


cloud = driver(compute, Compute.CLOUDSTACK)
balancers = driver(balance, Balance.CLOUDSTACK)


def one(things, **wanted):
    """The only thing that has these values."""
    fits = lambda thing: all(getattr(thing, k) == v for k, v in wanted.items())
    found = [thing for thing in things if fits(thing)]
    assert len(found) == 1, (wanted, things)
    return found[0]


def refused(text, call, *params, **named):
    """The call is refused in words that hold this text."""
    try:
        answer = call(*params, **named)
    except Exception as refusal:
        assert text in str(refusal), refusal
        return
    raise AssertionError(f"not refused: {params} {named}: {answer}")


def network_offering(name):
    """An offering by name. Libcloud's own list wants a `serviceofferingid` in each row, which
    CloudStack 4.22 does not give, so another client is asked.
    """
    rows = client("_TENANT").listNetworkOfferings(name=name)["networkoffering"]
    row = next(row for row in rows if row["name"] == name)
    wanted = ("name", "displaytext", "guestiptype", "id", "serviceofferingid", "forvpc")
    return CloudStackNetworkOffering(*(row.get(key) for key in wanted), cloud)


def catalogue():
    zone = cloud.list_locations()[0]
    image = cloud.list_images(location=zone)[0]
    sizes = cloud.list_sizes()
    small, medium = (one(sizes, name=f"{n} Instance") for n in ("Small", "Medium"))
    assert small.ram == 512 and small.extra["cpu"] == 1, small
    systems = [system["description"] for system in cloud.ex_list_os_types()]
    assert any("Ubuntu" in system for system in systems), systems
    types = [kind.type for kind in cloud.ex_list_affinity_group_types()]
    assert "host anti-affinity" in types, types
    limits = cloud.ex_limits()
    assert limits["max_instances"] == 20, limits
    print("catalogue read")
    return zone, image, small, medium


def vpc_life(zone, image, small, medium):
    offering = one(cloud.ex_list_vpc_offerings(), name="Default VPC offering")
    vpc = cloud.ex_create_vpc(
        cidr="10.9.0.0/16",
        display_text="made by Libcloud",
        name="libcloud-vpc",
        vpc_offering=offering,
        zone_id=zone.id,
    )
    vpc = one(cloud.ex_list_vpcs(), name="libcloud-vpc")
    acl = cloud.ex_create_network_acllist("web", vpc.id, description="the web")
    rule = cloud.ex_create_network_acl(
        "TCP", acl.id, "0.0.0.0/0", 80, 80, action="Allow", traffic_type="Ingress"
    )
    assert one(cloud.ex_list_network_acl(), id=rule.id).acl_id == acl.id
    kind = "DefaultIsolatedNetworkOfferingForVpcNetworks"
    tier = cloud.ex_create_network(
        "a tier",
        "libcloud-tier",
        network_offering(kind),
        zone,
        gateway="10.9.1.1",
        netmask="255.255.255.0",
        vpc_id=vpc.id,
    )
    assert cloud.ex_replace_network_acllist(acl.id, tier.id)
    print("VPC, ACL and tier made")
    vm = machine(zone, image, small, tier)
    address = cloud.ex_allocate_public_ip(vpc_id=vpc.id, location=zone)
    assert address.address in [known.address for known in cloud.ex_list_public_ips()]
    forward = cloud.ex_create_port_forwarding_rule(
        vm, address, 80, 8080, "TCP", openfirewall=False, network_id=tier.id
    )
    listed = one(cloud.ex_list_port_forwarding_rules(), id=forward.id)
    assert (listed.public_port, listed.private_port) == ("8080", "80"), vars(listed)
    assert listed.address.address == address.address, vars(listed)
    print("port forwarded")
    power(vm, medium)
    disk(zone, vm)
    marks(vm)
    assert cloud.ex_delete_port_forwarding_rule(vm, forward)
    assert cloud.ex_release_public_ip(address)
    away(vm)
    assert cloud.ex_delete_network(tier)
    assert cloud.ex_delete_vpc(vpc)
    refused("unable to find VPC", cloud.ex_delete_vpc, vpc)
    print("VPC deleted")


def machine(zone, image, size, network):
    key = cloud.create_key_pair("libcloud")
    assert key.private_key.startswith("-----BEGIN"), key
    assert cloud.get_key_pair("libcloud").fingerprint == key.fingerprint
    apart = one(cloud.ex_list_affinity_group_types(), type="host anti-affinity")
    group = cloud.ex_create_affinity_group("apart", apart)
    vm = cloud.create_node(
        "libcloud-web",
        size,
        image,
        location=zone,
        networks=[network],
        ex_keyname="libcloud",
        ex_userdata="#!/bin/sh\necho a & b\n",
        ex_displayname="A machine's name (a*b)",
        ex_start_vm=True,
        ex_affinity_groups=[group],
    )
    assert vm.state == NodeState.RUNNING and len(vm.private_ips) == 1, vm
    assert vm.extra["size_id"] == size.id, vm.extra
    assert vm.extra["affinity_group"] == [group.id], vm.extra
    nic = one(cloud.ex_list_nics(vm), is_default=True)
    assert nic.network_id == network.id and nic.ip_address == vm.private_ips[0], nic
    refused(
        "The vm with hostName libcloud-web already exists",
        cloud.create_node,
        "libcloud-web",
        size,
        image,
        location=zone,
        networks=[network],
    )
    print("libcloud-web deployed")
    return vm


def power(vm, larger):
    assert cloud.ex_stop(vm) == "Stopped"
    assert one(cloud.list_nodes(), id=vm.id).state == NodeState.STOPPED
    assert cloud.ex_change_node_size(vm, larger)
    assert cloud.ex_get_node(vm.id).extra["size_id"] == larger.id
    assert cloud.ex_start(vm) == "Running"
    assert cloud.reboot_node(vm)
    assert cloud.ex_restore(vm)
    assert cloud.ex_get_node(vm.id).state == NodeState.RUNNING
    print("stopped, resized, started, rebooted, restored")


def disk(zone, vm):
    volume = cloud.create_volume(5, "libcloud-data", location=zone)
    assert cloud.attach_volume(vm, volume)
    attached = one(cloud.list_volumes(node=vm), name="libcloud-data")
    assert attached.extra["instance_id"] == vm.id, attached.extra
    assert cloud.detach_volume(volume)
    assert cloud.destroy_volume(volume)
    print("disk attached and detached")


def marks(vm):
    assert cloud.ex_create_tags([vm.id], "UserVm", {"role": "web", "tier": "front end"})
    tags = cloud.ex_get_node(vm.id).extra["tags"]
    assert tags == {"role": "web", "tier": "front end"}, tags
    assert cloud.ex_delete_tags([vm.id], "UserVm", ["role", "tier"])
    assert cloud.ex_get_node(vm.id).extra["tags"] == {}
    print("tagged and untagged")


def away(vm):
    """A tenant destroys, an administrator expunges."""
    assert cloud.destroy_node(vm)
    client("", fetch_result=True).expungeVirtualMachine(id=vm.id)
    # Says False of what went well: it waits for the text "true", and CloudStack 4.22 says true.
    cloud.delete_key_pair(cloud.get_key_pair("libcloud"))
    assert cloud.list_key_pairs() == []
    assert cloud.ex_delete_affinity_group(one(cloud.ex_list_affinity_groups(), name="apart"))


def isolated_life(zone, image, small):
    kind = "DefaultIsolatedNetworkOfferingWithSourceNatService"
    offering = network_offering(kind)
    network = cloud.ex_create_network("isolated", "libcloud-net", offering, zone)
    vm = machine(zone, image, small, network)
    address = cloud.ex_allocate_public_ip(network_id=network.id, location=zone)
    opened = cloud.ex_create_firewall_rule(
        address, "192.0.2.0/24", "TCP", start_port=443, end_port=444
    )
    assert one(cloud.ex_list_firewall_rules(), id=opened.id).start_port == 443
    egress = cloud.ex_create_egress_firewall_rule(
        network.id, "10.1.1.0/24", "TCP", start_port=25, end_port=25
    )
    assert one(cloud.ex_list_egress_firewall_rules(), id=egress.id).network_id == network.id
    assert cloud.ex_delete_egress_firewall_rule(egress)
    assert cloud.ex_delete_firewall_rule(opened)
    assert cloud.ex_release_public_ip(address)
    print("firewall opened and closed")
    balanced(zone, vm, network)
    away(vm)
    assert cloud.ex_delete_network(network)
    print("isolated network deleted")


def balanced(zone, vm, network):
    balancer = balancers.create_balancer(
        "web", [vm], port=80, private_port=8080, location=zone, network_id=network.id
    )
    assert (balancer.port, balancer.ex_private_port) == ("80", "8080"), vars(balancer)
    [member] = balancers.balancer_list_members(balancer)
    assert member.id == vm.id, member
    assert balancers.balancer_detach_member(balancer, member)
    assert balancers.destroy_balancer(balancer) is None
    assert balancers.list_balancers() == []
    print("balanced")


if __name__ == "__main__":
    before = inventory(client(""))
    zone, image, small, medium = catalogue()
    vpc_life(zone, image, small, medium)
    isolated_life(zone, image, small)
    after = inventory(client(""))
    assert after == before, (before, after)
    print("nothing left behind")
