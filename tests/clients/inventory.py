"""Counts what there is in a simulated CloudStack, for those who must leave nothing behind.

Reads the endpoint and the admin's keys that `weir sim --env-file` wrote from the environment. As a
program it prints the counts as JSON; `cs_life.py` and `libcloud_life.py` import its functions.
"""

import json
import os

from cs import CloudStack

LISTS = [
    "listVPCs",
    "listNetworks",
    "listNetworkACLLists",
    "listPublicIpAddresses",
    "listVirtualMachines",
    "listVolumes",
    "listAffinityGroups",
    "listInstanceGroups",
    "listSSHKeyPairs",
    "listUserData",
    "listTags",
    "listFirewallRules",
    "listEgressFirewallRules",
    "listPortForwardingRules",
    "listLoadBalancerRules",
    "listSecurityGroups",
    "listProjects",
    "listAccounts",
    "listUsers",
    "listServiceOfferings",
    "listDiskOfferings",
    "listRoles",
]


def client(who, **options):
    """A client for the admin ("") or the tenant ("_TENANT")."""
    return CloudStack(
        endpoint=os.environ["CLOUDSTACK_ENDPOINT" + who],
        key=os.environ["CLOUDSTACK_KEY" + who],
        secret=os.environ["CLOUDSTACK_SECRET" + who],
        poll_interval=0.1,
        job_timeout=60,
        **options,
    )


def inventory(cloud):
    """How much there is of everything that this server lists for this caller."""
    known = {api["name"] for api in cloud.listApis(fetch_list=True)}
    rows = lambda command: getattr(cloud, command)(fetch_list=True, listall=True)
    return {command: len(rows(command)) for command in LISTS if command in known}


if __name__ == "__main__":
    print(json.dumps(inventory(client(""))))
