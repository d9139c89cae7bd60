//! The outbox: what is still to be delivered, on disk before anybody goes on.
//!
//! Each sink has a folder of its own, and each alert a file there: [`sink_folder`].
//!
//! A file is written under another name, made durable, and renamed: there is a whole one or none. Writers take no lock, so that
//! nobody who delivers, or stands still while delivering, keeps an agent waiting.
//!
//! | at a crash or failure | what follows |
//! |---|---|
//! | before the rename | the event is in the journal alone, as if it had not been recorded; the leftover is removed after an hour |
//! | after the rename | it is delivered by whoever comes next |
//! | between delivery and deletion | it is delivered again, with the same id |
//! | the disk is full or read-only | held in memory, delivered from there, stored when that works again; with the process it is lost, except in the journal |
//! | a file is damaged | kept under another name, and told in the journal; the others go on |
//! | a file cannot be opened or read | left where it is, and told in the report and in the journal; the others go on |
//! | more wait than permitted | the oldest is dropped, and told in the journal |
//! | the wall clock is set | the order of what waits stays: a name is never less than the greatest that is there |

mod memory;
mod report;
mod sink_folder;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

pub use self::report::{SinkReport, Unusable, Waiting};
use self::{
    memory::Memory,
    sink_folder::{SinkFolder, Unreadable},
};
use super::{
    Alert, Route, SinkName,
    attempts::Attempts,
    fate::{self, Fate},
    pending::Pending,
};
use crate::{
    Clock, ConnectionName, Environment, Event, Journal, LockGuard, Random, StoreFailure,
    SystemClock, SystemRandom, TracingJournal,
};

/// How many alerts may wait for one sink.
const MOST: usize = 1000;

/// A [`Journal`] that keeps every alert, and what takes it back, for each sink until a [`super::Courier`] has delivered it.
///
/// Its own troubles go to another journal, never to itself.
pub struct Outbox {
    folder: PathBuf,
    routes: Vec<Route>,
    environments: Mutex<BTreeMap<String, Environment>>,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    most: usize,
    /// The last number that this process has given. One writer at a time, so that two do not take one number.
    writing: Mutex<u64>,
    memory: Mutex<Memory>,
    recorded: watch::Sender<u64>,
}

/// What waits for a sink.
struct Found {
    /// What can be delivered, the oldest first.
    pending: Vec<Pending>,
    /// What cannot be read.
    unusable: Vec<Unusable>,
}

impl Found {
    fn is_nothing(&self) -> bool {
        self.pending.is_empty() && self.unusable.is_empty()
    }
}

/// Configures an [`Outbox`].
pub struct OutboxBuilder(Outbox);

impl OutboxBuilder {
    /// Adds a route.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.0.routes.push(route);
        self
    }

    /// Tells the environment of a connection, which its alerts then name.
    #[must_use]
    pub fn environment(self, connection: &ConnectionName, environment: Environment) -> Self {
        self.0.set_environment(connection, environment);
        self
    }

    /// Sets where the outbox's own troubles are recorded; it must not lead back to the outbox. The default is
    /// [`TracingJournal`].
    #[must_use]
    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.0.journal = journal;
        self
    }

    /// Sets the clock. The default is the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.0.clock = clock;
        self
    }

    /// Sets the randomness that keeps the next tries of many programs apart. The default is the system's.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.0.random = random;
        self
    }

    /// Sets how many alerts may wait for one sink. The default is 1000.
    #[must_use]
    pub fn most(mut self, most: usize) -> Self {
        self.0.most = most.max(1);
        self
    }

    /// Makes the outbox. Nothing is read or written yet.
    pub fn build(self) -> Arc<Outbox> {
        Arc::new(self.0)
    }
}

impl Journal for Outbox {
    /// Stores what is for a person, durably, for each sink that has a route from this connection. A few milliseconds.
    fn record(&self, connection: &str, event: &Event) {
        let environment = self.environments().get(connection).copied();
        let mut routes = self
            .routes
            .iter()
            .filter(|r| r.takes(connection))
            .peekable();
        if routes.peek().is_none() {
            return;
        }
        let Some(alert) = Alert::of(connection, environment, event) else {
            return;
        };
        for route in routes {
            self.store(route.sink(), &alert);
        }
        self.recorded.send_modify(|count| *count += 1);
    }
}

impl Outbox {
    /// Begins to configure an outbox in a folder, which need not exist.
    pub fn builder(folder: impl Into<PathBuf>) -> OutboxBuilder {
        OutboxBuilder(Self {
            folder: folder.into(),
            routes: Vec::new(),
            environments: Mutex::default(),
            journal: Arc::new(TracingJournal),
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
            most: MOST,
            writing: Mutex::default(),
            memory: Mutex::default(),
            recorded: watch::Sender::new(0),
        })
    }

    /// Tells the environment of a connection, as [`OutboxBuilder::environment`] does: the next alerts name it.
    pub fn set_environment(&self, connection: &ConnectionName, environment: Environment) {
        let name = connection.as_str().to_owned();
        self.environments().insert(name, environment);
    }

    fn environments(&self) -> MutexGuard<'_, BTreeMap<String, Environment>> {
        let environments = self.environments.lock();
        environments.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many events this process has recorded here, and changes with them.
    pub fn recorded(&self) -> watch::Receiver<u64> {
        self.recorded.subscribe()
    }

    /// Deletes an alert without delivering it, one that cannot be read too. Returns for how many sinks it waited.
    pub fn discard(&self, id: &str) -> Result<usize, StoreFailure> {
        let mut discarded = 0;
        for sink in self.sinks()? {
            let found = self.look(&sink)?;
            for pending in found.pending.iter().filter(|p| p.alert.id == id) {
                self.remove(&sink, pending);
                discarded += 1;
            }
            for unusable in found.unusable.iter().filter(|u| u.id == id) {
                self.folder(&sink).discard(&unusable.file)?;
                discarded += 1;
            }
        }
        Ok(discarded)
    }

    /// Returns the sinks with a route, and those for which something waits.
    fn sinks(&self) -> Result<BTreeSet<SinkName>, StoreFailure> {
        let routed = self.routes.iter().map(|route| route.sink().clone());
        let mut sinks: BTreeSet<_> = routed.collect();
        for sink in sink_folder::sinks(&self.folder)? {
            if !sinks.contains(&sink) && !self.look(&sink)?.is_nothing() {
                sinks.insert(sink);
            }
        }
        Ok(sinks)
    }

    fn store(&self, sink: &SinkName, alert: &Alert) {
        let mut last = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pending = Pending::after(*last, self.clock.now(), alert.clone());
        let written = self.folder(sink).append(&mut pending);
        *last = pending.number;
        match written {
            Ok(()) => self.bound(sink),
            Err(failure) => self.hold(sink, pending, &failure),
        }
    }

    /// Holds in memory what the disk did not take.
    fn hold(&self, sink: &SinkName, pending: Pending, failure: &StoreFailure) {
        self.tell(&fate::NOT_STORED, sink, &pending.alert, &failure.message);
        let dropped = self.memory().hold(sink, pending, self.most);
        if let Some(dropped) = dropped {
            self.tell_of_overflow(sink, &dropped.alert);
        }
    }

    /// Drops the oldest where more wait than permitted.
    fn bound(&self, sink: &SinkName) {
        let folder = self.folder(sink);
        let Ok(names) = folder.names() else {
            return;
        };
        for name in &names[..names.len().saturating_sub(self.most)] {
            match folder.read(name) {
                // `None`, or gone when it is to be removed: it was delivered in this very moment.
                Ok(None) => {}
                Ok(Some(pending)) => {
                    if folder.remove(name).is_ok() {
                        self.tell_of_overflow(sink, &pending.alert);
                    }
                }
                Err(Unreadable::Damaged) => self.set_aside(sink, &folder, name),
                // Whoever delivers tells of it.
                Err(Unreadable::Failed(_)) => {}
            }
        }
    }

    fn tell_of_overflow(&self, sink: &SinkName, alert: &Alert) {
        let cause = format!("{} alerts wait, and no more may.", self.most);
        self.tell(&fate::OVERFLOW, sink, alert, &cause);
    }

    /// Records what became of an alert, in the journal of the outbox's own troubles.
    pub(super) fn tell(&self, fate: &Fate, sink: &SinkName, alert: &Alert, cause: &str) {
        let event = fate.of(sink, alert, cause, self.clock.now());
        self.journal.record(&alert.connection, &event);
    }

    /// Returns what waits for a sink and can be delivered, the oldest first.
    pub(crate) fn pending(&self, sink: &SinkName) -> Result<Vec<Pending>, StoreFailure> {
        Ok(self.look(sink)?.pending)
    }

    /// Looks at what waits for a sink. What is damaged is set aside; what cannot be read keeps nothing else from its way.
    fn look(&self, sink: &SinkName) -> Result<Found, StoreFailure> {
        let folder = self.folder(sink);
        let (mut all, mut unusable) = (Vec::new(), Vec::new());
        for name in folder.names()? {
            match folder.read(&name) {
                // `None`: delivered by another process in this moment.
                Ok(read) => all.extend(read),
                Err(Unreadable::Failed(failure)) => unusable.extend(Unusable::of(name, failure)),
                Err(Unreadable::Damaged) => self.set_aside(sink, &folder, &name),
            }
        }
        let memory = self.memory();
        all.extend(memory.held(sink));
        all.retain(|pending| !memory.is_delivered(sink, pending));
        all.sort_by_key(|pending| (pending.number, pending.alert.id.clone()));
        // One whose writing failed at its very end is in both places.
        all.dedup_by(|a, b| a.alert.id == b.alert.id);
        Ok(Found {
            pending: all,
            unusable,
        })
    }

    /// Records what waits for a sink and cannot be read: once, as long as this process lives.
    pub(crate) fn tell_of_unusable(&self, sink: &SinkName) -> Result<(), StoreFailure> {
        for unusable in self.look(sink)?.unusable {
            if self.memory().is_news(sink, &unusable) {
                let (file, cause) = (unusable.file, &unusable.failure.message);
                let event = fate::UNUSABLE.of_file(sink, file, cause, self.clock.now());
                self.journal.record("-", &event);
            }
        }
        Ok(())
    }

    fn set_aside(&self, sink: &SinkName, folder: &SinkFolder, name: &str) {
        let Some(aside) = folder.set_aside(name) else {
            return;
        };
        let cause = "The file was cut short or changed.";
        let file = aside.display().to_string();
        let event = fate::DAMAGED.of_file(sink, file, cause, self.clock.now());
        self.journal.record("-", &event);
    }

    /// Stores what is held in memory, where that works by now. Its numbers stay what they were, and so do its places.
    pub(crate) fn store_held(&self, sink: &SinkName) {
        let held = self.memory().held(sink);
        for pending in held {
            let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            if self.folder(sink).write(&pending).is_err() {
                return;
            }
            self.memory().release(sink, &pending);
        }
    }

    /// Deletes what was delivered, or is not to be.
    pub(crate) fn remove(&self, sink: &SinkName, pending: &Pending) {
        self.memory().release(sink, pending);
        match self.folder(sink).remove(&pending.file_name()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let cause = error.to_string();
                self.tell(&fate::NOT_DELETED, sink, &pending.alert, &cause);
                self.memory().note_delivered(sink, pending);
            }
        }
    }

    /// Deletes what was delivered and could not be deleted then, where that works by now.
    pub(crate) fn delete_delivered(&self, sink: &SinkName) {
        let delivered = self.memory().delivered(sink);
        for pending in delivered {
            match self.folder(sink).remove(&pending.file_name()) {
                Err(error) if error.kind() != ErrorKind::NotFound => return,
                _ => self.memory().forget_delivered(sink, &pending),
            }
        }
    }

    /// Returns what is known of the tries.
    pub(crate) fn attempts(&self, sink: &SinkName) -> Attempts {
        let in_memory = self.memory().attempts.get(sink).cloned();
        in_memory.unwrap_or_else(|| self.folder(sink).attempts())
    }

    /// Keeps what is known of the tries: on disk, or else in memory.
    pub(crate) fn keep_attempts(&self, sink: &SinkName, attempts: &Attempts) {
        let kept = self.folder(sink).keep_attempts(attempts);
        let mut memory = self.memory();
        match kept {
            Ok(()) => memory.attempts.remove(sink),
            Err(_) => memory.attempts.insert(sink.clone(), attempts.clone()),
        };
    }

    /// Takes the right to deliver to a sink; `None` where another process kept it for as long as `wait`.
    pub(crate) async fn lock(
        &self,
        sink: &SinkName,
        wait: Duration,
    ) -> Result<Option<LockGuard>, StoreFailure> {
        self.folder(sink).lock(wait).await
    }

    /// Removes what writers that died have left. The lock is held.
    pub(crate) fn tidy(&self, sink: &SinkName) {
        self.folder(sink).tidy();
    }

    /// Draws a number from 0 to 1.
    pub(crate) fn chance(&self) -> f64 {
        let mut byte = [0];
        self.random.fill(&mut byte);
        f64::from(byte[0]) / f64::from(u8::MAX)
    }

    /// Returns the clock.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn folder(&self, sink: &SinkName) -> SinkFolder {
        SinkFolder::of(&self.folder, sink)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox")
            .field("folder", &self.folder)
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
