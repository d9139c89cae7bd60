//! Takes what waits in the outbox to the sinks.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet};

use super::{
    Alert, Outbox, Reason, Sink, SinkName, Undelivered,
    attempts::{Attempts, LONGEST_PAUSE, backoff},
    fate::{self, Fate},
    pending::Pending,
};
use crate::StoreFailure;

/// How soon what other processes record is noticed.
const LOOK: Duration = Duration::from_secs(60);

/// How old an alert that nobody takes may become.
const LONGEST_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often an alert is tried at least before its age counts: a clock that was set must not make it old.
const LEAST_TRIES: u32 = 10;

/// So many failures that the sink itself tells may be this one alert's fault: then the next one is tried too.
const SUSPICIOUS: u32 = 5;

/// A try may always take this long.
const SHORTEST_TRY: Duration = Duration::from_secs(1);

/// No try takes longer.
const LONGEST_TRY: Duration = Duration::from_secs(60);

/// How long a round goes on to begin new tries before it looks whether to stop.
const STINT: Duration = Duration::from_secs(10);

/// Delivers what waits in an [`Outbox`]. Clones are one.
#[derive(Clone)]
pub struct Courier {
    outbox: Arc<Outbox>,
    sinks: Arc<[Arc<dyn Sink>]>,
}

/// How much time a round has.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// As much as the sinks need; begins no try after a while.
    Steady,
    /// This much for all tries together: somebody waits.
    Hurried(Duration),
}

impl Pace {
    fn patience(self) -> Duration {
        match self {
            Self::Steady => STINT,
            Self::Hurried(patience) => patience,
        }
    }
}

/// How one round went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Nothing waits.
    Empty,
    /// Something waits, and is due again after this time.
    Later(Duration),
}

impl Courier {
    /// Makes a courier for an outbox. What waits for a sink that is not among `sinks` goes on waiting.
    pub fn new(outbox: Arc<Outbox>, sinks: impl IntoIterator<Item = Arc<dyn Sink>>) -> Self {
        Self {
            outbox,
            sinks: sinks.into_iter().collect(),
        }
    }

    /// Returns the outbox.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Returns the sinks.
    pub fn sinks(&self) -> &[Arc<dyn Sink>] {
        &self.sinks
    }

    /// Delivers until `stop` is ready, and finishes what is under way then. What this process records goes out at once; what
    /// others record is noticed within a minute. Sinks do not wait for each other.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let (stopping, stopped) = watch::channel(false);
        let mut all = JoinSet::new();
        for sink in self.sinks.iter() {
            let (courier, sink) = (self.clone(), Arc::clone(sink));
            let (stopped, recorded) = (stopped.clone(), self.outbox.recorded());
            all.spawn(async move { courier.serve(&*sink, recorded, stopped).await });
        }
        stop.await;
        stopping.send_replace(true);
        while all.join_next().await.is_some() {}
    }

    /// Delivers what is due, once, and gives up after about `patience`. Sinks do not wait for each other.
    pub async fn drain(&self, patience: Duration) {
        let mut all = JoinSet::new();
        for sink in self.sinks.iter() {
            let (courier, sink) = (self.clone(), Arc::clone(sink));
            all.spawn(async move { courier.round(&*sink, Pace::Hurried(patience)).await });
        }
        while all.join_next().await.is_some() {}
    }

    /// Notes that a sink works again, as a test has shown: what waits for it is due now.
    pub async fn works_again(&self, sink: &SinkName) {
        if self.outbox.attempts(sink) == Attempts::default() {
            return;
        }
        let guard = self.outbox.lock(sink, SHORTEST_TRY).await;
        // Whoever holds it is trying at this moment.
        if let Ok(Some(_guard)) = guard {
            let mut attempts = self.outbox.attempts(sink);
            attempts.next_try_at = 0;
            attempts.next_new_try_at = 0;
            attempts.aside.clear();
            self.outbox.keep_attempts(sink, &attempts);
        }
    }

    async fn serve(
        &self,
        sink: &dyn Sink,
        mut recorded: watch::Receiver<u64>,
        mut stopped: watch::Receiver<bool>,
    ) {
        while !*stopped.borrow() {
            recorded.borrow_and_update();
            let pause = match self.round(sink, Pace::Steady).await {
                Round::Empty => LOOK,
                Round::Later(left) => left.min(LOOK),
            };
            tokio::select! {
                () = self.outbox.clock().sleep(pause) => {}
                _ = recorded.changed() => {}
                _ = stopped.changed() => {}
            }
        }
    }

    /// Delivers to one sink what is due. Another process that is at it is waited for, within the patience.
    async fn round(&self, sink: &dyn Sink, pace: Pace) -> Round {
        match self.try_round(sink, pace).await {
            Ok(round) => round,
            Err(failure) => {
                tracing::error!(
                    target: "procore_auth",
                    sink = %sink.name(),
                    code = failure.code,
                    error = failure.message,
                    "the alerts that wait cannot be read"
                );
                Round::Later(LOOK)
            }
        }
    }

    async fn try_round(&self, sink: &dyn Sink, pace: Pace) -> Result<Round, StoreFailure> {
        let began = self.outbox.clock().elapsed();
        let name = sink.name();
        self.outbox.delete_delivered(name);
        self.outbox.tell_of_unusable(name)?;
        // Nothing is written where nothing waits.
        if self.outbox.pending(name)?.is_empty() {
            return Ok(Round::Empty);
        }
        let guard = match self.outbox.lock(name, pace.patience()).await {
            Ok(Some(guard)) => Some(guard),
            Ok(None) => return Ok(Round::Later(LOOK)),
            // A disk that takes no lock file has nobody else's alerts either: what is held in memory must out.
            Err(_) => None,
        };
        self.outbox.store_held(name);
        self.outbox.tidy(name);
        let attempts = self.outbox.attempts(name);
        let delivery = Delivery {
            outbox: &self.outbox,
            sink,
            kept: attempts.clone(),
            attempts,
            pace,
            until: began.saturating_add(pace.patience()),
        };
        let round = delivery.all().await;
        drop(guard);
        round
    }
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.sinks.iter().map(|sink| sink.name().as_str()).collect();
        f.debug_struct("Courier")
            .field("sinks", &names)
            .finish_non_exhaustive()
    }
}

/// One round with one sink. The lock is held.
struct Delivery<'a> {
    outbox: &'a Outbox,
    sink: &'a dyn Sink,
    attempts: Attempts,
    /// The attempts as they are kept.
    kept: Attempts,
    pace: Pace,
    /// When to begin no further try, in the clock's elapsed time.
    until: Duration,
}

impl Delivery<'_> {
    async fn all(mut self) -> Result<Round, StoreFailure> {
        loop {
            let all = self.outbox.pending(self.sink.name())?;
            if all.is_empty() {
                self.attempts = Attempts::default();
                self.keep();
                return Ok(Round::Empty);
            }
            let now = self.now();
            let left = |pending: &&Pending| self.attempts.left(&pending.alert.id, now);
            let mut due = all.iter().filter(|pending| left(pending).is_none());
            let (first, second) = (due.next(), due.next());
            let Some(first) = first else {
                let soonest = all.iter().filter_map(|pending| left(&pending)).min();
                return Ok(Round::Later(soonest.unwrap_or(LOOK)));
            };
            if self.time_left() < SHORTEST_TRY {
                return Ok(Round::Later(Duration::ZERO));
            }
            self.one(first, second).await;
        }
    }

    /// Tries the first, and where it is suspicious that it fails, the second too.
    async fn one(&mut self, first: &Pending, second: Option<&Pending>) {
        let Err(failed) = self.deliver(&first.alert).await else {
            self.delivered(first);
            return;
        };
        self.failed(first, &failed);
        let tries = self.attempts.tries(&first.alert.id);
        let suspicious = match failed.reason {
            Reason::Refused => true,
            Reason::Down { answered, .. } => answered && tries >= SUSPICIOUS,
        };
        match second.filter(|_| suspicious) {
            None => self.pause(&failed),
            Some(second) if self.deliver(&second.alert).await.is_ok() => {
                self.delivered(second);
                self.step_aside(first, &failed);
            }
            Some(second) => {
                self.attempts.failed_too(&second.alert.id);
                self.pause(&failed);
            }
        }
        self.drop_if_old(first);
        self.keep();
    }

    async fn deliver(&self, alert: &Alert) -> Result<String, Undelivered> {
        let timeout = match self.pace {
            Pace::Steady => LONGEST_TRY,
            Pace::Hurried(_) => self.time_left().max(SHORTEST_TRY),
        };
        self.sink.deliver(alert, timeout).await
    }

    fn delivered(&mut self, pending: &Pending) {
        let failures = self.attempts.failures;
        self.outbox.remove(self.sink.name(), pending);
        self.attempts.succeeded(&pending.alert.id);
        let cause = match failures {
            0 => String::new(),
            _ => format!("after {failures} failed tries"),
        };
        self.tell(&fate::DELIVERED, pending, &cause);
        self.keep();
    }

    /// The first failure in a row is news, and so is the first refusal; not those of an alert that has stepped aside.
    fn failed(&mut self, pending: &Pending, failed: &Undelivered) {
        let is_new_refusal = failed.reason == Reason::Refused
            && self.attempts.last_error.as_deref() != Some(&*failed.message);
        let is_news = (self.attempts.failures == 0 || is_new_refusal)
            && !self.attempts.aside.contains_key(&pending.alert.id);
        let now = self.now();
        self.attempts
            .failed(&pending.alert.id, &failed.message, now);
        if !is_news {
            tracing::debug!(
                target: "procore_auth",
                sink = %self.sink.name(),
                error = failed.message,
                "an alert is still not delivered"
            );
            return;
        }
        let fate = match failed.reason {
            Reason::Refused => &fate::REFUSED,
            Reason::Down { .. } => &fate::SINK_DOWN,
        };
        self.tell(fate, pending, &failed.message);
    }

    /// A refusal may be that of one alert alone: one that was never tried waits as if the sink were down.
    fn pause(&mut self, failed: &Undelivered) {
        let retry_after = match failed.reason {
            Reason::Refused => None,
            Reason::Down { retry_after, .. } => retry_after,
        };
        let first = self.sink.first_pause();
        let failures = self.attempts.failures;
        let of_new = backoff(first, failures, retry_after, self.outbox.chance());
        let pause = match failed.reason {
            Reason::Refused => LONGEST_PAUSE,
            Reason::Down { .. } => of_new,
        };
        let now = self.now();
        self.attempts.pause(pause, of_new, now);
    }

    fn step_aside(&mut self, pending: &Pending, failed: &Undelivered) {
        let now = self.now();
        self.attempts.last_error = Some(failed.message.clone());
        if self.attempts.put_aside(&pending.alert.id, now) {
            return;
        }
        self.tell(&fate::PUT_ASIDE, pending, &failed.message);
    }

    fn drop_if_old(&mut self, pending: &Pending) {
        let age = Duration::from_millis(self.now().saturating_sub(pending.alert.at));
        let tries = self.attempts.tries(&pending.alert.id);
        if age <= LONGEST_AGE || tries < LEAST_TRIES {
            return;
        }
        self.outbox.remove(self.sink.name(), pending);
        self.attempts.forget(&pending.alert.id);
        let cause = self.attempts.last_error.clone();
        let cause = cause.unwrap_or_else(|| format!("{tries} tries have failed."));
        self.tell(&fate::EXPIRED, pending, &cause);
    }

    fn tell(&self, fate: &Fate, pending: &Pending, cause: &str) {
        let sink = self.sink.name();
        self.outbox.tell(fate, sink, &pending.alert, cause);
    }

    fn keep(&mut self) {
        if self.attempts != self.kept {
            self.outbox.keep_attempts(self.sink.name(), &self.attempts);
            self.kept = self.attempts.clone();
        }
    }

    fn now(&self) -> u64 {
        self.outbox.clock().now()
    }

    fn time_left(&self) -> Duration {
        self.until.saturating_sub(self.outbox.clock().elapsed())
    }
}

#[cfg(test)]
mod tests;
