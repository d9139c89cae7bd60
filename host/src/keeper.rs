//! Keeps any number of connections alive: each is visited at the moment that its last visit named.
//!
//! One task waits for the earliest of all moments, and for nothing else: with 1000 connections that are well, nothing runs between
//! two visits. Visits run as tasks, a few at once, those first that have been due for longest.
//!
//! Moments are on the wall clock. After a suspension, what fell due meanwhile is visited at once; after the clock was set back,
//! every connection is, since all moments were named by a clock that was wrong.

mod queue;

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::Notify, task::JoinSet};

use crate::{Clock, ConnectionName, SystemClock, time::millis};
use queue::Queue;

/// How many visits run at once. A visit mostly waits for the network, and holds up to a megabyte of memory meanwhile.
const AT_ONCE: usize = 32;

/// After a visit that panicked.
const AFTER_PANIC: Duration = Duration::from_secs(60);

/// By how much the wall clock must have fallen behind to count as set back: much more than it is ever slewed.
const SET_BACK: Duration = Duration::from_secs(5);

/// Who makes the visits of a [`Keeper`].
#[async_trait]
pub trait Visitor: Send + Sync + 'static {
    /// Visits a connection, and returns when to come back, in Unix milliseconds. It is never called twice at once for one
    /// connection. It must end by itself; [`crate::Connection::upkeep`] does.
    async fn visit(&self, name: &ConnectionName) -> u64;

    /// Is called where a visit panicked. The connection is visited again in a minute.
    fn panicked(&self, _name: &ConnectionName) {}

    /// Is called in the keeper's own loop, at least as often as [`Keeper::new`] was told: a loop that hangs calls it no more.
    /// It must not block.
    fn pulse(&self) {}
}

/// Keeps connections alive. Clones share them.
#[derive(Clone)]
pub struct Keeper(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    pulse: Option<Duration>,
    queue: Mutex<Queue>,
    changed: Notify,
}

impl Default for Keeper {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock::new()), None)
    }
}

impl Keeper {
    /// Makes a keeper of nobody on this clock, with a pulse of this period where one is wanted.
    pub fn new(clock: Arc<dyn Clock>, pulse: Option<Duration>) -> Self {
        Self(Arc::new(Shared {
            clock,
            pulse,
            queue: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// Adds a connection, and has it visited as soon as there is room.
    pub fn add(&self, name: &ConnectionName) {
        let now = self.0.clock.now();
        self.change(|queue| queue.set(name, now));
    }

    /// Has a connection visited as soon as there is room; after the visit that is under way, where there is one. One that was not
    /// added stays unknown.
    pub fn visit_now(&self, name: &ConnectionName) {
        let now = self.0.clock.now();
        self.change(|queue| queue.hasten(name, now));
    }

    /// Removes a connection. A visit that is under way goes on to its end.
    pub fn remove(&self, name: &ConnectionName) {
        self.change(|queue| queue.remove(name));
    }

    /// Visits until `stop` ends. Then nothing is begun any more, and what is under way goes on to its end.
    pub async fn run(&self, visitor: Arc<dyn Visitor>, stop: impl Future<Output = ()>) {
        let clock = &*self.0.clock;
        let mut stop = pin!(stop);
        let mut visits = JoinSet::new();
        let mut pulse = Pulse::new(clock, self.0.pulse);
        let mut watch = ClockWatch::new(clock);
        loop {
            pulse.beat(clock, &*visitor);
            let now = clock.now();
            if watch.was_set_back(clock) {
                self.queue().hasten_all(now);
            }
            while visits.len() < AT_ONCE
                && let Some(name) = self.queue().take_due(now)
            {
                visits.spawn(visit(self.clone(), Arc::clone(&visitor), name));
            }
            let has_room = visits.len() < AT_ONCE;
            let next = self.queue().earliest().filter(|_| has_room);
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = visits.join_next() => {}
                () = self.0.changed.notified() => {}
                () = until(clock, next) => {}
                () = pulse.wait(clock) => {}
            }
        }
        // A long end is no reason to be taken for dead.
        while !visits.is_empty() {
            pulse.beat(clock, &*visitor);
            tokio::select! {
                _ = visits.join_next() => {}
                () = pulse.wait(clock) => {}
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Queue)) {
        change(&mut self.queue());
        self.0.changed.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes one visit. A visitor that panics harms no other connection.
async fn visit(keeper: Keeper, visitor: Arc<dyn Visitor>, name: ConnectionName) {
    let visited = {
        let (visitor, name) = (Arc::clone(&visitor), name.clone());
        tokio::spawn(async move { visitor.visit(&name).await })
    };
    let moment = visited.await.unwrap_or_else(|error| {
        tracing::error!(connection = %name, "a visit did not end as it should: {error}");
        visitor.panicked(&name);
        keeper.0.clock.now().saturating_add(millis(AFTER_PANIC))
    });
    keeper.queue().put_back(&name, moment);
}

async fn until(clock: &dyn Clock, moment: Option<u64>) {
    match moment {
        Some(moment) => clock.sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// When the visitor is called next to show that the loop is alive: by the clock that comes there first. One stands still in a
/// suspension, and the other may be set back.
struct Pulse {
    period: Option<Duration>,
    next: Duration,
    next_on_wall: u64,
}

impl Pulse {
    fn new(clock: &dyn Clock, period: Option<Duration>) -> Self {
        Self {
            period,
            next: clock.elapsed(),
            next_on_wall: clock.now(),
        }
    }

    fn beat(&mut self, clock: &dyn Clock, visitor: &dyn Visitor) {
        let (now, on_wall) = (clock.elapsed(), clock.now());
        if let Some(period) = self.period
            && (now >= self.next || on_wall >= self.next_on_wall)
        {
            visitor.pulse();
            self.next = now.saturating_add(period);
            self.next_on_wall = on_wall.saturating_add(millis(period));
        }
    }

    async fn wait(&self, clock: &dyn Clock) {
        if self.period.is_none() {
            return std::future::pending().await;
        }
        tokio::select! {
            () = clock.sleep(self.next.saturating_sub(clock.elapsed())) => {}
            () = clock.sleep_until(self.next_on_wall) => {}
        }
    }
}

/// Compares the wall clock with the one that is never set.
struct ClockWatch {
    wall: u64,
    elapsed: Duration,
}

impl ClockWatch {
    fn new(clock: &dyn Clock) -> Self {
        Self {
            wall: clock.now(),
            elapsed: clock.elapsed(),
        }
    }

    /// Whether the wall clock was set back since the last look. Forward is what a suspension looks like too, and no harm: what
    /// falls due by it is visited.
    fn was_set_back(&mut self, clock: &dyn Clock) -> bool {
        let then = std::mem::replace(self, Self::new(clock));
        let passed = self.elapsed.saturating_sub(then.elapsed);
        let expected = then.wall.saturating_add(millis(passed));
        self.wall.saturating_add(millis(SET_BACK)) < expected
    }
}

#[cfg(test)]
mod tests;
