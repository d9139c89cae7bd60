//! Moments as people read them.

use std::time::{Duration, UNIX_EPOCH};

/// The last moment that has a four-digit year.
const LAST: u64 = 253_402_300_799_000;

/// Writes a moment (milliseconds since the epoch) as an HTTP date, in UTC (RFC 9110, section 5.6.7).
pub fn text(at: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(at.min(LAST)))
}

/// Writes a span of milliseconds in its largest whole units, such as `72 min` or `45 s`.
pub fn span(milliseconds: u64) -> String {
    match milliseconds / 1000 {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// Reads an HTTP date as milliseconds since the epoch.
pub fn parse_http_date(text: &str) -> Option<u64> {
    let since = httpdate::parse_http_date(text)
        .ok()?
        .duration_since(UNIX_EPOCH)
        .ok()?;
    u64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        assert_eq!(text(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(
            parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(784_111_777_000)
        );
        assert_eq!(
            (span(45_000), span(4_320_000), span(30_000_000)),
            ("45 s".to_owned(), "72 min".to_owned(), "8 h".to_owned())
        );
        let _ = text(u64::MAX);
    }
}
