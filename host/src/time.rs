//! Spans of time as the contract counts them: in whole milliseconds.

use std::time::Duration;

/// Converts to milliseconds; what does not fit becomes the longest span.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Converts from milliseconds.
pub(crate) fn from_millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
