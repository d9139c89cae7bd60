//! A wait that follows the wall clock, without looking at it meanwhile.
//!
//! A timer on the monotonic clock stands still while the machine sleeps, and knows nothing of a clock that is set. The kernel's
//! own timer on the wall clock goes off on waking where its moment has passed, and is cancelled when the clock is set.

use std::{io, time::Duration};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Returns once the wall clock shows `moment`, in Unix milliseconds, or was set.
pub(super) async fn until(moment: u64) -> io::Result<()> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    let once = Itimerspec {
        it_interval: timespec(Duration::ZERO)?,
        // Zero would disarm it.
        it_value: timespec(Duration::from_millis(moment.max(1)))?,
    };
    timerfd_settime(&timer, flags, &once)?;
    // SAFETY: the descriptor is owned by the timer, which stays as it is and is closed after it was deregistered.
    let timer = unsafe { AsyncFd::register(timer) }?;
    // Gone off and cancelled are both readable; the caller looks at the clock.
    timer.readable().await.map(drop)
}

fn timespec(since_1970: Duration) -> io::Result<Timespec> {
    Timespec::try_from(since_1970).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::until;
    use crate::{Clock as _, SystemClock};

    #[tokio::test]
    async fn it_goes_off_at_its_moment_and_not_before() {
        let clock = SystemClock::new();
        let moment = clock.now() + 50;
        until(moment).await.expect("a timer");
        assert!(clock.now() >= moment);
    }

    #[tokio::test]
    async fn a_moment_that_has_passed_is_no_wait() {
        let began = Instant::now();
        until(0).await.expect("a timer");
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn the_end_of_time_is_waited_for() {
        for moment in [u64::MAX, u64::MAX / 2] {
            let waiting = tokio::time::timeout(Duration::from_millis(20), until(moment));
            assert!(!matches!(waiting.await, Ok(Ok(()))), "{moment}");
        }
    }
}
