//! The access token that is handed out without asking the plugin.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use thread_local::ThreadLocal;

use crate::{AccessToken, Clock, time::from_millis};

/// Keeps the current access token until its refresh moment.
///
/// The plugin decides the moment; the cache only compares, and it trusts neither clock alone. The wall clock may be set back,
/// and the elapsed time may stand still while the machine sleeps: a token is handed out only while both say that it is time. Where
/// the wall clock is before the moment of receipt, it was set back, and the plugin is asked.
///
/// Reading takes no lock and does no I/O. It allocates once for each token and thread: with one shared reference count, the threads
/// would contend for its cache line.
#[derive(Default)]
pub(crate) struct TokenCache {
    kept: ArcSwapOption<Kept>,
    generation: Mutex<Generation>,
}

/// Counts the changes of the cache: what a call began with tells whether its token is still welcome when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Generation(u64);

struct Kept {
    token: AccessToken,
    /// The same, as each thread hands it out.
    per_thread: ThreadLocal<AccessToken>,
    /// By the wall clock, in milliseconds since 1970.
    received_at: u64,
    /// By the elapsed time.
    received_after: Duration,
    /// From the receipt to the refresh moment.
    good_for: Duration,
}

impl Kept {
    fn new(token: AccessToken, clock: &dyn Clock) -> Self {
        let (received_at, received_after) = clock.glance();
        Self {
            received_at,
            received_after,
            good_for: from_millis(token.refresh_at().saturating_sub(received_at)),
            token,
            per_thread: ThreadLocal::new(),
        }
    }

    fn for_this_thread(&self) -> AccessToken {
        let apart = || self.token.with_own_refcount();
        self.per_thread.get_or(apart).clone()
    }

    fn is_current(&self, clock: &dyn Clock) -> bool {
        let (now, elapsed) = clock.glance();
        let elapsed = elapsed.saturating_sub(self.received_after);
        self.received_at <= now && now < self.token.refresh_at() && elapsed < self.good_for
    }
}

impl TokenCache {
    /// Returns the token while it is not due for a refresh.
    pub(crate) fn current(&self, clock: &dyn Clock) -> Option<AccessToken> {
        let kept = self.kept.load();
        let kept = kept.as_ref()?;
        kept.is_current(clock).then(|| kept.for_this_thread())
    }

    /// Returns the present generation, to be given to [`TokenCache::fill`].
    pub(crate) fn generation(&self) -> Generation {
        *self.changing()
    }

    /// Keeps a token, unless the cache has changed since `generation`: then what the token was read from may be older than what
    /// changed it.
    pub(crate) fn fill(&self, token: AccessToken, generation: Generation, clock: &dyn Clock) {
        let mut current = self.changing();
        if *current == generation {
            current.0 += 1;
            self.kept.store(Some(Arc::new(Kept::new(token, clock))));
        }
    }

    /// Forgets the token, and keeps calls that run from putting theirs in its place.
    pub(crate) fn clear(&self) {
        let mut current = self.changing();
        current.0 += 1;
        self.kept.store(None);
    }

    /// Forgets the token where `is_rejected` says so of it.
    pub(crate) fn clear_where(&self, is_rejected: impl FnOnce(&AccessToken) -> bool) {
        let mut current = self.changing();
        if self
            .kept
            .load()
            .as_ref()
            .is_some_and(|kept| is_rejected(&kept.token))
        {
            current.0 += 1;
            self.kept.store(None);
        }
    }

    fn changing(&self) -> MutexGuard<'_, Generation> {
        self.generation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use proptest::prelude::*;

    use super::*;
    use crate::Secret;

    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;
    const START: u64 = 1_700_000_000_000;

    struct FakeClock {
        wall: u64,
        elapsed: u64,
    }

    #[async_trait]
    impl Clock for FakeClock {
        fn now(&self) -> u64 {
            self.wall
        }

        fn elapsed(&self) -> Duration {
            from_millis(self.elapsed)
        }

        async fn sleep(&self, _: Duration) {}
    }

    fn clock(wall: u64, elapsed: u64) -> FakeClock {
        FakeClock {
            wall: START + wall,
            elapsed,
        }
    }

    fn token(name: &str) -> AccessToken {
        AccessToken::new(Secret::new(name), START + HOUR, START + 2 * HOUR)
    }

    /// A cache that received a token at the start, good for one hour.
    fn filled() -> TokenCache {
        let cache = TokenCache::default();
        cache.fill(token("one"), cache.generation(), &clock(0, 0));
        cache
    }

    fn serves(cache: &TokenCache, clock: &FakeClock) -> bool {
        cache.current(clock).is_some()
    }

    #[test]
    fn serves_until_the_refresh_moment() {
        let cache = filled();
        assert!(serves(&cache, &clock(0, 0)));
        assert!(serves(&cache, &clock(HOUR - 1, HOUR - 1)));
        assert!(!serves(&cache, &clock(HOUR, HOUR)));
    }

    #[test]
    fn s44_the_wall_clock_is_set_back_by_10_minutes() {
        let cache = filled();
        assert!(!serves(
            &cache,
            &clock(HOUR - 5 * MINUTE, HOUR + 5 * MINUTE)
        ));
        assert!(!serves(
            &cache.refilled_at(20),
            &clock(12 * MINUTE, 22 * MINUTE)
        ));
    }

    #[test]
    fn s44_the_wall_clock_is_set_forward_by_10_minutes() {
        let cache = filled();
        assert!(serves(&cache, &clock(45 * MINUTE, 35 * MINUTE)));
        assert!(!serves(&cache, &clock(65 * MINUTE, 55 * MINUTE)));
    }

    #[test]
    fn s44_the_machine_sleeps_for_8_hours() {
        let cache = filled();
        assert!(!serves(&cache, &clock(8 * HOUR + MINUTE, MINUTE)));
    }

    #[test]
    fn a_token_that_is_due_already_is_not_served() {
        let cache = TokenCache::default();
        cache.fill(token("late"), cache.generation(), &clock(HOUR + 1, 0));
        assert!(!serves(&cache, &clock(HOUR + 1, 0)));
    }

    #[test]
    fn a_call_that_began_before_a_change_does_not_fill() {
        let cache = filled();
        let before = cache.generation();
        cache.clear();
        cache.fill(token("revoked"), before, &clock(0, 0));
        assert!(!serves(&cache, &clock(0, 0)));
    }

    #[test]
    fn only_the_rejected_token_is_forgotten() {
        let cache = filled();
        cache.clear_where(|token| token.bearer() == &Secret::new("other"));
        assert!(serves(&cache, &clock(0, 0)));
        cache.clear_where(|token| token.bearer() == &Secret::new("one"));
        assert!(!serves(&cache, &clock(0, 0)));
    }

    impl TokenCache {
        fn refilled_at(self, minute: u64) -> Self {
            self.fill(
                token("two"),
                self.generation(),
                &clock(minute * MINUTE, minute * MINUTE),
            );
            self
        }
    }

    proptest! {
        /// Whatever the clocks do, a token is never served once either of them says that it is due.
        #[test]
        fn never_serves_what_either_clock_calls_due(
            lifetime in 0..2 * HOUR,
            wall in -(HOUR as i64)..(10 * HOUR as i64),
            elapsed in 0..10 * HOUR,
        ) {
            let cache = TokenCache::default();
            let token = AccessToken::new(Secret::new("t"), START + lifetime, START + 2 * HOUR);
            cache.fill(token, cache.generation(), &clock(0, 0));
            let now = FakeClock { wall: START.saturating_add_signed(wall), elapsed };
            let due = now.wall >= START + lifetime || elapsed >= lifetime || wall < 0;
            prop_assert_eq!(serves(&cache, &now), !due);
        }
    }
}
