//! Another people's controller library, kube-rs, lives on our server as on any other: its watcher
//! and its controller, its finalizers, server-side apply, waits, an election over a Lease,
//! discovery and events.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt, future::join_all};
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Event as CoreEvent, Secret},
        events::v1::Event as NewEvent,
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, Config, Error, Resource, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
        Preconditions,
    },
    config::{KubeConfigOptions, Kubeconfig},
    core::{GroupVersionKind, Status},
    discovery::{Discovery, Scope, pinned_kind, verbs},
    runtime::{
        Controller, WatchStreamExt,
        controller::Action,
        events::{Event, EventType, Recorder, Reporter},
        finalizer,
        wait::{Condition, await_condition, conditions},
        watcher::{self, watcher},
    },
};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};
use weir::types::meta::Kind;

use super::bed::{Bed, MERGE, Made, SECRETS, STACKS, secret, stack};
use crate::cli::lab::{PATIENCE, until};

/// What a controller of theirs keeps a stack with.
const KEEPER: &str = "example.com/keeper";

impl Bed {
    /// A client of theirs, by the kubeconfig that the server wrote.
    fn client(&self) -> Client {
        self.block_on(async {
            let file = Kubeconfig::read_from(self.dir().join("kubeconfig")).unwrap();
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(file, &options).await;
            Client::try_from(config.unwrap()).unwrap()
        })
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client(), "default")
    }

    fn stacks(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client(), "default", &stacks())
    }

    /// Something of their library, done within the limit of all waits.
    #[track_caller]
    fn soon<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        let done = self.block_on(async { timeout(PATIENCE, future).await });
        done.unwrap_or_else(|_| panic!("{what}: not after {PATIENCE:?}"))
    }
}

fn stacks() -> ApiResource {
    let kind = GroupVersionKind::gvk("weir.dev", "v1alpha1", "ClearwaterStack");
    ApiResource::from_gvk(&kind)
}

/// The status with which a request was refused.
#[track_caller]
fn refusal<T: std::fmt::Debug>(answer: Result<T, Error>) -> Box<Status> {
    match answer {
        Err(Error::Api(status)) => status,
        answer => panic!("not refused: {answer:?}"),
    }
}

/// What somebody knows who only listens to a watcher.
#[derive(Debug, Default)]
struct Known {
    /// Names and versions.
    objects: BTreeMap<String, String>,
    /// The same while the state is told from its beginning.
    beginning: BTreeMap<String, String>,
    /// How often it was told from its beginning.
    beginnings: usize,
    errors: Vec<String>,
}

impl Known {
    fn learn(&mut self, told: watcher::Result<watcher::Event<Secret>>) {
        let entry = |object: &Secret| (object.name_any(), object.resource_version().unwrap());
        match told {
            Ok(watcher::Event::Init) => self.beginning.clear(),
            Ok(watcher::Event::InitApply(object)) => self.beginning.extend([entry(&object)]),
            Ok(watcher::Event::InitDone) => {
                self.objects = std::mem::take(&mut self.beginning);
                self.beginnings += 1;
            }
            Ok(watcher::Event::Apply(object)) => self.objects.extend([entry(&object)]),
            Ok(watcher::Event::Delete(object)) => {
                let gone = self.objects.remove(&object.name_any());
                assert!(gone.is_some(), "it goes once: {}", object.name_any());
            }
            Err(error) => self.errors.push(error.to_string()),
        }
    }
}

/// A listener in the background.
fn listens(bed: &Bed, config: watcher::Config) -> (Arc<Mutex<Known>>, JoinSet<()>) {
    let known = Arc::new(Mutex::new(Known::default()));
    let (learner, secrets) = (Arc::clone(&known), bed.secrets());
    let mut listener = JoinSet::new();
    let listening = async move {
        let mut told = std::pin::pin!(watcher(secrets, config).default_backoff());
        while let Some(event) = told.next().await {
            learner.lock().unwrap().learn(event);
        }
    };
    bed.block_on(async { listener.spawn(listening) });
    (known, listener)
}

/// Waits until somebody knows all there is, told so often from the beginning.
#[track_caller]
fn knows(bed: &Bed, known: &Mutex<Known>, beginnings: usize) {
    let list = bed.get(SECRETS).is(200);
    let there: BTreeMap<_, _> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["metadata"])
        .map(|metadata| (text(&metadata["name"]), text(&metadata["resourceVersion"])))
        .collect();
    until("it knows all there is", || {
        let known = known.lock().unwrap();
        let same = known.objects == there && known.beginnings == beginnings;
        same.then_some(())
            .ok_or(format!("{known:?}, not {there:?}"))
    });
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// What happens while nobody serves, written by another server on the same store.
fn meanwhile(bed: &Bed, made: &[&str], gone: &[&str]) {
    bed.block_on(async {
        for name in made {
            let object = serde_json::from_value(secret(name)).unwrap();
            bed.store.create(object).await.unwrap();
        }
        for name in gone {
            let key = weir::types::meta::ObjectKey::new(Kind::Secret, "default", *name);
            bed.store.delete(&key, &Default::default()).await.unwrap();
        }
    });
}

#[test]
fn a_watcher_misses_nothing_over_a_restart_and_begins_anew_when_it_must() {
    let ways = [
        watcher::Config::default().page_size(2),
        watcher::Config::default().streaming_lists(),
    ];
    for way in ways {
        let mut bed = Bed::with(Made::remembering(12));
        for name in ["a", "b", "c"] {
            bed.post(SECRETS, &secret(name)).is(201);
        }
        let (known, _listener) = listens(&bed, way);
        knows(&bed, &known, 1);
        bed.delete(&format!("{SECRETS}/a"), &json!({})).is(200);
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        bed.patch(MERGE, &format!("{SECRETS}/b"), &label).is(200);
        knows(&bed, &known, 1);

        bed.stop();
        meanwhile(&bed, &["d", "e"], &["c"]);
        bed.restart();
        knows(&bed, &known, 1);

        bed.stop();
        let many: Vec<_> = (0..20).map(|number| format!("n{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        meanwhile(&bed, &many, &["b", "d"]);
        bed.restart();
        knows(&bed, &known, 2);
        let errors = known.lock().unwrap().errors.join("\n");
        assert!(errors.contains("too old resource version"), "{errors}");
    }
}

/// A controller of theirs: each stack has a Secret of its own, which goes before the stack.
struct Theirs {
    client: Client,
    /// Whether the Secret can be taken away.
    willing: Mutex<bool>,
    cleanups: Mutex<usize>,
}

async fn reconciled(stack: Arc<DynamicObject>, theirs: Arc<Theirs>) -> Result<Action, TheirError> {
    let stacks = Api::namespaced_with(theirs.client.clone(), "default", &stacks());
    let secrets: Api<Secret> = Api::namespaced(theirs.client.clone(), "default");
    let done = finalizer(&stacks, KEEPER, stack, |event| async move {
        match event {
            finalizer::Event::Apply(stack) => {
                let owner = stack.controller_owner_ref(&self::stacks()).unwrap();
                let owned = json!({
                    "apiVersion": "v1", "kind": "Secret", "stringData": {"k": "v"},
                    "metadata": {"name": stack.name_any(), "ownerReferences": [owner]},
                });
                let way = PatchParams::apply("theirs");
                let (name, owned) = (stack.name_any(), Patch::Apply(owned));
                secrets.patch(&name, &way, &owned).await?;
                Ok(Action::await_change())
            }
            finalizer::Event::Cleanup(stack) => {
                *theirs.cleanups.lock().unwrap() += 1;
                if !*theirs.willing.lock().unwrap() {
                    return Err(TheirError::Unwilling);
                }
                let way = DeleteParams::default();
                secrets.delete(&stack.name_any(), &way).await?;
                Ok(Action::await_change())
            }
        }
    });
    done.await
        .map_err(|error| TheirError::Finalizer(Box::new(error)))
}

#[derive(Debug, thiserror::Error)]
enum TheirError {
    #[error("not yet")]
    Unwilling,
    #[error(transparent)]
    Api(#[from] Error),
    #[error(transparent)]
    Finalizer(Box<finalizer::Error<TheirError>>),
}

/// The names of what holds a stack back.
fn finalizers(bed: &Bed, name: &str) -> Result<BTreeSet<String>, u16> {
    let answer = bed.get(&format!("{STACKS}/{name}"));
    if answer.code != 200 {
        return Err(answer.code);
    }
    let stack = answer.json();
    let all = stack["metadata"]["finalizers"].as_array();
    Ok(all.into_iter().flatten().map(text).collect())
}

#[test]
fn a_controller_keeps_what_is_its_own_and_clears_up_before_its_owner_goes() {
    let bed = Bed::new();
    let theirs = Arc::new(Theirs {
        client: bed.client(),
        willing: Mutex::new(false),
        cleanups: Mutex::default(),
    });
    let controller = Controller::new_with(bed.stacks(), watcher::Config::default(), stacks())
        .owns(bed.secrets(), watcher::Config::default())
        .run(
            reconciled,
            |_, _, _| Action::requeue(Duration::from_millis(50)),
            Arc::clone(&theirs),
        )
        .for_each(|_| std::future::ready(()));
    let mut running = JoinSet::new();
    bed.block_on(async { running.spawn(controller) });

    bed.stack("a");
    let own = format!("{SECRETS}/a");
    let there = || bed.get(&own).code;
    let is_there = |code| {
        until("the Secret", || {
            let seen = there();
            (seen == code).then_some(()).ok_or(seen.to_string())
        });
    };
    is_there(200);
    let both = BTreeSet::from([KEEPER.to_owned(), "weir.dev/cloud-resources".to_owned()]);
    assert_eq!(finalizers(&bed, "a"), Ok(both.clone()));
    // What it owns comes again.
    let first = bed.get(&own).is(200)["metadata"]["uid"].clone();
    bed.delete(&own, &json!({})).is(200);
    until("another Secret", || {
        let now = bed.get(&own);
        let other = now.code == 200 && now.json()["metadata"]["uid"] != first;
        other.then_some(()).ok_or(now.text)
    });

    bed.delete(&format!("{STACKS}/a"), &json!({})).is(200);
    until("it tried more than once", || {
        let tries = *theirs.cleanups.lock().unwrap();
        (tries > 1).then_some(()).ok_or(tries.to_string())
    });
    assert_eq!((finalizers(&bed, "a"), there()), (Ok(both), 200));
    *theirs.willing.lock().unwrap() = true;
    let ours = BTreeSet::from(["weir.dev/cloud-resources".to_owned()]);
    until("theirs is off", || {
        let seen = finalizers(&bed, "a");
        (seen == Ok(ours.clone()))
            .then_some(())
            .ok_or(format!("{seen:?}"))
    });
    is_there(404);
    let nothing = json!({"metadata": {"finalizers": null}});
    bed.patch(MERGE, &format!("{STACKS}/a"), &nothing).is(200);
    assert_eq!(finalizers(&bed, "a"), Err(404));
}

#[test]
fn an_apply_conflicts_with_another_manager_until_it_is_forced() {
    let bed = Bed::new();
    let stacks = bed.stacks();
    let sized = |replicas: u32| {
        let mut manifest = stack("a");
        manifest["spec"]["components"]["sprout"]["replicas"] = json!(replicas);
        Patch::Apply(manifest)
    };
    let apply = |way: PatchParams, replicas| {
        let manifest = sized(replicas);
        bed.soon("it is applied", async {
            stacks.patch("a", &way, &manifest).await
        })
    };
    let made = apply(PatchParams::apply("one"), 2).unwrap();
    let same = apply(PatchParams::apply("one"), 2).unwrap();
    assert_eq!(made.resource_version(), same.resource_version());
    apply(PatchParams::apply("two"), 2).unwrap();
    let status = refusal(apply(PatchParams::apply("two"), 3));
    assert!(status.is_conflict(), "{status:?}");
    let causes = status.details.unwrap().causes;
    let told: Vec<_> = causes
        .iter()
        .map(|cause| (&*cause.reason, &*cause.field))
        .collect();
    let field = ".spec.components.sprout.replicas";
    assert_eq!(told, [("FieldManagerConflict", field)]);
    assert!(causes[0].message.contains("\"one\""), "{causes:?}");
    apply(PatchParams::apply("two").force().dry_run(), 3).unwrap();
    let forced = apply(PatchParams::apply("two").force(), 3).unwrap();
    assert_eq!(forced.data["spec"]["components"]["sprout"]["replicas"], 3);
    let owns = |manager: &str| {
        let entries = forced.managed_fields().iter();
        let mut entries = entries.filter(|entry| entry.manager.as_deref() == Some(manager));
        let fields = json!(entries.next().unwrap().fields_v1);
        assert!(entries.next().is_none());
        fields["f:spec"]["f:components"]["f:sprout"]["f:replicas"].is_object()
    };
    assert!(!owns("one") && owns("two"));
    assert!(refusal(apply(PatchParams::apply("one"), 2)).is_conflict());
}

#[test]
fn a_condition_and_a_deletion_are_awaited() {
    let bed = Bed::new();
    let stacks = bed.stacks();
    bed.stack("a");
    let made = bed.soon("it is read", stacks.get("a")).unwrap();
    let ready = |stack: Option<&DynamicObject>| {
        let conditions = stack.and_then(|stack| stack.data["status"]["conditions"].as_array());
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|told| told["type"] == "Ready" && told["status"] == "True")
    };
    let says = async |status: &str| {
        let told = json!({"status": {"conditions": [{
            "type": "Ready", "status": status, "reason": "Told", "message": "",
            "lastTransitionTime": "2026-03-01T12:00:00Z",
        }]}});
        let way = PatchParams::default();
        stacks
            .patch_status("a", &way, &Patch::Merge(told))
            .await
            .unwrap();
    };
    let (awaited, ()) = bed.soon("it is ready", async {
        let waiting = await_condition(stacks.clone(), "a", ready);
        let telling = async {
            says("False").await;
            says("True").await;
        };
        futures_util::join!(waiting, telling)
    });
    assert!(ready(awaited.unwrap().as_ref()));
    bed.soon(
        "it is ready already",
        await_condition(stacks.clone(), "a", ready),
    )
    .unwrap();
    let uid = made.uid().unwrap();
    let (gone, ()) = bed.soon("it is deleted", async {
        let gone = conditions::is_deleted(&uid);
        assert!(!gone.matches_object(Some(&made)));
        let waiting = await_condition(stacks.clone(), "a", gone);
        let deleting = async {
            stacks
                .delete("a", &DeleteParams::background())
                .await
                .unwrap();
            let nothing = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            stacks
                .patch("a", &PatchParams::default(), &nothing)
                .await
                .unwrap();
        };
        futures_util::join!(waiting, deleting)
    });
    assert!(gone.unwrap().is_none());
}

/// Claims a lease that nobody holds or whose holder is late, as electors do: on what was read, and
/// on nothing newer. Whether it was won.
async fn claims(leases: &Api<Lease>, read: &Lease, who: &str) -> bool {
    let mut claim = read.clone();
    let spec = claim.spec.get_or_insert_default();
    spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
    spec.holder_identity = Some(who.to_owned());
    spec.lease_duration_seconds = Some(15);
    let now = MicroTime("2026-03-01T12:00:00.123456Z".parse().unwrap());
    (spec.acquire_time, spec.renew_time) = (Some(now.clone()), Some(now));
    match leases
        .replace("leader", &PostParams::default(), &claim)
        .await
    {
        Ok(written) => {
            assert_eq!(written.spec, claim.spec);
            true
        }
        Err(Error::Api(status)) if status.is_conflict() => false,
        Err(error) => panic!("{who}: {error}"),
    }
}

#[test]
fn of_all_who_claim_a_lease_one_wins_and_hands_it_over() {
    let bed = Bed::new();
    let leases: Vec<Api<Lease>> = (0..4)
        .map(|_| Api::namespaced(bed.client(), "default"))
        .collect();
    let lease: Lease = serde_json::from_value(json!({"metadata": {"name": "leader"}})).unwrap();
    let made = bed.soon("it is made", async {
        let way = PostParams::default();
        join_all(leases.iter().map(|leases| leases.create(&way, &lease))).await
    });
    let (made, late): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for answer in late {
        let status = refusal(answer);
        assert_eq!((status.code, &*status.reason), (409, "AlreadyExists"));
    }
    for round in 1..=20 {
        let read = bed.soon("it is read", leases[0].get("leader")).unwrap();
        let claims = leases.iter().enumerate().map(|(number, leases)| {
            let (who, read) = (format!("elector-{number}"), &read);
            async move { claims(leases, read, &who).await }
        });
        let won = bed.soon("an election", join_all(claims));
        let winner: Vec<_> = (0..won.len()).filter(|who| won[*who]).collect();
        let [winner] = winner[..] else {
            panic!("round {round}: {won:?}")
        };
        let spec = bed
            .soon("it is read", leases[0].get("leader"))
            .unwrap()
            .spec
            .unwrap();
        assert_eq!(spec.holder_identity, Some(format!("elector-{winner}")));
        assert_eq!(spec.lease_transitions, Some(round));
        // The next may begin at once.
        let handed_over = Patch::Merge(json!({"spec": {"holderIdentity": null}}));
        let way = PatchParams::default();
        let freed = bed.soon(
            "it is free",
            leases[winner].patch("leader", &way, &handed_over),
        );
        assert_eq!(freed.unwrap().spec.unwrap().holder_identity, None);
    }
    // Whoever slept through a hand-over neither renews nor deletes what it read.
    let old = bed.soon("it is read", leases[0].get("leader")).unwrap();
    assert!(bed.soon("it is won", claims(&leases[1], &old, "elector-1")));
    assert!(!bed.soon("it is lost", claims(&leases[0], &old, "elector-0")));
    let mine = DeleteParams::default().preconditions(Preconditions {
        resource_version: old.resource_version(),
        uid: old.uid(),
    });
    assert!(refusal(bed.soon("it stays", leases[0].delete("leader", &mine))).is_conflict());
}

#[test]
fn all_kinds_are_discovered_one_by_one_and_at_once() {
    let bed = Bed::new();
    let client = bed.client();
    let found = [
        bed.soon("one by one", Discovery::new(client.clone()).run()),
        bed.soon("at once", Discovery::new(client.clone()).run_aggregated()),
    ];
    for found in found.map(Result::unwrap) {
        for kind in Kind::ALL {
            let wanted = GroupVersionKind::gvk(kind.group(), kind.version(), kind.name());
            let (resource, can) = found.resolve_gvk(&wanted).unwrap();
            assert_eq!(resource.plural, kind.plural());
            assert_eq!(resource.api_version, kind.api_version());
            assert_eq!(can.scope == Scope::Namespaced, kind.namespaced());
            for verb in [verbs::GET, verbs::LIST, verbs::WATCH, verbs::PATCH] {
                assert!(can.supports_operation(verb), "{kind:?} {verb}");
            }
            let status = can
                .subresources
                .iter()
                .any(|(part, _)| part.plural == "status");
            assert_eq!(status, kind.has_status(), "{kind:?}");
            let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            bed.soon("it is listed", all.list(&ListParams::default()))
                .unwrap();
        }
        assert!(found.has_group("events.k8s.io") && !found.has_group("apps"));
    }
    let machine = GroupVersionKind::gvk("weir.dev", "v1alpha1", "Machine");
    let pinned = bed
        .soon("one kind", pinned_kind(&client, &machine))
        .unwrap();
    assert_eq!(pinned.0.plural, "machines");
}

#[test]
fn events_are_recorded_and_counted() {
    let bed = Bed::new();
    let made: DynamicObject = serde_json::from_value(bed.stack("a")).unwrap();
    let reporter = Reporter {
        controller: "theirs".to_owned(),
        instance: Some("theirs-0".to_owned()),
    };
    let recorder = Recorder::new(bed.client(), reporter);
    let event = Event {
        type_: EventType::Warning,
        reason: "Seen".to_owned(),
        note: Some("it was seen".to_owned()),
        action: "Looking".to_owned(),
        secondary: None,
    };
    let about = made.object_ref(&stacks());
    for _ in 0..3 {
        bed.soon("it is told", recorder.publish(&event, &about))
            .unwrap();
    }
    let about_a = ListParams::default().fields("regarding.name=a");
    let new: Api<NewEvent> = Api::namespaced(bed.client(), "default");
    let [told] = &bed.soon("it is read", new.list(&about_a)).unwrap().items[..] else {
        panic!("one event")
    };
    assert_eq!(told.series.as_ref().unwrap().count, 3);
    assert_eq!(told.regarding.as_ref().unwrap().uid, made.uid());
    assert_eq!(told.reporting_instance.as_deref(), Some("theirs-0"));
    let about_a = ListParams::default().fields("involvedObject.name=a");
    let old: Api<CoreEvent> = Api::namespaced(bed.client(), "default");
    let [told] = &bed.soon("it is read", old.list(&about_a)).unwrap().items[..] else {
        panic!("one event")
    };
    let words = (
        told.type_.as_deref(),
        told.reason.as_deref(),
        told.message.as_deref(),
    );
    assert_eq!(words, (Some("Warning"), Some("Seen"), Some("it was seen")));
}

#[test]
fn a_typed_object_lives_its_life() {
    let bed = Bed::new();
    let secrets = bed.secrets();
    let made: Secret = serde_json::from_value(secret("a")).unwrap();
    let made = bed
        .soon("it is made", secrets.create(&PostParams::default(), &made))
        .unwrap();
    assert_eq!(made.data.as_ref().unwrap()["k"].0, b"v");
    let meta = bed.soon("its metadata", secrets.get_metadata("a")).unwrap();
    assert_eq!(meta.uid(), made.uid());
    let label = Patch::Merge(json!({"metadata": {"labels": {"of": "a"}}}));
    let way = PatchParams::default();
    let labelled = secrets.patch_metadata("a", &way, &label);
    bed.soon("it is labelled", labelled).unwrap();
    let stale = bed.soon(
        "a stale write",
        secrets.replace("a", &PostParams::default(), &made),
    );
    assert!(refusal(stale).is_conflict());
    assert!(bed.soon("nothing", secrets.get_opt("b")).unwrap().is_none());
    for name in ["b", "c", "d"] {
        let mut more = secret(name);
        more["metadata"]["labels"] = json!({"of": "b"});
        bed.post(SECRETS, &more).is(201);
    }
    let two = ListParams::default().labels("of=b").limit(2);
    let page = bed.soon("a page", secrets.list(&two)).unwrap();
    let rest = two
        .clone()
        .continue_token(page.metadata.continue_.as_deref().unwrap());
    let rest = bed.soon("the rest", secrets.list(&rest)).unwrap();
    assert_eq!((page.items.len(), rest.items.len()), (2, 1));
    let (way, some) = (
        DeleteParams::default(),
        ListParams::default().labels("of=b"),
    );
    let gone = secrets.delete_collection(&way, &some);
    bed.soon("some go", gone).unwrap();
    let left = bed
        .soon("a list", secrets.list_metadata(&ListParams::default()))
        .unwrap();
    assert_eq!(
        left.items
            .iter()
            .map(ResourceExt::name_any)
            .collect::<Vec<_>>(),
        ["a"]
    );
}
