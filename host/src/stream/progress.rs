//! How far the body of a request has come.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use tokio::time::Instant;

use super::StreamLimits;

/// How far the body of one request has come. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// When the first and the last piece moved.
    moved: Option<(Instant, Instant)>,
    ended: bool,
    failure: Option<String>,
    stopped: bool,
    waiting: Option<Waker>,
}

impl Progress {
    /// Notes that a piece moved, and whether it was the last.
    pub(super) fn note(&self, ended: bool) {
        let mut state = self.state();
        let now = Instant::now();
        let first = state.moved.map_or(now, |(first, _)| first);
        state.moved = Some((first, now));
        state.ended |= ended;
    }

    /// Notes that the body cannot be read.
    pub(super) fn fail(&self, error: &io::Error) {
        self.state().failure = Some(error.to_string());
    }

    /// Returns why the body cannot be read, if so.
    pub(super) fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    /// Whether nobody wants the rest any more. If not yet, `waker` is told when that changes.
    pub(super) fn is_stopped(&self, waker: &Waker) -> bool {
        let mut state = self.state();
        if !state.stopped {
            state.waiting = Some(waker.clone());
        }
        state.stopped
    }

    /// Keeps what was not sent yet from being sent.
    pub(super) fn stop(&self) {
        let waiting = {
            let mut state = self.state();
            state.stopped = true;
            state.waiting.take()
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// Returns how long the body has been moving.
    pub(super) fn moving(&self) -> Duration {
        let moved = self.state().moved;
        moved.map_or(Duration::ZERO, |(first, last)| last - first)
    }

    /// Waits until the limits of a request that starts now are exceeded.
    pub(super) async fn overdue(self, limits: StreamLimits) {
        let start = Instant::now();
        loop {
            let (now, deadline) = (Instant::now(), self.deadline(start, limits));
            if deadline <= now {
                return;
            }
            // A body that begins to move brings the deadline nearer, to no nearer than the idle time.
            tokio::time::sleep_until(deadline.min(now + limits.idle)).await;
        }
    }

    fn deadline(&self, start: Instant, limits: StreamLimits) -> Instant {
        let state = self.state();
        match state.moved {
            Some((_, last)) if !state.ended => last + limits.idle,
            Some((first, last)) => start + limits.head + (last - first),
            None => start + limits.head,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StreamLimits = StreamLimits {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(3),
    };

    async fn after(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    async fn overdue_after(progress: &Progress, body: impl Future<Output = ()>) -> u64 {
        let start = Instant::now();
        let overdue = progress.clone().overdue(LIMITS);
        tokio::join!(overdue, body);
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_begin_has_the_time_of_the_head() {
        assert_eq!(overdue_after(&Progress::default(), async {}).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_moves_may_take_any_time_and_one_that_stands_still_the_idle_time() {
        let progress = Progress::default();
        let body = async {
            for _ in 0..50 {
                after(2).await;
                progress.note(false);
            }
        };
        assert_eq!(overdue_after(&progress, body).await, 103);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_in_which_the_body_moved_does_not_count_for_the_head() {
        let progress = Progress::default();
        let body = async {
            after(4).await;
            for _ in 0..15 {
                progress.note(false);
                after(2).await;
            }
            progress.note(true);
        };
        assert_eq!(overdue_after(&progress, body).await, 40);
        assert_eq!(progress.moving(), Duration::from_secs(30));
    }
}
