//! Offerings and templates that are added and taken away.

use serde_json::{Value, json};

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, admin, sync};
use crate::sim::reply::ApiError;
use crate::sim::view::{RowOf, account_name, date};
use crate::sim::world::Kind;
use crate::sim::world::catalogue::{Catalogue, Row};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    admin(
        "createServiceOffering",
        "name! displaytext cpunumber:integer cpuspeed:integer memory:integer offerha:boolean \
         customized:boolean rootdisksize:long limitcpuuse:boolean storagetype provisioningtype \
         domainid:list zoneid:list hosttags storagetags dynamicscalingenabled:boolean \
         serviceofferingdetails:map",
        create_service,
    ),
    admin("deleteServiceOffering", "id!:uuid", delete_service),
    admin(
        "createDiskOffering",
        "name! displaytext disksize:long customized:boolean storagetype provisioningtype \
         domainid:list zoneid:list tags displayoffering:boolean encrypt:boolean \
         disksizestrictness:boolean details:map",
        create_disk,
    ),
    admin("deleteDiskOffering", "id!:uuid", delete_disk),
    sync(
        "registerTemplate",
        "name! displaytext format! hypervisor! url! ostypeid:uuid zoneid:uuid zoneids:list \
         ispublic:boolean isfeatured:boolean isextractable:boolean passwordenabled:boolean \
         sshkeyenabled:boolean requireshvm:boolean isdynamicallyscalable:boolean checksum \
         templatetag templatetype arch details:map account domainid:uuid projectid:uuid",
        register_template,
    ),
];

/// The most offerings and templates of a kind: enough for any test, and no more.
const ROWS_MAX: usize = 500;

fn full(rows: &[Row]) -> Result<(), ApiError> {
    if rows.len() < ROWS_MAX {
        Ok(())
    } else {
        Err(ApiError::value(
            "No more offerings or templates can be created",
        ))
    }
}

fn positive(call: &Call<'_>, name: &str) -> Result<Option<i64>, ApiError> {
    let value: Option<i64> = call.parsed(name)?;
    match value {
        Some(value) if value <= 0 => Err(ApiError::value(format!(
            "Failed to create service offering: specify the {name} value between 1 and 2147483647"
        ))),
        value => Ok(value),
    }
}

/// `createServiceOffering`: without any size, or with `customized`, machines choose their own.
pub(crate) fn create_service(call: &mut Call<'_>) -> Answered {
    full(&call.world.catalogue.service_offerings)?;
    let name = call.required("name")?;
    let sizes = [
        ("cpunumber", positive(call, "cpunumber")?),
        ("cpuspeed", positive(call, "cpuspeed")?),
        ("memory", positive(call, "memory")?),
    ];
    let given = sizes.iter().filter(|(_, size)| size.is_some()).count();
    let custom = given == 0 || call.flag("customized") == Some(true);
    if !custom && given < sizes.len() {
        let text =
            "For creating a custom compute offering cpu, cpu speed and memory all should be null";
        return Err(ApiError::value(text));
    }
    let text = call.display_text(&name);
    let row = RowOf::new()
        .set("id", call.world.fresh_id())
        .set("name", name.as_str())
        .set("state", "Active")
        .set("displaytext", text.as_str());
    let row = sizes
        .into_iter()
        .fold(row, |row, (name, size)| row.set(name, size));
    let row = row
        .set("created", date(call.world.wall()))
        .set("storagetype", "shared")
        .set("provisioningtype", "thin")
        .set("offerha", call.flag("offerha") == Some(true))
        .set("limitcpuuse", call.flag("limitcpuuse") == Some(true))
        .set("isvolatile", false)
        .set("issystem", false)
        .set("defaultuse", false)
        .set("iscustomized", custom)
        .set(
            "rootdisksize",
            call.parsed::<i64>("rootdisksize")?.unwrap_or(0),
        )
        .set("dynamicscalingenabled", true)
        .set("diskofferingstrictness", false)
        .set("diskofferingid", call.world.fresh_id())
        .set("diskofferingname", name.as_str())
        .set("diskofferingdisplaytext", text)
        .set("encryptroot", false)
        .set("hasannotations", false)
        .done();
    call.world.catalogue.service_offerings.push(row.clone());
    Ok(Answer::Object(json!({"serviceoffering": row})))
}

/// Offers something no more: what was made from it keeps what it has.
fn retire(rows: &mut [Row], id: &str) -> Answered {
    let row = rows.iter_mut().find(|row| Catalogue::text(row, "id") == id);
    if let Some(row) = row {
        row.insert("state".to_owned(), Value::from("Inactive"));
    }
    Ok(Answer::success())
}

/// `deleteServiceOffering`.
pub(crate) fn delete_service(call: &mut Call<'_>) -> Answered {
    let id = call.required_id("id", Kind::ServiceOffering)?;
    retire(&mut call.world.catalogue.service_offerings, &id)
}

/// `createDiskOffering`.
pub(crate) fn create_disk(call: &mut Call<'_>) -> Answered {
    full(&call.world.catalogue.disk_offerings)?;
    let name = call.required("name")?;
    let size: Option<i64> = positive(call, "disksize")?;
    let custom = call.flag("customized") == Some(true);
    if !custom && size.is_none() {
        let text = "Disksize is required for a non-customized disk offering";
        return Err(ApiError::value(text));
    }
    let text = call.display_text(&name);
    let row = RowOf::new()
        .set("id", call.world.fresh_id())
        .set("name", name)
        .set("displaytext", text)
        .set("disksize", size.filter(|_| !custom).unwrap_or(0))
        .set("created", date(call.world.wall()))
        .set("iscustomized", custom)
        .set("storagetype", "shared")
        .set("provisioningtype", "thin")
        .set("displayoffering", true)
        .set("disksizestrictness", false)
        .set("encrypt", false)
        .set("state", "Active")
        .set("hasannotations", false)
        .done();
    call.world.catalogue.disk_offerings.push(row.clone());
    Ok(Answer::Object(json!({"diskoffering": row})))
}

/// `deleteDiskOffering`.
pub(crate) fn delete_disk(call: &mut Call<'_>) -> Answered {
    let id = call.required_id("id", Kind::DiskOffering)?;
    retire(&mut call.world.catalogue.disk_offerings, &id)
}

/// `registerTemplate`. Nothing is downloaded: it is ready at once.
pub(crate) fn register_template(call: &mut Call<'_>) -> Answered {
    full(&call.world.catalogue.templates)?;
    let (name, url) = (call.required("name")?, call.required("url")?);
    let known = ["http://", "https://", "ftp://"];
    if !known.iter().any(|scheme| url.starts_with(scheme)) {
        let text = format!("Please specify a valid url. Unsupported scheme in URL {url}");
        return Err(ApiError::value(text));
    }
    let model = call.world.catalogue.templates.first().cloned();
    let text = call.display_text(&name);
    let admin = call.caller.admin;
    let owner = account_name(call.world, &call.caller.account).to_owned();
    let id = call.world.fresh_id();
    let flag = |name: &str| call.flag(name) == Some(true);
    let row = RowOf::new()
        .with(model.unwrap_or_default())
        .set("id", id)
        .set("name", name)
        .set("displaytext", text)
        .set("url", url)
        .set("account", owner)
        .set("passwordenabled", flag("passwordenabled"))
        .set("sshkeyenabled", flag("sshkeyenabled"))
        .set("ispublic", flag("ispublic") && admin)
        .set("isfeatured", flag("isfeatured") && admin)
        .set("templatetype", "USER")
        .set("created", date(call.world.wall()))
        .done();
    call.world.catalogue.templates.push(row.clone());
    Ok(Answer::List {
        key: "template",
        count: 1,
        rows: vec![row.into()],
    })
}
