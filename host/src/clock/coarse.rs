//! The kernel's clocks as they stood at its last tick: read in a few nanoseconds, and usually 10 ms late at most.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Returns the time since 1970-01-01T00:00:00Z.
pub(super) fn wall() -> Duration {
    since_zero(clock_gettime(ClockId::RealtimeCoarse))
}

/// Returns the time since a fixed point, as `Instant` counts it.
pub(super) fn monotonic() -> Duration {
    since_zero(clock_gettime(ClockId::MonotonicCoarse))
}

/// A moment before zero is zero.
fn since_zero(at: Timespec) -> Duration {
    let nanoseconds = u32::try_from(at.tv_nsec).unwrap_or_default();
    u64::try_from(at.tv_sec).map_or(Duration::ZERO, |seconds| {
        Duration::new(seconds, nanoseconds)
    })
}
