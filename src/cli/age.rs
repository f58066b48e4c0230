//! Lengths of time as kubectl writes them, rounded so that a glance is enough.
//!
//! The thresholds are those of `HumanDuration` in k8s.io/apimachinery 0.34.

use jiff::Timestamp;

/// How long ago `then` was; `<unknown>` where there is no such time.
pub(super) fn age(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map_or_else(|| "<unknown>".to_owned(), |then| between(then, now))
}

/// The length of the time from `then` to `now`; `<invalid>` where that is negative.
pub(super) fn between(then: Timestamp, now: Timestamp) -> String {
    match now.duration_since(then).as_secs() {
        ..-1 => "<invalid>".to_owned(),
        seconds => human(seconds.max(0)),
    }
}

fn human(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let years = days / 365;
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        pair(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        pair(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        pair(days, "d", hours % 24, "h")
    } else if years < 2 {
        format!("{days}d")
    } else if years < 8 {
        pair(years, "y", days % 365, "d")
    } else {
        format!("{years}y")
    }
}

fn pair(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit}{small}{small_unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_kubectls() {
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (599, "9m59s"),
            (10_799, "179m"),
            (10_800, "3h"),
            (28_799, "7h59m"),
            (172_799, "47h"),
            (691_199, "7d23h"),
            (63_071_999, "729d"),
            (252_287_999, "7y364d"),
            (252_288_000, "8y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human(seconds), text);
        }
    }

    #[test]
    fn a_time_to_come_is_invalid_unless_clocks_differ_by_a_second() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(between(at(11), at(10)), "0s");
        assert_eq!(between(at(15), at(10)), "<invalid>");
        assert_eq!(age(None, at(0)), "<unknown>");
    }
}
