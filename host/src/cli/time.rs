//! Moments and spans of time, as people and programs write and read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::{Span, SpanRelativeTo};
use procore_auth_host::internals;

/// Returns the wall clock in Unix milliseconds.
pub(crate) fn now() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// Parses a span such as `30s`, `60m`, `1h 30m` or `7d`. A day has 24 hours.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let refused =
        || format!("{text:?} is not a span of time: write it like \"30s\", \"60m\" or \"7d\"");
    let span: Span = text.parse().map_err(|_| refused())?;
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| refused())?;
    Duration::try_from(duration).map_err(|_| refused())
}

/// Writes a moment as RFC 3339 in UTC, to the second.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    internals::rfc3339(unix_ms - unix_ms % 1000)
}

/// Tells how far a moment is away: `in 71 min` or `5 min ago`.
pub(crate) fn relative(unix_ms: u64, now: u64) -> String {
    if unix_ms > now {
        format!("in {}", rough(Duration::from_millis(unix_ms - now)))
    } else {
        format!("{} ago", rough(Duration::from_millis(now - unix_ms)))
    }
}

/// Tells how long it is from one moment to a later one: `71 min`.
pub(crate) fn span(from: u64, to: u64) -> String {
    rough(Duration::from_millis(to.saturating_sub(from)))
}

/// Writes a span in its largest fitting unit, rounded.
pub(crate) fn rough(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", (seconds + 30) / 60),
        seconds @ 7200..172_800 => format!("{} h", (seconds + 1800) / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{parse_span, relative, rfc3339};

    #[test]
    fn spans_are_parsed() {
        for (text, seconds) in [
            ("30s", 30),
            ("60m", 3600),
            ("1h 30m", 5400),
            ("7d", 604_800),
        ] {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "30", "-30s", "soon", "1 month"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_are_written() {
        assert_eq!(rfc3339(1_771_470_000_123), "2026-02-19T03:00:00Z");
        assert_eq!(relative(71 * 60_000, 0), "in 71 min");
        assert_eq!(relative(0, 5000), "5 s ago");
    }
}
