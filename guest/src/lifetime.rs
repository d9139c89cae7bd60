//! How long a token lives, and when to refresh it.
//!
//! Everything follows from the `expires_in` that the server sent, counted from the moment the request was started, on the
//! local clock: a slow reply makes a token older, never younger.

use miniserde::{Deserialize, Serialize};

const SECOND: u64 = 1000;

/// The shortest lifetime that is believed. It bounds how often a server with an absurd `expires_in` is asked.
pub const SHORTEST: u64 = 60 * SECOND;

/// The longest lifetime that is believed.
pub const LONGEST: u64 = 24 * 3600 * SECOND;

/// What is assumed where the server gave no usable number: the shortest lifetime that Procore has announced.
pub const ASSUMED: u64 = 900 * SECOND;

/// How far the clocks of processes that share a store may be apart.
const CLOCK_TOLERANCE: u64 = 60 * SECOND;

/// A token's lifetime in milliseconds, between [`SHORTEST`] and [`LONGEST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    milliseconds: u64,
    believed: bool,
}

impl Lifetime {
    /// Takes the `expires_in` of a reply, in seconds; `None` where it is missing or no number.
    pub fn received(expires_in: Option<f64>) -> Self {
        match expires_in.filter(|seconds| seconds.is_finite()) {
            None => Self {
                milliseconds: ASSUMED,
                believed: false,
            },
            Some(seconds) => Self::clamped(seconds),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and the result is clamped"
    )]
    fn clamped(seconds: f64) -> Self {
        let given = (seconds * 1000.0) as u64;
        let milliseconds = given.clamp(SHORTEST, LONGEST);
        Self {
            milliseconds,
            believed: seconds >= 0.0 && given == milliseconds,
        }
    }

    /// Returns the lifetime in milliseconds.
    pub fn milliseconds(self) -> u64 {
        self.milliseconds
    }

    /// Whether the server's own number is used: neither missing nor out of range.
    pub fn is_as_received(self) -> bool {
        self.believed
    }
}

/// When a token was asked for, when to refresh it and when it expires: milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// When the request that brought the token was started.
    pub issued_at: u64,
    /// When to refresh.
    pub refresh_at: u64,
    /// When the server stops accepting it.
    pub expires_at: u64,
}

impl Times {
    /// Computes the times of a token.
    ///
    /// `percent` is clamped to 1..=99. The refresh is moved forward by up to `jitter` milliseconds, but by no more than a
    /// tenth of the lifetime, `draw` choosing how far: 0 means not at all, `u64::MAX` all the way.
    pub fn new(issued_at: u64, lifetime: Lifetime, percent: u8, jitter: u64, draw: u64) -> Self {
        let lifetime = lifetime.milliseconds();
        let due = lifetime * u64::from(percent.clamp(1, 99)) / 100;
        let most = jitter.min(lifetime / 10).min(due / 2);
        Self {
            issued_at,
            refresh_at: issued_at.saturating_add(due - scale(most, draw)),
            expires_at: issued_at.saturating_add(lifetime),
        }
    }

    /// Whether the token can be used at `now`. A clock that was set back to before the token's issue is not trusted to
    /// say that it lives: the token would seem fresh for longer than its lifetime.
    pub fn is_live(&self, now: u64) -> bool {
        self.is_credible(now) && now < self.expires_at
    }

    /// Whether it is time to refresh at `now`.
    pub fn is_due(&self, now: u64) -> bool {
        !self.is_credible(now) || now >= self.refresh_at
    }

    /// Whether `now` is not before the issue by more than the clocks of two processes may differ.
    fn is_credible(&self, now: u64) -> bool {
        now.saturating_add(CLOCK_TOLERANCE) >= self.issued_at
    }
}

/// Returns `most` times `draw` / `u64::MAX`.
pub fn scale(most: u64, draw: u64) -> u64 {
    u64::try_from(u128::from(most) * u128::from(draw) / u128::from(u64::MAX)).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::json::Fields;

    #[test]
    fn s45_whatever_expires_in_says() {
        for (received, seconds, believed) in [
            (json!(5400), 5400, true),
            (json!("5400"), 5400, true),
            (json!(900), 900, true),
            (json!(5378.0), 5378, true),
            (json!(10), 60, false),
            (json!(0), 60, false),
            (json!(-1), 60, false),
            (json!(1e12), 24 * 3600, false),
            (json!("soon"), 900, false),
            (json!(null), 900, false),
            (json!("inf"), 900, false),
            (json!("NaN"), 900, false),
        ] {
            let reply = json!({ "expires_in": received }).to_string();
            let fields = Fields::read(reply.as_bytes()).expect("an object");
            let lifetime = Lifetime::received(fields.number("expires_in"));
            assert_eq!(
                (lifetime.milliseconds(), lifetime.is_as_received()),
                (seconds * 1000, believed),
                "{received}"
            );
        }
        assert_eq!(Lifetime::received(None).milliseconds(), ASSUMED);
    }

    #[test]
    fn refresh_at_80_per_cent() {
        let times = Times::new(1_000_000, Lifetime::received(Some(5400.0)), 80, 0, 0);
        assert_eq!(
            (times.refresh_at, times.expires_at),
            (1_000_000 + 4_320_000, 1_000_000 + 5_400_000)
        );
    }

    #[test]
    fn s44_a_clock_set_back_ends_the_trust() {
        let issued = 10_000_000;
        let times = Times::new(issued, Lifetime::received(Some(5400.0)), 80, 0, 0);
        let ten_minutes = 600_000;
        assert!(times.is_live(issued) && !times.is_due(issued));
        assert!(!times.is_live(issued - ten_minutes) && times.is_due(issued - ten_minutes));
        assert!(times.is_live(issued + ten_minutes) && !times.is_due(issued + ten_minutes));
        assert!(!times.is_live(issued + 8 * 3_600_000) && times.is_due(issued + 8 * 3_600_000));
    }

    proptest! {
        #[test]
        fn due_before_expiry_and_never_in_a_tight_loop(
            issued in 0u64..=u64::MAX / 2,
            expires_in in proptest::num::f64::ANY,
            percent in any::<u8>(),
            jitter in any::<u64>(),
            draw in any::<u64>(),
        ) {
            let lifetime = Lifetime::received(Some(expires_in));
            let times = Times::new(issued, lifetime, percent, jitter, draw);
            prop_assert!(times.issued_at < times.refresh_at && times.refresh_at < times.expires_at);
            prop_assert!(times.expires_at - times.issued_at >= SHORTEST && times.expires_at - times.issued_at <= LONGEST);
            if percent >= 80 {
                prop_assert!(times.refresh_at - times.issued_at >= SHORTEST * 7 / 10);
            }
        }

        #[test]
        fn scale_stays_within(most in any::<u64>(), draw in any::<u64>()) {
            prop_assert!(scale(most, draw) <= most);
            prop_assert_eq!(scale(most, u64::MAX), most);
            prop_assert_eq!(scale(most, 0), 0);
        }
    }
}
