//! What the cloud offers before anybody creates anything: zone, templates, offerings, hosts.
//!
//! The rows are kept as CloudStack answers them, in `catalogue.json`; nothing in a world changes
//! them. The first of each kind are those of the recorded server; the extras are machines and
//! templates of a size that a demonstration likes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Size;

/// A row of a reply.
pub type Row = Map<String, Value>;

/// The rows that never change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Catalogue {
    /// What `listCapabilities` tells a root admin.
    pub capabilities: Row,
    /// The one zone.
    pub zone: Row,
    /// The templates that everybody may use.
    pub templates: Vec<Row>,
    /// The templates of system machines, which only admins see.
    #[serde(rename = "systemtemplates")]
    pub system_templates: Vec<Row>,
    /// The service offerings.
    #[serde(rename = "serviceofferings")]
    pub service_offerings: Vec<Row>,
    /// The disk offerings.
    #[serde(rename = "diskofferings", default)]
    pub disk_offerings: Vec<Row>,
    /// The VPC offerings.
    #[serde(rename = "vpcofferings")]
    pub vpc_offerings: Vec<Row>,
    /// The network offerings.
    #[serde(rename = "networkofferings")]
    pub network_offerings: Vec<Row>,
    /// The four hosts.
    pub hosts: Vec<Row>,
    /// What `listCapacity` says.
    pub capacity: Vec<Row>,
    /// The services of a network, by the name of its offering.
    #[serde(rename = "networkservices")]
    pub network_services: Map<String, Value>,
    #[serde(rename = "extratemplates", default, skip_serializing)]
    extra_templates: Vec<Row>,
    #[serde(rename = "extraserviceofferings", default, skip_serializing)]
    extra_service_offerings: Vec<Row>,
    #[serde(rename = "extranetworkofferings", default, skip_serializing)]
    extra_network_offerings: Vec<Row>,
}

impl Catalogue {
    /// The rows of the recorded server and the extras.
    #[must_use]
    pub fn full() -> Self {
        let mut catalogue = Self::recorded();
        catalogue.templates.append(&mut catalogue.extra_templates);
        catalogue
            .service_offerings
            .append(&mut catalogue.extra_service_offerings);
        catalogue
            .network_offerings
            .append(&mut catalogue.extra_network_offerings);
        catalogue
    }

    /// The rows of the recorded server alone.
    ///
    /// # Panics
    /// Never: the file is part of the program, and a test reads it.
    #[must_use]
    pub fn recorded() -> Self {
        serde_json::from_str(include_str!("../catalogue.json"))
            .expect("catalogue.json is part of the program and is read by a test")
    }

    /// The text of a member of a row.
    #[must_use]
    pub fn text<'row>(row: &'row Row, member: &str) -> &'row str {
        row.get(member).and_then(Value::as_str).unwrap_or_default()
    }

    /// The number in a member of a row.
    #[must_use]
    pub fn number(row: &Row, member: &str) -> i64 {
        row.get(member).and_then(Value::as_i64).unwrap_or_default()
    }

    /// What a service offering gives a machine.
    #[must_use]
    pub fn size(row: &Row) -> Size {
        Size {
            cpus: Self::number(row, "cpunumber"),
            mhz: Self::number(row, "cpuspeed"),
            memory_mib: Self::number(row, "memory"),
        }
    }

    /// Whether the row of a network offering has a service.
    pub(crate) fn offers(row: &Row, service: &str) -> bool {
        let services = row.get("service").and_then(Value::as_array);
        services.is_some_and(|services| services.iter().any(|known| known["name"] == service))
    }

    /// The row with this id.
    #[must_use]
    pub fn find<'rows>(rows: &'rows [Row], id: &str) -> Option<&'rows Row> {
        rows.iter().find(|row| Self::text(row, "id") == id)
    }

    /// The id of the zone.
    #[must_use]
    pub fn zone_id(&self) -> &str {
        Self::text(&self.zone, "id")
    }

    /// The domain that everything here belongs to.
    #[must_use]
    pub fn domain_id(&self) -> &str {
        self.templates
            .first()
            .map_or("", |row| Self::text(row, "domainid"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_can_be_read_and_has_four_hosts() {
        let full = Catalogue::full();
        assert_eq!(full.hosts.len(), 4);
        assert_eq!(
            full.templates.len(),
            Catalogue::recorded().templates.len() + 2
        );
    }
}
