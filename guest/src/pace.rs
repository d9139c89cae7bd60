//! Pacing: how long the next request is held back so that the rate limit is not hit.
//!
//! Every reply of Procore's API says how its window of calls stands: `X-Rate-Limit-Limit`, `-Remaining` and `-Reset` (Unix
//! seconds). From one reply alone follows until when the next request waits:
//!
//! | the reply | the agent's own call | a replay |
//! |---|---|---|
//! | 429 or 503 | as told, [`backoff::asked_wait`] | as told |
//! | nothing remains | until the reset | until the reset |
//! | little remains: less than a quarter of the limit; for a replay, less than half | its share of the time until the reset, 10 s at most | twice its share |
//! | plenty remains, or a header is missing or no number | not at all | not at all |
//!
//! So replays leave half of a window, and half the pace of what is left of it, to the agent. A wait is never longer than
//! [`LONGEST_WAIT`], whatever a header says. Nothing is kept between calls: whoever made the request remembers the answer.

use crate::{
    backoff::{self, LONGEST_WAIT},
    diagnosis::Diagnosis,
    http::{Header, find_header},
};

/// The longest wait of a call that would not be refused. What remains is for use, also where it is little.
const LONGEST_SHARE: u64 = 10_000;

/// Who paces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// An agent's own call.
    Own,
    /// A replay, which leaves room for the agent.
    Replay,
}

/// Returns until when the next request is to wait, in milliseconds since the epoch; `None` where it may go at once.
pub fn pause_until(status: u16, headers: &[Header], now: u64, pace: Pace) -> Option<u64> {
    let wait = match status {
        429 | 503 => backoff::asked_wait(headers, now),
        _ => window_wait(headers, now, pace),
    };
    let wait = wait.unwrap_or(0).min(LONGEST_WAIT);
    (wait > 0).then(|| now.saturating_add(wait))
}

fn window_wait(headers: &[Header], now: u64, pace: Pace) -> Option<u64> {
    let number = |name| find_header(headers, name)?.parse::<u64>().ok();
    let remaining = number("x-rate-limit-remaining")?;
    let reset = number("x-rate-limit-reset")?.saturating_mul(1000);
    let left = reset.saturating_sub(now).min(LONGEST_WAIT);
    if remaining == 0 {
        return Some(left);
    }
    let limit = number("x-rate-limit-limit")?;
    let share = left / remaining.saturating_add(1);
    match pace {
        Pace::Own => (remaining < limit / 4).then_some(share.min(LONGEST_SHARE)),
        Pace::Replay => (remaining < limit / 2).then_some(share.saturating_mul(2).min(left)),
    }
}

/// Says that a request was held back, because it would be refused.
pub fn held_back() -> Diagnosis {
    Diagnosis::new(
        "rate-limited",
        "The rate limit is used up; the request was not sent.",
        "Procore's last reply said that the window has no calls left, and the window ends after the call's time.",
        "Nothing to do: calls go on when the window resets. If it is frequent, call less often.",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn window(limit: &str, remaining: &str, reset: &str) -> Vec<Header> {
        vec![
            Header::new("X-Rate-Limit-Limit", limit),
            Header::new("X-Rate-Limit-Remaining", remaining),
            Header::new("X-Rate-Limit-Reset", reset),
        ]
    }

    fn wait(status: u16, headers: &[Header], pace: Pace) -> u64 {
        pause_until(status, headers, NOW, pace).map_or(0, |until| until - NOW)
    }

    #[test]
    fn s34_the_table_of_pauses() {
        let in_100_s = "1800000100";
        for (status, limit, remaining, reset, own, replay) in [
            (200, "100", "0", in_100_s, 100_000, 100_000),
            (404, "100", "0", in_100_s, 100_000, 100_000),
            (200, "100", "1", in_100_s, 10_000, 100_000),
            (200, "100", "24", in_100_s, 4_000, 8_000),
            (200, "100", "25", in_100_s, 0, 7_692),
            (200, "100", "50", in_100_s, 0, 0),
            (200, "100", "0", "1799999999", 0, 0),
            (200, "100", "0", "9999999999999", LONGEST_WAIT, LONGEST_WAIT),
            (200, "100", "-1", in_100_s, 0, 0),
            (200, "100", "0", "soon", 0, 0),
            (200, "", "3", in_100_s, 0, 0),
            (200, "", "0", in_100_s, 100_000, 100_000),
            (429, "100", "0", in_100_s, 100_000, 100_000),
        ] {
            let headers = window(limit, remaining, reset);
            let case = format!("{status} {limit} {remaining} {reset}");
            assert_eq!(wait(status, &headers, Pace::Own), own, "{case}");
            assert_eq!(wait(status, &headers, Pace::Replay), replay, "{case}");
        }
        let told = [Header::new("Retry-After", "7")];
        assert_eq!(wait(503, &told, Pace::Own), 7_000);
        assert_eq!(wait(200, &told, Pace::Own), 0);
    }

    proptest! {
        #[test]
        fn no_pause_is_longer_than_the_longest(
            status in 100u16..600, limit: u64, remaining: u64, reset: u64, now: u64, replays: bool,
        ) {
            let headers = window(&limit.to_string(), &remaining.to_string(), &reset.to_string());
            let pace = if replays { Pace::Replay } else { Pace::Own };
            if let Some(until) = pause_until(status, &headers, now, pace) {
                prop_assert!(until - now <= LONGEST_WAIT);
            }
        }

        #[test]
        fn whoever_keeps_the_pace_is_not_refused(limit in 1u64..500, seconds in 1u64..=3600, replays: bool) {
            // Alone in a window, from its beginning to its end.
            let pace = if replays { Pace::Replay } else { Pace::Own };
            let (mut now, mut used) = (NOW, 0);
            let reset = NOW + seconds * 1000;
            while now < reset && used <= limit {
                used += 1;
                prop_assert!(used <= limit, "one more than the limit of {limit}");
                let headers = window(&limit.to_string(), &(limit - used).to_string(), &(reset / 1000).to_string());
                now = pause_until(200, &headers, now, pace).unwrap_or(now + 1);
            }
        }

        #[test]
        fn any_headers_get_an_answer(one in ".{0,20}", two in ".{0,20}", three in ".{0,20}") {
            let _ = pause_until(200, &window(&one, &two, &three), NOW, Pace::Own);
        }
    }
}
