//! The commands that list what the cloud offers.

use serde_json::{Value, json};

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, Param, admin, sync};
use super::{shape, table};
use crate::sim::reply::ApiError;
use crate::sim::view::account_name;
use crate::sim::world::Kind;
use crate::sim::world::catalogue::{Catalogue, Row};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync("listCapabilities", "", capabilities),
    sync("listApis", "name", apis),
    sync(
        "listZones",
        "id:uuid ids:list name available:boolean domainid:uuid networktype \
         showcapacities:boolean tags:map",
        zones,
    ),
    sync(
        "listTemplates",
        "templatefilter! id:uuid ids:list name zoneid:uuid hypervisor \
         showunique:boolean showremoved:boolean isready:boolean arch details:list \
         tags:map @owned",
        templates,
    ),
    sync(
        "listServiceOfferings",
        "id:uuid name zoneid:uuid virtualmachineid:uuid templateid:uuid \
         cpunumber:integer memory:integer cpuspeed:integer issystem:boolean state \
         domainid:uuid isrecursive:boolean projectid:uuid",
        service_offerings,
    ),
    sync(
        "listDiskOfferings",
        "id:uuid name zoneid:uuid state domainid:uuid isrecursive:boolean",
        disk_offerings,
    ),
    sync(
        "listNetworkOfferings",
        "id:uuid name zoneid:uuid forvpc:boolean guestiptype state traffictype \
         isdefault:boolean supportedservices:list networkid:uuid \
         sourcenatsupported:boolean specifyvlan:boolean tags displaytext domainid:uuid",
        network_offerings,
    ),
    sync(
        "listVPCOfferings",
        "id:uuid name displaytext state isdefault:boolean zoneid:uuid \
         supportedservices:list domainid:uuid",
        vpc_offerings,
    ),
    admin(
        "listCapacity",
        "type:integer zoneid:uuid podid:uuid clusterid:uuid fetchlatest:boolean sortby",
        capacity,
    ),
];

/// `listCapabilities`.
pub(crate) fn capabilities(call: &mut Call<'_>) -> Answered {
    let mut row = call.world.catalogue.capabilities.clone();
    let settings = &call.world.settings;
    let (admin, expunge) = (call.caller.admin, settings.allow_user_expunge_recover_vm);
    let view = settings.allow_user_view_destroyed_vm;
    row.insert(
        "allowuserexpungerecovervm".to_owned(),
        (admin || expunge).into(),
    );
    row.insert(
        "allowuserviewdestroyedvm".to_owned(),
        (admin || view).into(),
    );
    if let Some(max) = settings.api_throttling_max {
        row.insert("apilimitmax".to_owned(), max.into());
        row.insert("apilimitinterval".to_owned(), 1.into());
    }
    if !admin {
        row.remove("extensionspath");
    }
    Ok(Answer::Object(json!({"capability": row})))
}

/// `listApis`: the commands that the caller may use.
pub(crate) fn apis(call: &mut Call<'_>) -> Answered {
    let known: Vec<_> = table::all()
        .filter(|command| command.access.is_granted_to(&call.caller))
        .filter(|command| call.wants("name", Some(command.name)))
        .collect();
    if let (Some(name), true) = (call.text("name"), known.is_empty()) {
        return Err(ApiError::value(format!(
            "The API [{name}] does not exist or is not available"
        )));
    }
    call.page("api", &known, |command| {
        let params: Vec<Value> = command
            .params()
            .map(|param| described(command, param))
            .collect();
        let row = json!({
            "name": command.name,
            "description": "",
            "isasync": command.job.is_some(),
            "related": shape::related_to(command.name),
            "params": params,
            "response": shape::members_of(command.name),
        });
        row.as_object().cloned().unwrap_or_default()
    })
}

/// A parameter as `listApis` tells it.
fn described(command: &Command, param: Param) -> Value {
    let length = match param.name {
        "userdata" => 1_048_576,
        _ => 255,
    };
    let mut row = json!({
        "name": param.name,
        "description": "",
        "type": param.kind,
        "length": length,
        "required": param.required,
    });
    if param.kind == "uuid" || param.name.ends_with("ids") {
        row["related"] = shape::related_to_param(command.name, param.name).into();
    }
    row
}

/// Members that users are not shown.
fn without(row: &Row, members: &[&str]) -> Row {
    let mut row = row.clone();
    row.retain(|name, _| !members.contains(&name.as_str()));
    row
}

/// `listZones`.
pub(crate) fn zones(call: &mut Call<'_>) -> Answered {
    let zone = &call.world.catalogue.zone;
    let zone = if call.caller.admin {
        zone.clone()
    } else {
        without(zone, &["dns1", "internaldns1", "guestcidraddress"])
    };
    let id = Catalogue::text(&zone, "id");
    let shown = call.tagged(id) && call.matches(&zone, &["id", "name", "networktype"]);
    call.page(
        "zone",
        if shown {
            std::slice::from_ref(&zone)
        } else {
            &[]
        },
        Clone::clone,
    )
}

/// A template as a user sees it.
fn for_users(row: &Row) -> Row {
    let mut row = without(row, &["status", "url"]);
    if let Some(Value::Array(copies)) = row.get_mut("downloaddetails") {
        for copy in copies.iter_mut().filter_map(Value::as_object_mut) {
            copy.remove("datastoreRole");
            copy.remove("datastoreId");
        }
    }
    row
}

/// Whether a template belongs to what a filter shows to an account.
fn is_among(row: &Row, filter: &str, account: &str) -> bool {
    let own = Catalogue::text(row, "account") == account;
    let is = |member: &str| row.get(member) == Some(&true.into());
    match filter {
        "featured" => is("ispublic") && is("isfeatured"),
        "community" => is("ispublic") && !is("isfeatured"),
        "executable" => own || is("ispublic"),
        _ => own,
    }
}

/// `listTemplates`.
pub(crate) fn templates(call: &mut Call<'_>) -> Answered {
    let filter = call.required("templatefilter")?.to_lowercase();
    let offered = &call.world.catalogue;
    let mut rows: Vec<Row> = match filter.as_str() {
        "all" if !call.caller.admin => {
            return Err(ApiError::parameter(
                "Filter all can be specified by admin only",
            ));
        }
        "all" => offered
            .system_templates
            .iter()
            .chain(&offered.templates)
            .cloned()
            .collect(),
        "featured" | "executable" | "self" | "selfexecutable" | "community" => {
            let mine = account_name(call.world, &call.caller.account);
            let rows = offered.templates.iter();
            rows.filter(|row| is_among(row, &filter, mine))
                .cloned()
                .collect()
        }
        "shared" | "sharedexecutable" => Vec::new(),
        other => {
            let text = format!("Invalid templatefilter value: {other}");
            return Err(ApiError::value(text));
        }
    };
    if !call.caller.admin {
        rows = rows.iter().map(for_users).collect();
    }
    rows.retain(|row| call.matches(row, &["id", "name", "zoneid", "hypervisor", "arch"]));
    rows.retain(|row| call.holds("keyword", Catalogue::text(row, "name")));
    call.page("template", &rows, Clone::clone)
}

impl Call<'_> {
    /// Whether an offering is shown: one that was deleted only if it is asked for.
    fn wants_state(&self, row: &Row) -> bool {
        let deleted = Catalogue::text(row, "state") == "Inactive";
        let state = self.text("state").unwrap_or_default();
        let asked = ["inactive", "all"];
        !deleted || asked.iter().any(|word| state.eq_ignore_ascii_case(word))
    }
}

fn offerings<'rows>(
    call: &Call<'_>,
    key: &'static str,
    rows: impl IntoIterator<Item = &'rows Row>,
    members: &[&str],
) -> Answered {
    let rows: Vec<&Row> = rows
        .into_iter()
        .filter(|row| call.matches(row, members))
        .filter(|row| call.wants_state(row))
        .filter(|row| call.holds("keyword", Catalogue::text(row, "name")))
        .collect();
    call.rows(key, &rows)
}

/// `listServiceOfferings`.
pub(crate) fn service_offerings(call: &mut Call<'_>) -> Answered {
    let members = ["id", "name", "cpunumber", "cpuspeed", "memory", "issystem"];
    offerings(
        call,
        "serviceoffering",
        &call.world.catalogue.service_offerings,
        &members,
    )
}

/// `listDiskOfferings`.
pub(crate) fn disk_offerings(call: &mut Call<'_>) -> Answered {
    let rows = &call.world.catalogue.disk_offerings;
    offerings(call, "diskoffering", rows, &["id", "name"])
}

/// `listNetworkOfferings`.
pub(crate) fn network_offerings(call: &mut Call<'_>) -> Answered {
    let members = [
        "id",
        "name",
        "displaytext",
        "forvpc",
        "guestiptype",
        "state",
        "traffictype",
        "isdefault",
        "specifyvlan",
        "specifyipranges",
        "availability",
    ];
    let network = call.id("networkid", Kind::Network)?;
    let network = network.and_then(|id| call.world.networks.get(&id));
    let wanted = call.text("supportedservices").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    let source_nat = call.flag("sourcenatsupported");
    // Those that a network could change to are of its own kind.
    let fits = |row: &Row| {
        let for_vpc = row.get("forvpc") == Some(&true.into());
        network.is_none_or(|network| {
            let kind = format!("{:?}", network.guest_type);
            for_vpc == network.vpc.is_some() && Catalogue::text(row, "guestiptype") == kind
        })
    };
    let rows = call.world.catalogue.network_offerings.iter().filter(|row| {
        wanted.iter().all(|service| Catalogue::offers(row, service))
            && source_nat.is_none_or(|wanted| wanted == Catalogue::offers(row, "SourceNat"))
            && fits(row)
    });
    offerings(call, "networkoffering", rows, &members)
}

/// `listVPCOfferings`, whose name filter is a substring.
pub(crate) fn vpc_offerings(call: &mut Call<'_>) -> Answered {
    let rows = call.world.catalogue.vpc_offerings.iter();
    let named = |row: &&Row| call.holds("name", Catalogue::text(row, "name"));
    let rows: Vec<&Row> = rows.filter(named).collect();
    let rows: Vec<&Row> = rows
        .into_iter()
        .filter(|row| call.matches(row, &["id", "state", "isdefault"]))
        .collect();
    call.rows("vpcoffering", &rows)
}

/// `listCapacity`.
pub(crate) fn capacity(call: &mut Call<'_>) -> Answered {
    offerings(call, "capacity", &call.world.catalogue.capacity, &["type"])
}

/// A list of something that this cloud never has.
pub(crate) fn nothing(_call: &mut Call<'_>) -> Answered {
    Ok(Answer::List {
        key: "nothing",
        count: 0,
        rows: Vec::new(),
    })
}
