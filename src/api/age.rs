//! Lengths of time in table cells, as kubectl writes them.
//!
//! The steps are those of `HumanDuration` in k8s.io/apimachinery: ever coarser, two units at most.

use jiff::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// How long ago `then` was, or `<unknown>`.
pub(super) fn age(then: Option<Timestamp>, now: Timestamp) -> String {
    match then {
        None => "<unknown>".to_owned(),
        Some(then) => match now.duration_since(then).as_secs() {
            ..-1 => "<invalid>".to_owned(),
            seconds => span(seconds.max(0)),
        },
    }
}

/// A length of time; `seconds` is not negative.
pub(super) fn span(seconds: i64) -> String {
    let s = seconds;
    match s {
        ..120 => format!("{s}s"),
        120..600 => pair(s / MINUTE, "m", s % MINUTE, "s"),
        600..10_800 => format!("{}m", s / MINUTE),
        10_800..28_800 => pair(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        28_800..172_800 => format!("{}h", s / HOUR),
        172_800..691_200 => pair(s / DAY, "d", s % DAY / HOUR, "h"),
        691_200..63_072_000 => format!("{}d", s / DAY),
        63_072_000..252_288_000 => pair(s / YEAR, "y", s % YEAR / DAY, "d"),
        _ => format!("{}y", s / YEAR),
    }
}

fn pair(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_gets_coarser_as_it_grows() {
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (599, "9m59s"),
            (600, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (8 * HOUR - 60, "7h59m"),
            (8 * HOUR, "8h"),
            (2 * DAY - 1, "47h"),
            (8 * DAY - HOUR, "7d23h"),
            (2 * YEAR - 1, "729d"),
            (8 * YEAR - DAY, "7y364d"),
            (9 * YEAR, "9y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(span(seconds), text, "{seconds} seconds");
        }
    }

    #[test]
    fn a_time_to_come_is_invalid_and_a_missing_one_unknown() {
        let now = Timestamp::from_second(1_000).unwrap();
        assert_eq!(
            age(Some(Timestamp::from_second(1_010).unwrap()), now),
            "<invalid>"
        );
        assert_eq!(age(Some(Timestamp::from_second(1_001).unwrap()), now), "0s");
        assert_eq!(age(None, now), "<unknown>");
    }
}
