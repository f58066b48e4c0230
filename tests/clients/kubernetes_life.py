"""What a program does with Kubernetes' own client for Python, done with Weir's API.

Takes the kubeconfig as its argument. Says what it has done, a line each; fails by an exception.
Nothing is left behind, and that is checked too.
"""

import datetime
import sys

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError

GROUP, VERSION, NAMESPACE = "weir.dev", "v1alpha1", "life"
STACKS = (GROUP, VERSION, NAMESPACE, "clearwaterstacks")
MERGE = "application/merge-patch+json"

config.load_kube_config(sys.argv[1])
core, custom = client.CoreV1Api(), client.CustomObjectsApi()


def stack(name):
    """A stack as its user writes it."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "ClearwaterStack",
        "metadata": {"name": name, "labels": {"app": "x"}},
        "spec": {
            "accountRef": {"name": "zurich"},
            "domain": "ims.example.com",
            "template": {"name": "t"},
            "serviceOffering": {"name": "o"},
            "packages": {"repository": "http://mirror.example.net/clearwater"},
        },
    }


def refused(code, call, *args, **kwargs):
    """The call is refused with this code."""
    try:
        answer = call(*args, **kwargs)
    except ApiException as refusal:
        assert refusal.status == code, refusal
        return refusal
    raise AssertionError(f"not refused: {args} {kwargs}: {answer}")


def discovered():
    assert client.VersionApi().get_code().git_version.startswith("v1.")
    groups = {group.name for group in client.ApisApi().get_api_versions().groups}
    assert {GROUP, "coordination.k8s.io", "events.k8s.io"} <= groups, groups
    resources = custom.get_api_resources(GROUP, VERSION).resources
    assert any(one.name == "clearwaterstacks/status" for one in resources)
    print("discovered")


def secrets():
    made = core.create_namespaced_secret(
        NAMESPACE,
        client.V1Secret(metadata=client.V1ObjectMeta(name="s"), string_data={"k": "v"}),
    )
    assert (made.data, made.type) == ({"k": "dg=="}, "Opaque"), made
    changed = core.patch_namespaced_secret("s", NAMESPACE, {"stringData": {"l": "w"}})
    assert changed.data == {"k": "dg==", "l": "dw=="}, changed
    refused(409, core.replace_namespaced_secret, "s", NAMESPACE, made)
    refused(409, core.create_namespaced_secret, NAMESPACE, made_again("s"))
    core.delete_namespaced_secret("s", NAMESPACE)
    refused(404, core.read_namespaced_secret, "s", NAMESPACE)
    print("secrets kept and deleted")


def made_again(name):
    return client.V1Secret(metadata=client.V1ObjectMeta(name=name))


def stacks():
    for name in ["a", "b", "c"]:
        made = custom.create_namespaced_custom_object(*STACKS, stack(name))
        assert made["metadata"]["generation"] == 1
    page = custom.list_namespaced_custom_object(*STACKS, limit=2, label_selector="app=x")
    rest = custom.list_namespaced_custom_object(*STACKS, _continue=page["metadata"]["continue"])
    names = [one["metadata"]["name"] for one in page["items"] + rest["items"]]
    assert names == ["a", "b", "c"], names
    custom.patch_namespaced_custom_object_status(
        *STACKS, "a", {"status": {"phase": "Ready"}}, _content_type=MERGE
    )
    wrong = {"spec": {"drift": "Perhaps"}}
    refused(422, custom.patch_namespaced_custom_object, *STACKS, "a", wrong, _content_type=MERGE)
    print("stacks listed and patched")
    return page["metadata"]["resourceVersion"]


def watched(since):
    """What happened since the list, and then what happens, until it is seen."""
    seen = []
    following = watch.Watch()
    for event in following.stream(
        custom.list_namespaced_custom_object, *STACKS, resource_version=since, timeout_seconds=30
    ):
        seen.append((event["type"], event["object"]["metadata"]["name"]))
        if len(seen) == 1:
            custom.delete_namespaced_custom_object(*STACKS, "c")
            nothing = {"metadata": {"finalizers": None}}
            custom.patch_namespaced_custom_object(*STACKS, "c", nothing, _content_type=MERGE)
        if seen[-1] == ("DELETED", "c"):
            following.stop()
    assert seen == [("MODIFIED", "a"), ("MODIFIED", "c"), ("DELETED", "c")], seen
    print("watched")


def applied():
    """By the dynamic client, which finds kinds by discovery."""
    dynamic = DynamicClient(client.ApiClient())
    resource = dynamic.resources.get(api_version=f"{GROUP}/{VERSION}", kind="ClearwaterStack")
    want = stack("a")
    want["spec"] = {"sshKeyPair": "ops"}
    del want["metadata"]["labels"]
    now = resource.server_side_apply(want, namespace=NAMESPACE, field_manager="life")
    assert now.spec.sshKeyPair == "ops", now
    want["spec"]["sshKeyPair"] = "others"
    try:
        resource.server_side_apply(want, namespace=NAMESPACE, field_manager="other")
    except ConflictError as refusal:
        assert "FieldManagerConflict" in str(refusal.body), refusal.body
    else:
        raise AssertionError("no conflict")
    resource.server_side_apply(
        want, namespace=NAMESPACE, field_manager="other", force_conflicts=True
    )
    print("applied")


def told():
    now = datetime.datetime.now(datetime.timezone.utc)
    about = client.V1ObjectReference(kind="ClearwaterStack", name="a", namespace=NAMESPACE)
    client.EventsV1Api().create_namespaced_event(
        NAMESPACE,
        client.EventsV1Event(
            metadata=client.V1ObjectMeta(name="e"),
            event_time=now,
            regarding=about,
            action="Live",
            reason="Lived",
            type="Normal",
            note="something is told",
            reporting_controller="life",
            reporting_instance="life-0",
        ),
    )
    by_name = "involvedObject.name=a"
    [old] = core.list_namespaced_event(NAMESPACE, field_selector=by_name).items
    assert (old.message, old.reporting_component) == ("something is told", "life"), old
    assert old.event_time == now, (old.event_time, now)
    print("told")


def led():
    leases = client.CoordinationV1Api()
    now = datetime.datetime.now(datetime.timezone.utc)
    spec = client.V1LeaseSpec(
        holder_identity="one", lease_duration_seconds=15, acquire_time=now, renew_time=now
    )
    body = client.V1Lease(metadata=client.V1ObjectMeta(name="l"), spec=spec)
    lease = leases.create_namespaced_lease(NAMESPACE, body)
    assert lease.spec.renew_time == now, lease
    leases.replace_namespaced_lease("l", NAMESPACE, lease)
    spec.holder_identity = "two"
    lease.spec = spec
    leases.replace_namespaced_lease("l", NAMESPACE, lease)
    lease.spec.holder_identity = "three"
    refused(409, leases.replace_namespaced_lease, "l", NAMESPACE, lease)
    print("led")


def asked():
    attributes = client.V1ResourceAttributes(verb="get", group=GROUP, resource="clearwaterstacks")
    spec = client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
    review = client.V1SelfSubjectAccessReview(spec=spec)
    answer = client.AuthorizationV1Api().create_self_subject_access_review(review)
    assert answer.status.allowed, answer
    who = client.AuthenticationV1Api().create_self_subject_review(client.V1SelfSubjectReview())
    assert "system:masters" in who.status.user_info.groups, who
    print("asked")


def cleaned_up():
    for one in custom.list_namespaced_custom_object(*STACKS)["items"]:
        name = one["metadata"]["name"]
        custom.delete_namespaced_custom_object(*STACKS, name, propagation_policy="Background")
        nothing = {"metadata": {"finalizers": None}}
        custom.patch_namespaced_custom_object(*STACKS, name, nothing, _content_type=MERGE)
    core.delete_namespace(NAMESPACE)
    names = [one.metadata.name for one in core.list_namespace().items]
    assert NAMESPACE not in names, names
    print("nothing left behind")


core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
discovered()
secrets()
watched(stacks())
applied()
told()
led()
asked()
cleaned_up()
