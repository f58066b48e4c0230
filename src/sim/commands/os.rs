//! What the cloud knows of guests: operating systems, images that it has none of, hypervisors.

use super::call::{Answered, Call};
use super::catalogue::nothing;
use super::declare::{Command, sync};
use crate::sim::view::RowOf;
use crate::sim::world::catalogue::{Catalogue, Row};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "listOsTypes",
        "id:uuid oscategoryid:uuid description fordisplay:boolean",
        types,
    ),
    sync(
        "listOsCategories",
        "id:uuid name isfeatured:boolean",
        categories,
    ),
    sync(
        "listIsos",
        "id:uuid name isofilter zoneid:uuid hypervisor isready:boolean ispublic:boolean \
         bootable:boolean showremoved:boolean tags:map @owned",
        nothing,
    ),
    sync("listHypervisors", "zoneid:uuid", hypervisors),
];

/// The categories, with the ids that they have here.
const CATEGORIES: [(&str, &str); 4] = [
    ("5c1e0000-0000-4000-8000-000000050001", "CentOS"),
    ("5c1e0000-0000-4000-8000-000000050002", "Debian"),
    ("5c1e0000-0000-4000-8000-000000050003", "Ubuntu"),
    ("5c1e0000-0000-4000-8000-000000050004", "Other"),
];

fn category_of(name: &str) -> (&'static str, &'static str) {
    let known = CATEGORIES.iter().find(|(_, word)| name.starts_with(word));
    known.copied().unwrap_or(CATEGORIES[3])
}

/// `listOsTypes`: those of the templates.
pub(crate) fn types(call: &mut Call<'_>) -> Answered {
    let offered = &call.world.catalogue;
    let templates = offered.system_templates.iter().chain(&offered.templates);
    let mut known: Vec<(String, String)> = templates
        .map(|row| {
            let of = |member| Catalogue::text(row, member).to_owned();
            (of("ostypename"), of("ostypeid"))
        })
        .collect();
    known.sort();
    known.dedup();
    let mut rows: Vec<Row> = known
        .into_iter()
        .map(|(name, id)| {
            let (category, category_name) = category_of(&name);
            RowOf::new()
                .set("id", id)
                .set("description", name.as_str())
                .set("name", name.as_str())
                .set("oscategoryid", category)
                .set("oscategoryname", category_name)
                .set("isuserdefined", false)
                .set("fordisplay", true)
                .done()
        })
        .collect();
    rows.retain(|row| call.matches(row, &["id", "oscategoryid", "description"]));
    rows.retain(|row| call.holds("keyword", Catalogue::text(row, "description")));
    call.page("ostype", &rows, Clone::clone)
}

/// `listOsCategories`.
pub(crate) fn categories(call: &mut Call<'_>) -> Answered {
    let rows = CATEGORIES.iter();
    let mut rows: Vec<Row> = rows
        .map(|(id, name)| {
            RowOf::new()
                .set("id", *id)
                .set("name", *name)
                .set("isfeatured", true)
                .done()
        })
        .collect();
    rows.retain(|row| call.matches(row, &["id", "name"]));
    call.page("oscategory", &rows, Clone::clone)
}

/// `listHypervisors`.
pub(crate) fn hypervisors(call: &mut Call<'_>) -> Answered {
    let row = RowOf::new().set("name", "Simulator").done();
    call.page("hypervisor", &[row], Clone::clone)
}
