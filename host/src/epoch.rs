//! The clock by which computing of plugins is measured and interrupted.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use wasmtime::{Engine, EngineWeak};

/// How long one epoch lasts. A plugin that computes yields to other tasks this often.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Advances an engine's epoch while calls run. An idle engine costs no CPU time; the thread ends with the ticker.
pub(crate) struct EpochTicker(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    ticks: AtomicU64,
}

#[derive(Default)]
struct State {
    running: usize,
    /// Whether the thread waits for a call, rather than for the next tick: only then is a call worth waking it.
    idle: bool,
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick_until_closed(&self, engine: &EngineWeak) {
        let mut state = self.state();
        loop {
            state.idle = true;
            state = self
                .changed
                .wait_while(state, |state| !state.closed && state.running == 0)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle = false;
            state = self
                .changed
                .wait_timeout_while(state, TICK, |state| !state.closed)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            if state.closed {
                return;
            }
            let Some(engine) = engine.upgrade() else {
                return;
            };
            self.ticks.fetch_add(1, Ordering::Relaxed);
            engine.increment_epoch();
        }
    }
}

impl EpochTicker {
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            ticks: AtomicU64::new(0),
        });
        let engine = engine.weak();
        let ticking = Arc::clone(&shared);
        thread::Builder::new()
            .name("procore-auth-epoch".to_owned())
            .spawn(move || ticking.tick_until_closed(&engine))?;
        Ok(Self(shared))
    }

    /// Keeps the epoch advancing until the meter and all its clones are gone.
    pub(crate) fn meter(&self, budget: Duration) -> ComputeMeter {
        let ticks = budget.as_millis().div_ceil(TICK.as_millis());
        ComputeMeter(Arc::new(Metered {
            running: Running::enter(&self.0),
            started: self.0.ticks.load(Ordering::Relaxed),
            waited: AtomicU64::new(0),
            budget: u64::try_from(ticks).unwrap_or(u64::MAX),
        }))
    }
}

impl Drop for EpochTicker {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.changed.notify_all();
    }
}

/// A call that runs.
struct Running(Arc<Shared>);

impl Running {
    fn enter(shared: &Arc<Shared>) -> Self {
        let mut state = shared.state();
        state.running += 1;
        if state.idle {
            shared.changed.notify_all();
        }
        drop(state);
        Self(Arc::clone(shared))
    }

    fn ticks(&self) -> u64 {
        self.0.ticks.load(Ordering::Relaxed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state().running -= 1;
    }
}

/// Measures how long one call's plugin computes, in epochs, without the time in which it waits for the host.
#[derive(Clone)]
pub(crate) struct ComputeMeter(Arc<Metered>);

struct Metered {
    running: Running,
    started: u64,
    waited: AtomicU64,
    budget: u64,
}

impl ComputeMeter {
    /// Stops measuring until the pause is dropped.
    pub(crate) fn pause(&self) -> Pause {
        Pause {
            meter: self.clone(),
            since: self.0.running.ticks(),
        }
    }

    /// Returns whether the plugin has computed for longer than it may.
    pub(crate) fn is_exhausted(&self) -> bool {
        let passed = self.0.running.ticks().saturating_sub(self.0.started);
        passed.saturating_sub(self.0.waited.load(Ordering::Relaxed)) > self.0.budget
    }
}

/// A time in which the plugin waits for the host.
pub(crate) struct Pause {
    meter: ComputeMeter,
    since: u64,
}

impl Drop for Pause {
    fn drop(&mut self) {
        let waited = self.meter.0.running.ticks().saturating_sub(self.since);
        self.meter.0.waited.fetch_add(waited, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computing_counts_and_waiting_does_not() {
        let engine = Engine::default();
        let ticker = EpochTicker::start(&engine).expect("a thread");
        let meter = ticker.meter(TICK);
        let pause = meter.pause();
        thread::sleep(4 * TICK);
        drop(pause);
        assert!(!meter.is_exhausted());
        thread::sleep(4 * TICK);
        assert!(meter.is_exhausted());
    }

    #[test]
    fn an_idle_engine_does_not_tick() {
        let engine = Engine::default();
        let ticker = EpochTicker::start(&engine).expect("a thread");
        thread::sleep(3 * TICK);
        assert_eq!(ticker.0.ticks.load(Ordering::Relaxed), 0);
        let meter = ticker.meter(TICK);
        thread::sleep(3 * TICK);
        let ticked = ticker.0.ticks.load(Ordering::Relaxed);
        assert!(ticked > 0);
        drop(meter);
        thread::sleep(3 * TICK);
        assert!(ticker.0.ticks.load(Ordering::Relaxed) <= ticked + 1);
    }

    #[test]
    fn the_thread_ends_with_the_ticker() {
        let engine = Engine::default();
        let ticker = EpochTicker::start(&engine).expect("a thread");
        let shared = Arc::downgrade(&ticker.0);
        drop(ticker);
        thread::sleep(TICK);
        assert!(shared.upgrade().is_none());
    }
}
