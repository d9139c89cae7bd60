//! Moments and spans of time as the contract counts them: in whole milliseconds.

use std::time::Duration;

use jiff::Timestamp;

/// Converts to milliseconds; what does not fit becomes the longest span.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Converts from milliseconds.
pub(crate) fn from_millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Writes a moment, in milliseconds since 1970, as RFC 3339 in UTC. One beyond the year 9999 is written as that year's end.
pub fn rfc3339(milliseconds: u64) -> String {
    let moment = i64::try_from(milliseconds)
        .ok()
        .and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok())
        .unwrap_or(Timestamp::MAX);
    moment.to_string()
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn any_moment_can_be_written() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_771_470_000_123), "2026-02-19T03:00:00.123Z");
        assert!(rfc3339(u64::MAX).starts_with("9999-"));
    }
}
