//! The overwrite of the monthly sandbox: on the first working day of each month Procore overwrites it from production, and its
//! tokens are expected to die.
//!
//! Procore names neither an hour nor a time zone (`docs/procore-oauth.md`). So "the day" is taken widely: from 00:00 UTC of the
//! month's first weekday until the end, in Pacific time, of the first weekday that is no holiday in the United States. Only New
//! Year's Day and Labor Day can stand in between.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use procore_auth_host::{ConnectionName, Environment};

/// The hour in UTC at which a winter's day ends in Pacific time; in summer it ends an hour sooner.
const END_OF_DAY: i8 = 8;

/// Tells, for a connection to the monthly sandbox, that today is the day, or that its trouble began on it. Nothing is told of the
/// other environments: the overwrite does not touch them.
pub(super) fn note(
    name: &ConnectionName,
    environment: Environment,
    trouble_since: Option<u64>,
    now: u64,
) -> Option<String> {
    if environment != Environment::MonthlySandbox {
        return None;
    }
    let when = if is_around(now) {
        "which is today"
    } else if trouble_since.is_some_and(is_around) {
        "and this began on that day"
    } else {
        return None;
    };
    Some(format!(
        "Procore overwrites the monthly sandbox from production on the first working day of each month, {when}: its tokens are expected to die. Once it is done, `procore-auth login --connection {name}`. Production is not touched."
    ))
}

/// Returns whether a moment, in Unix milliseconds, is on the day of an overwrite.
fn is_around(at: u64) -> bool {
    days(at).is_some_and(|(first, last, at)| {
        let end = last.tomorrow().map(|day| day.at(END_OF_DAY, 0, 0, 0));
        at >= first.at(0, 0, 0, 0) && end.is_ok_and(|end| at < end)
    })
}

/// Returns the earliest and the latest day that it may be in the moment's month, and the moment, in UTC.
fn days(at: u64) -> Option<(Date, Date, jiff::civil::DateTime)> {
    let at = Timestamp::from_millisecond(i64::try_from(at).ok()?).ok()?;
    let at = TimeZone::UTC.to_datetime(at);
    let mut weekdays = at
        .date()
        .first_of_month()
        .series(1.day())
        .filter(|day| !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday));
    let first = weekdays.next()?;
    let last = if is_holiday(first) {
        weekdays.next()?
    } else {
        first
    };
    Some((first, last, at))
}

/// Returns whether the first weekday of a month is a holiday in the United States.
fn is_holiday(first_weekday: Date) -> bool {
    let is_monday = first_weekday.weekday() == Weekday::Monday;
    match first_weekday.month() {
        // On a Sunday it is observed on the Monday.
        1 => first_weekday.day() == 1 || (first_weekday.day() == 2 && is_monday),
        9 => is_monday,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use procore_auth_host::Environment::{MonthlySandbox, Production, Sandbox};

    use super::{is_around, note};

    fn at(text: &str) -> u64 {
        let at: jiff::Timestamp = text.parse().expect("a moment");
        u64::try_from(at.as_millisecond()).expect("after 1970")
    }

    #[test]
    fn s54_the_day_is_the_first_working_day_in_any_zone_that_it_may_be_meant_in() {
        for (from, until) in [
            // 1 August 2026 is a Saturday.
            ("2026-08-03T00:00:00Z", "2026-08-04T08:00:00Z"),
            ("2026-10-01T00:00:00Z", "2026-10-02T08:00:00Z"),
            // New Year's Day, and one that is observed on the Monday.
            ("2026-01-01T00:00:00Z", "2026-01-03T08:00:00Z"),
            ("2023-01-02T00:00:00Z", "2023-01-04T08:00:00Z"),
            // Labor Day.
            ("2025-09-01T00:00:00Z", "2025-09-03T08:00:00Z"),
        ] {
            let (from, until) = (at(from), at(until));
            assert!(!is_around(from - 1) && is_around(from), "{from}");
            assert!(is_around(until - 1) && !is_around(until), "{until}");
        }
        assert!(!is_around(u64::MAX));
    }

    #[test]
    fn s54_only_the_monthly_sandbox_is_labelled() {
        let name = "acme".parse().expect("valid");
        let (day, later) = (at("2026-08-03T12:00:00Z"), at("2026-08-05T12:00:00Z"));
        let today = note(&name, MonthlySandbox, None, day).expect("labelled");
        assert!(today.contains("which is today"), "{today}");
        assert!(today.contains("Production is not touched"), "{today}");
        let since = note(&name, MonthlySandbox, Some(day), later).expect("labelled");
        assert!(since.contains("began on that day"), "{since}");
        assert_eq!(note(&name, MonthlySandbox, Some(later), later), None);
        assert_eq!(note(&name, MonthlySandbox, None, later), None);
        for environment in [Production, Sandbox] {
            assert_eq!(note(&name, environment, Some(day), day), None);
        }
    }
}
