//! Procore's two windows of API calls, and the headers that tell about them.

use std::collections::HashMap;

use crate::environment::Environment;
use crate::policy::RateLimit;
use crate::registry::AppId;
use crate::reply::Reply;

/// Whose calls are counted together: an app's in one environment, or all without a known token.
pub(crate) type Caller = (Environment, Option<AppId>);

/// How a caller stands after a call, in the window that leaves the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// When the window ends, in Unix seconds.
    pub(crate) reset: u64,
    pub(crate) exceeded: bool,
}

impl Standing {
    /// Adds the headers `X-Rate-Limit-Limit`, `-Remaining` and `-Reset`, unless a reply has them.
    pub(crate) fn mark(self, reply: Reply) -> Reply {
        if reply
            .headers
            .iter()
            .any(|(name, _)| name == "x-rate-limit-reset")
        {
            return reply;
        }
        reply
            .header("x-rate-limit-limit", self.limit.to_string())
            .header("x-rate-limit-remaining", self.remaining.to_string())
            .header("x-rate-limit-reset", self.reset.to_string())
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    start: u64,
    calls: u32,
}

impl Window {
    fn count(&mut self, now: u64, seconds: u64, limit: u32) -> Standing {
        let start = now - now % seconds;
        if self.start != start {
            *self = Self { start, calls: 0 };
        }
        let exceeded = self.calls >= limit;
        self.calls = self.calls.saturating_add(1).min(limit);
        Standing {
            limit,
            remaining: limit - self.calls,
            reset: start + seconds,
            exceeded,
        }
    }
}

/// Counts calls, failed ones too.
#[derive(Debug, Default)]
pub(crate) struct RateCounter(HashMap<Caller, (Window, Window)>);

impl RateCounter {
    pub(crate) fn count(&mut self, caller: Caller, limit: RateLimit, now_ms: u64) -> Standing {
        let (hour, spike) = self.0.entry(caller).or_default();
        let now = now_ms / 1000;
        let hour = hour.count(now, 3600, limit.hourly);
        let spike = spike.count(now, 10, limit.ten_seconds);
        let exceeded = hour.exceeded || spike.exceeded;
        let tighter = if spike.exceeded || (!hour.exceeded && spike.remaining < hour.remaining) {
            spike
        } else {
            hour
        };
        Standing {
            exceeded,
            ..tighter
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_beyond_the_limit_until_the_window_ends() {
        let mut counter = RateCounter::default();
        let limit = RateLimit {
            hourly: 100,
            ten_seconds: 2,
        };
        let caller = (Environment::Production, None);
        let first = counter.count(caller, limit, 7_200_000);
        assert_eq!(
            (first.remaining, first.reset, first.exceeded),
            (1, 7210, false)
        );
        assert!(!counter.count(caller, limit, 7_201_000).exceeded);
        assert!(counter.count(caller, limit, 7_202_000).exceeded);
        assert!(!counter.count(caller, limit, 7_210_000).exceeded);
    }

    #[test]
    fn counts_environments_apart() {
        let mut counter = RateCounter::default();
        let limit = RateLimit {
            hourly: 1,
            ten_seconds: u32::MAX,
        };
        assert!(
            !counter
                .count((Environment::Production, None), limit, 0)
                .exceeded
        );
        assert!(
            !counter
                .count((Environment::Sandbox, None), limit, 0)
                .exceeded
        );
        assert!(
            counter
                .count((Environment::Sandbox, None), limit, 0)
                .exceeded
        );
    }
}
