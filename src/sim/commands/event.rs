//! The event feed.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, sync};
use crate::sim::protocol;
use crate::sim::reply::ApiError;
use crate::sim::view;
use crate::sim::world::Event;

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[sync(
    "listEvents",
    "id:uuid type level state resourceid resourcetype startid startdate:date \
         enddate:date entrytime:integer duration:integer archived:boolean @owned",
    list,
)];

/// Reads a time: with an offset, in UTC without one, or a bare day.
pub(super) fn time(
    call: &Call<'_>,
    name: &str,
    end_of_day: bool,
) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = call.text(name) else {
        return Ok(None);
    };
    let civil = text
        .parse::<DateTime>()
        .ok()
        .filter(|_| text.len() > 10)
        .or_else(|| {
            let day: Date = text.parse().ok()?;
            let time = if end_of_day {
                Time::constant(23, 59, 59, 0)
            } else {
                Time::midnight()
            };
            Some(day.to_datetime(time))
        });
    let utc = civil.and_then(|civil| TimeZone::UTC.to_timestamp(civil).ok());
    let read = protocol::instant(text).or(utc);
    let command = call.command.name.to_lowercase();
    read.map(Some).ok_or_else(|| {
        ApiError::parameter(format!(
            "Unable to execute API command {command} due to invalid value {text} for parameter {name}"
        ))
    })
}

/// `listEvents`: pages run from the newest event backwards, and each page reads forwards.
pub(crate) fn list(call: &mut Call<'_>) -> Answered {
    if call.text("resourceid").is_some() && call.text("resourcetype").is_none() {
        let text = "resourceid and resourcetype must be specified together";
        return Err(ApiError::value(text));
    }
    let (start, end) = (
        time(call, "startdate", false)?,
        time(call, "enddate", true)?,
    );
    // Events are written down to the second, and compared so.
    let since = |event: &&Event| {
        start.is_none_or(|start| event.created.as_second() >= start.as_second())
            && end.is_none_or(|end| event.created.as_second() <= end.as_second())
    };
    let events: Vec<&Event> = call
        .world
        .events
        .iter()
        .rev()
        .filter(|event| call.sees(Some(&event.account)))
        .filter(since)
        .filter(|event| call.wants("id", Some(&event.id)))
        .filter(|event| call.wants("type", Some(&event.kind)))
        .filter(|event| call.wants("level", Some(&event.level)))
        .filter(|event| call.wants("state", Some(&event.state)))
        .filter(|event| call.wants("resourceid", event.resource.as_deref()))
        .filter(|event| call.wants("resourcetype", Some(&event.resource_type)))
        .filter(|event| call.holds("keyword", &event.description))
        .collect();
    let page = call.page("event", &events, |event| view::event(call.world, event))?;
    Ok(match page {
        Answer::List {
            key,
            count,
            mut rows,
        } => {
            rows.reverse();
            Answer::List { key, count, rows }
        }
        other => other,
    })
}
