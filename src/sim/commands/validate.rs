//! The checks that the server makes of a request before it looks at what its command means:
//! control characters, brackets, what is missing, what is not of its type, and pages.

use super::declare::{Command, Param};
use crate::sim::protocol::{Params, date};
use crate::sim::reply::ApiError;
use crate::sim::world::World;

/// How long a text may be that has no limit of its own.
const TEXT_MAX: usize = 255;

/// Texts that may be longer, by their names.
const LONG_TEXTS: &[(&str, usize)] = &[
    ("userdata", 1_048_576),
    ("publickey", 5_120),
    ("extraconfig", 5_120),
    ("payload", 65_535),
    ("signature", 4_096),
    ("description", 4_096),
    ("reason", 2_500),
    ("payloadurl", 2_048),
    ("url", 2_048),
];

pub(super) fn validate(world: &World, command: &Command, params: &Params) -> Result<(), ApiError> {
    if let Some(name) = params.unprintable() {
        return Err(ApiError::parameter(format!(
            "Received value containing illegal ASCII non-printable characters for parameter {name}"
        )));
    }
    if world.refuses_jobs && command.job.is_some() {
        return Err(ApiError::maintenance());
    }
    if let Some(name) = params.broken_map() {
        return Err(ApiError::malformed(name));
    }
    let mut declared = command.params();
    declared.try_for_each(|param| validate_param(command, param, params))?;
    if command.is_list() {
        validate_page(world, params)
    } else {
        Ok(())
    }
}

fn validate_param(command: &Command, param: Param, params: &Params) -> Result<(), ApiError> {
    let Some(value) = params.get(param.name) else {
        let missing = param.required && params.entries(param.name).is_empty();
        return if missing {
            Err(ApiError::missing(command.name, param.name))
        } else {
            Ok(())
        };
    };
    let readable = match param.kind {
        "integer" => value.parse::<i32>().is_ok(),
        "long" => value.parse::<i64>().is_ok(),
        "short" => value.parse::<i16>().is_ok(),
        "float" => value.trim().parse::<f32>().is_ok(),
        "date" => return validate_date(command, value),
        "string" => return validate_length(command, param.name, value),
        _ => true,
    };
    if readable {
        Ok(())
    } else {
        Err(ApiError::unreadable(command.name, param.name, value))
    }
}

fn validate_date(command: &Command, value: &str) -> Result<(), ApiError> {
    if date(value).is_some() {
        return Ok(());
    }
    let command = command.name.to_lowercase();
    Err(ApiError::parameter(format!(
        "Unable to parse date {value} for command {command}, please pass dates in the format mentioned in the api documentation"
    )))
}

fn validate_length(command: &Command, name: &str, value: &str) -> Result<(), ApiError> {
    let longer = LONG_TEXTS.iter().find(|(text, _)| *text == name);
    let max = longer.map_or(TEXT_MAX, |(_, max)| *max);
    // Java counts UTF-16 units.
    if value.encode_utf16().count() <= max {
        return Ok(());
    }
    let command = command.name.to_lowercase();
    Err(ApiError::parameter(format!(
        "Unable to execute API command {command} due to invalid value. Value greater than max allowed length {max} for param: {name}"
    )))
}

fn validate_page(world: &World, params: &Params) -> Result<(), ApiError> {
    let max = world.settings.default_page_size;
    match (params.get("page"), params.get("pagesize")) {
        (Some(_), None) => Err(ApiError::parameter(
            "\"pagesize\" parameter is required when \"page\" is specified",
        )),
        (None, Some(size)) if size != "-1" => Err(ApiError::parameter(
            "\"page\" parameter is required when \"pagesize\" is specified",
        )),
        (_, Some(size)) if size.parse::<usize>().is_ok_and(|size| size > max) => {
            Err(ApiError::value(format!(
                "Page size can't exceed max allowed page size value: {max}"
            )))
        }
        _ => Ok(()),
    }
}
