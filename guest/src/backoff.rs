//! Exponential backoff with full jitter: how long to wait after passing failures.

use crate::{
    http::{Header, find_header},
    lifetime::scale,
    moment,
};

const FIRST: u64 = 2_000;
const SHORTEST: u64 = 500;
const LONGEST: u64 = 5 * 60_000;

/// The longest wait that a server is believed to have asked for.
pub const LONGEST_WAIT: u64 = 3_600_000;

/// Returns the wait in milliseconds after `failures` failures in a row (1 for the first): up to 2 s, doubling up to 5 min, chosen by
/// `draw` from the whole range, and at least half a second.
pub fn delay(failures: u32, draw: u64) -> u64 {
    let most = FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(LONGEST);
    SHORTEST + scale(most - SHORTEST, draw)
}

/// Returns how long the server asks to wait, in milliseconds from `now`: the later of `Retry-After` (seconds or a date, RFC
/// 9110, section 10.2.3) and `X-Rate-Limit-Reset` (Unix seconds). `None` where neither can be read. The reset of a window that
/// has calls left asks for nothing.
pub fn asked_wait(headers: &[Header], now: u64) -> Option<u64> {
    let retry_after =
        find_header(headers, "retry-after").and_then(|text| match text.parse::<u64>() {
            Ok(seconds) => Some(seconds.saturating_mul(1000)),
            Err(_) => moment::parse_http_date(text).map(|at| at.saturating_sub(now)),
        });
    let number = |name| find_header(headers, name)?.parse::<u64>().ok();
    let is_open = number("x-rate-limit-remaining").is_some_and(|remaining| remaining > 0);
    let reset = number("x-rate-limit-reset").filter(|_| !is_open);
    let reset = reset.map(|seconds| seconds.saturating_mul(1000).saturating_sub(now));
    retry_after.max(reset)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 784_111_777_000;

    #[test]
    fn the_later_of_the_two_headers() {
        let wait = |headers: &[(&str, &str)]| {
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| Header::new(name, value))
                .collect();
            asked_wait(&headers, NOW)
        };
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&[("Retry-After", "7")]), Some(7_000));
        assert_eq!(
            wait(&[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")]),
            Some(60_000)
        );
        assert_eq!(wait(&[("X-Rate-Limit-Reset", "784111787")]), Some(10_000));
        assert_eq!(
            wait(&[("Retry-After", "7"), ("X-Rate-Limit-Reset", "784111787")]),
            Some(10_000)
        );
        assert_eq!(
            wait(&[("Retry-After", "20"), ("X-Rate-Limit-Reset", "784111787")]),
            Some(20_000)
        );
        assert_eq!(
            wait(&[("Retry-After", "soon"), ("X-Rate-Limit-Reset", "x")]),
            None
        );
        let open_window = [
            ("Retry-After", "7"),
            ("X-Rate-Limit-Reset", "784115000"),
            ("X-Rate-Limit-Remaining", "3"),
        ];
        assert_eq!(wait(&open_window), Some(7_000));
    }

    proptest! {
        #[test]
        fn delays_stay_in_their_range(failures in any::<u32>(), draw in any::<u64>()) {
            let delay = delay(failures, draw);
            prop_assert!((SHORTEST..=LONGEST).contains(&delay));
        }

        #[test]
        fn any_header_gets_an_answer(value in ".{0,40}") {
            let _ = asked_wait(&[Header::new("retry-after", &value), Header::new("x-rate-limit-reset", &value)], NOW);
        }
    }
}
