//! What is known of the tries to deliver to one sink, shared by all processes.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::time::millis;

/// The longest pause between two tries, and the pause after a refusal.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// The longest that a sink is left alone because it asks for it. A moment further away than this is the mark of a clock that was
/// set back, and does not count.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(6 * 3600);

/// How long an alert steps aside that a sink does not take while it takes others.
pub(crate) const ASIDE: Duration = Duration::from_secs(3600);

/// The tries since the last success. It is lost without harm: then the next try comes sooner.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Attempts {
    /// Failed tries in a row.
    pub(crate) failures: u32,
    /// When the first of them was.
    pub(crate) since: Option<u64>,
    /// What the last of them said.
    pub(crate) last_error: Option<String>,
    /// When the next try is due.
    pub(crate) next_try_at: u64,
    /// When the next try of an alert is due that was never tried: a sink that refused others may take it.
    pub(crate) next_new_try_at: u64,
    /// Failed tries per alert.
    pub(crate) tries: BTreeMap<String, u32>,
    /// The alerts that have stepped aside, and until when.
    pub(crate) aside: BTreeMap<String, u64>,
}

impl Attempts {
    /// Notes that the sink took an alert.
    pub(crate) fn succeeded(&mut self, id: &str) {
        let aside = std::mem::take(&mut self.aside);
        let tries = std::mem::take(&mut self.tries);
        *self = Self {
            aside,
            tries,
            ..Self::default()
        };
        self.forget(id);
    }

    /// Notes that the sink did not take an alert, and why.
    pub(crate) fn failed(&mut self, id: &str, error: &str, now: u64) {
        self.failures = self.failures.saturating_add(1);
        self.since.get_or_insert(now);
        self.last_error = Some(error.to_owned());
        self.failed_too(id);
    }

    /// Notes that a second alert was tried with one that the sink did not take, in vain too.
    pub(crate) fn failed_too(&mut self, id: &str) {
        let tries = self.tries.entry(id.to_owned()).or_default();
        *tries = tries.saturating_add(1);
    }

    /// Sets when the next try is due, and when that of an alert which was never tried is.
    pub(crate) fn pause(&mut self, pause: Duration, of_new: Duration, now: u64) {
        self.next_try_at = now.saturating_add(millis(pause));
        self.next_new_try_at = now.saturating_add(millis(of_new));
    }

    /// Returns how many tries of this alert have failed.
    pub(crate) fn tries(&self, id: &str) -> u32 {
        self.tries.get(id).copied().unwrap_or(0)
    }

    /// Puts an alert aside. Returns whether it was before.
    pub(crate) fn put_aside(&mut self, id: &str, now: u64) -> bool {
        let until = now.saturating_add(millis(ASIDE));
        self.aside.insert(id.to_owned(), until).is_some()
    }

    /// Returns how long an alert stays aside; `None` where it takes its turn.
    fn aside_for(&self, id: &str, now: u64) -> Option<Duration> {
        self.aside.get(id).and_then(|until| left(*until, now))
    }

    /// Returns when what was tried before is tried again; `None` where that is due.
    pub(crate) fn paused_until(&self, now: u64) -> Option<u64> {
        left(self.next_try_at, now).map(|_| self.next_try_at)
    }

    /// Returns how long an alert has to wait; `None` where it is due.
    pub(crate) fn left(&self, id: &str, now: u64) -> Option<Duration> {
        let pause = match self.tries(id) {
            0 => self.next_new_try_at,
            _ => self.next_try_at,
        };
        left(pause, now).max(self.aside_for(id, now))
    }

    /// Forgets an alert that does not wait any more.
    pub(crate) fn forget(&mut self, id: &str) {
        self.tries.remove(id);
        self.aside.remove(id);
    }
}

fn left(until: u64, now: u64) -> Option<Duration> {
    let left = Duration::from_millis(until.saturating_sub(now));
    (!left.is_zero() && left <= LONGEST_RETRY_AFTER).then_some(left)
}

/// Returns the pause after so many failures in a row: doubled each time, of which the second half is random by `chance`, from 0 to
/// 1, and never shorter than the sink asks for.
pub(crate) fn backoff(
    first: Duration,
    failures: u32,
    retry_after: Option<Duration>,
    chance: f64,
) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(20)));
    let longest = doubled.min(LONGEST_PAUSE);
    let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
    longest.mul_f64(0.5 + 0.5 * chance).max(asked)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Attempts, LONGEST_PAUSE, backoff};

    const FIRST: Duration = Duration::from_secs(5);

    #[test]
    fn pauses_double_to_a_quarter_of_an_hour() {
        for (failures, most) in [(1, 5), (2, 10), (3, 20), (9, 900), (u32::MAX, 900)] {
            let most = Duration::from_secs(most);
            for chance in [0.0, 0.5, 1.0] {
                let pause = backoff(FIRST, failures, None, chance);
                assert!(pause >= most / 2 && pause <= most, "{failures}: {pause:?}");
            }
        }
    }

    #[test]
    fn what_the_sink_asks_for_counts_within_reason() {
        let minute = Duration::from_secs(60);
        assert_eq!(backoff(FIRST, 1, Some(minute), 1.0), minute);
        let for_ever = backoff(FIRST, 1, Some(Duration::MAX), 1.0);
        assert_eq!(for_ever, Duration::from_secs(6 * 3600));
    }

    #[test]
    fn a_clock_that_was_set_back_stops_nothing() {
        let day = 86_400_000;
        let mut attempts = Attempts::default();
        attempts.pause(LONGEST_PAUSE, LONGEST_PAUSE, 10 * day);
        assert_eq!(attempts.left("a", 10 * day), Some(LONGEST_PAUSE));
        assert_eq!(attempts.left("a", 9 * day), None);
        attempts.put_aside("a", 10 * day);
        assert!(attempts.aside_for("a", 10 * day).is_some());
        assert_eq!(attempts.aside_for("a", 0), None);
    }
}
