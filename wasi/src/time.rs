//! Time, and randomness.

use std::time::Duration;

use wasi::clocks::{monotonic_clock, wall_clock};

/// The wall clock, in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let now = wall_clock::now();
    now.seconds
        .saturating_mul(1000)
        .saturating_add(u64::from(now.nanoseconds / 1_000_000))
}

/// The time since an arbitrary fixed point.
pub(crate) fn elapsed() -> Duration {
    Duration::from_nanos(monotonic_clock::now())
}

/// Waits.
pub(crate) fn sleep(span: Duration) {
    if !span.is_zero() {
        monotonic_clock::subscribe_duration(nanos(span)).block();
    }
}

/// Converts for WASI; what does not fit becomes the longest span.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns random bytes fit for keys.
pub(crate) fn random(count: usize) -> Vec<u8> {
    wasi::random::random::get_random_bytes(count as u64)
}
