//! The outbox: what is still to be delivered, on disk before anybody goes on.
//!
//! ```text
//! FOLDER/                                     0700
//!   ops/                                      0700, one folder a sink
//!     00000001795392000123-0011….json         0600, one file an alert; the names sort in the order of recording
//!     damaged-…                               what could not be read
//!     .attempts.json                          failed tries and when the next is due
//!     .lock                                   held by the one process that delivers
//! ```
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
//! | more wait than permitted | the oldest is dropped, and told in the journal |
//! | the wall clock is set | the order of what waits stays: a name is never less than the greatest that is there |

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use super::{Alert, SinkName, attempts::Attempts};
use crate::{
    Clock, ConnectionName, Environment, Event, Journal, LockGuard, Severity, StoreFailure,
    SystemClock, TracingJournal, file_lock::FileLock, private_file,
};

/// How many alerts may wait for one sink.
const MOST: usize = 1000;

/// The end of the year 9999: a clock that says later must not use the numbers up.
const LATEST: u64 = 253_402_300_799_999;

/// A longer file is none of ours.
const LONGEST_FILE: u64 = 1 << 20;

/// How long an alert may wait before nobody can say that it is just on its way.
const ON_ITS_WAY: u64 = 120_000;

/// How long a file that was never finished is left alone: its writer may be alive.
const UNFINISHED: Duration = Duration::from_secs(3600);

const UNFINISHED_PREFIX: &str = ".tmp-";
const DAMAGED_PREFIX: &str = "damaged-";
const ATTEMPTS: &str = ".attempts.json";
const LOCK: &str = ".lock";

/// Which connections' alerts go to a sink.
#[derive(Debug, Clone)]
pub struct Route {
    sink: SinkName,
    connections: Option<Vec<ConnectionName>>,
}

impl Route {
    /// The alerts of all connections go there.
    pub fn to(sink: SinkName) -> Self {
        Self {
            sink,
            connections: None,
        }
    }

    /// The alerts of these connections alone go there.
    #[must_use]
    pub fn only(mut self, connections: impl IntoIterator<Item = ConnectionName>) -> Self {
        self.connections = Some(connections.into_iter().collect());
        self
    }

    fn takes(&self, connection: &str) -> bool {
        let named = |names: &Vec<ConnectionName>| names.iter().any(|n| n.as_str() == connection);
        self.connections.as_ref().is_none_or(named)
    }
}

/// A [`Journal`] that keeps every alert, and what takes it back, for each sink until a [`super::Courier`] has delivered it.
///
/// Its own troubles go to another journal, never to itself.
pub struct Outbox {
    folder: PathBuf,
    routes: Vec<Route>,
    environments: BTreeMap<String, Environment>,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    most: usize,
    /// The last number that this process has given. One writer at a time, so that two do not take one number.
    writing: Mutex<u64>,
    memory: Mutex<Memory>,
    recorded: watch::Sender<u64>,
}

/// What the disk did not take.
#[derive(Default)]
struct Memory {
    entries: Vec<(SinkName, Entry)>,
    attempts: BTreeMap<SinkName, Attempts>,
    /// Delivered, and not deleted: not to be delivered again.
    delivered: BTreeSet<(SinkName, String)>,
}

/// An alert that waits for one sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    number: u64,
    pub(crate) alert: Alert,
}

impl Entry {
    fn file_name(&self) -> String {
        format!("{:020}-{}.json", self.number, self.alert.id)
    }
}

/// An alert that waits, for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// For which sink.
    pub sink: SinkName,
    /// The alert.
    pub alert: Alert,
    /// How many tries to deliver it have failed.
    pub tries: u32,
}

/// What waits for one sink, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkReport {
    /// The sink.
    pub sink: SinkName,
    /// Whether there is a route to it. Without one nothing delivers what waits.
    pub routed: bool,
    /// How many alerts wait.
    pub waiting: usize,
    /// When the oldest of them happened.
    pub oldest: Option<u64>,
    /// Failed tries in a row.
    pub failures: u32,
    /// When the first of them was.
    pub failing_since: Option<u64>,
    /// What the last of them said.
    pub last_error: Option<String>,
    /// When the next try is due; `None` where it is due now.
    pub next_try_at: Option<u64>,
    /// Whether something is wrong: a try failed, or nobody has tried for two minutes.
    pub overdue: bool,
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
    pub fn environment(mut self, connection: &ConnectionName, environment: Environment) -> Self {
        let name = connection.as_str().to_owned();
        self.0.environments.insert(name, environment);
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
        let environment = self.environments.get(connection).copied();
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
            self.store(&route.sink, &alert);
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
            environments: BTreeMap::new(),
            journal: Arc::new(TracingJournal),
            clock: Arc::new(SystemClock::new()),
            most: MOST,
            writing: Mutex::default(),
            memory: Mutex::default(),
            recorded: watch::Sender::new(0),
        })
    }

    /// Returns how many events this process has recorded here, and changes with them.
    pub fn recorded(&self) -> watch::Receiver<u64> {
        self.recorded.subscribe()
    }

    /// Tells what waits for each sink: those with a route, and those for which something waits without one.
    pub fn report(&self) -> Result<Vec<SinkReport>, StoreFailure> {
        self.sinks()?
            .into_iter()
            .map(|sink| self.report_on(sink))
            .collect()
    }

    /// Lists what waits, sink by sink, the oldest first.
    pub fn waiting(&self) -> Result<Vec<Waiting>, StoreFailure> {
        let mut all = Vec::new();
        for sink in self.sinks()? {
            let attempts = self.attempts(&sink);
            all.extend(self.entries(&sink)?.into_iter().map(|entry| Waiting {
                sink: sink.clone(),
                tries: attempts.tries(&entry.alert.id),
                alert: entry.alert,
            }));
        }
        Ok(all)
    }

    /// Deletes an alert without delivering it. Returns for how many sinks it waited.
    pub fn discard(&self, id: &str) -> Result<usize, StoreFailure> {
        let mut discarded = 0;
        for sink in self.sinks()? {
            for entry in self.entries(&sink)? {
                if entry.alert.id == id {
                    self.remove(&sink, &entry);
                    discarded += 1;
                }
            }
        }
        Ok(discarded)
    }

    fn report_on(&self, sink: SinkName) -> Result<SinkReport, StoreFailure> {
        let now = self.clock.now();
        let entries = self.entries(&sink)?;
        let attempts = self.attempts(&sink);
        let waits_long = entries
            .first()
            .is_some_and(|entry| now.abs_diff(entry.number) > ON_ITS_WAY);
        let tried = entries.iter().any(|e| attempts.tries(&e.alert.id) > 0);
        Ok(SinkReport {
            routed: self.routes.iter().any(|route| route.sink == sink),
            waiting: entries.len(),
            oldest: entries.first().map(|entry| entry.alert.at),
            failures: attempts.failures,
            failing_since: attempts.since,
            next_try_at: attempts.left(now).map(|_| attempts.next_try_at),
            last_error: attempts.last_error,
            overdue: waits_long || tried || (attempts.failures > 0 && !entries.is_empty()),
            sink,
        })
    }

    /// Returns the sinks with a route, and those that have a folder.
    fn sinks(&self) -> Result<BTreeSet<SinkName>, StoreFailure> {
        let mut sinks: BTreeSet<_> = self.routes.iter().map(|route| route.sink.clone()).collect();
        let found = names(&self.folder)?;
        let filed = found.iter().filter_map(|name| name.parse().ok());
        for sink in filed.collect::<Vec<SinkName>>() {
            if !sinks.contains(&sink) && !self.entries(&sink)?.is_empty() {
                sinks.insert(sink);
            }
        }
        Ok(sinks)
    }

    fn store(&self, sink: &SinkName, alert: &Alert) {
        let mut last = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now().min(LATEST);
        let mut entry = Entry {
            number: now.max(last.saturating_add(1)),
            alert: alert.clone(),
        };
        let written = self.write(sink, &mut entry);
        *last = entry.number;
        match written {
            Ok(()) => self.bound(sink),
            Err(failure) => self.hold(sink, entry, &failure),
        }
    }

    fn write(&self, sink: &SinkName, entry: &mut Entry) -> Result<(), StoreFailure> {
        let folder = self.prepare(sink)?;
        let last = entry_names(&folder)?.pop();
        let last = last.and_then(|name| number(&name)).unwrap_or(0);
        entry.number = entry.number.max(last.saturating_add(1));
        let path = folder.join(entry.file_name());
        let bytes = serde_json::to_vec(&entry.alert)
            .map_err(|error| private_file::failure(&io::Error::other(error), &path))?;
        write_durably(&folder, &path, &bytes).map_err(|error| private_file::failure(&error, &path))
    }

    /// Makes the folder of a sink, and checks that it is for this account alone.
    fn prepare(&self, sink: &SinkName) -> Result<PathBuf, StoreFailure> {
        let folder = self.folder_of(sink);
        for path in [&self.folder, &folder] {
            private_file::create_folder(path)
                .map_err(|error| private_file::failure(&error, path))?;
            private_file::check_folder(path)?;
        }
        Ok(folder)
    }

    fn folder_of(&self, sink: &SinkName) -> PathBuf {
        self.folder.join(sink.as_str())
    }

    fn hold(&self, sink: &SinkName, entry: Entry, failure: &StoreFailure) {
        self.tell(
            Severity::Alert,
            "alert-not-stored",
            "An alert cannot be stored. It is held in memory, and lost with this process unless it is delivered.",
            sink,
            &entry.alert,
            Some(&failure.message),
        );
        let mut memory = self.memory();
        memory.entries.push((sink.clone(), entry));
        let of_sink = memory.entries.iter().filter(|(name, _)| name == sink);
        if of_sink.count() > self.most {
            let oldest = memory.entries.iter().position(|(name, _)| name == sink);
            let dropped = oldest.map(|at| memory.entries.remove(at).1);
            drop(memory);
            if let Some(dropped) = dropped {
                self.tell_of_overflow(sink, &dropped.alert);
            }
        }
    }

    /// Drops the oldest where more wait than permitted.
    fn bound(&self, sink: &SinkName) {
        let folder = self.folder_of(sink);
        let Ok(names) = entry_names(&folder) else {
            return;
        };
        for name in &names[..names.len().saturating_sub(self.most)] {
            let path = folder.join(name);
            let dropped = read(&path);
            // Gone already: it was delivered in this very moment.
            if fs::remove_file(&path).is_ok()
                && let Ok(Some(alert)) = dropped
            {
                self.tell_of_overflow(sink, &alert);
            }
        }
    }

    fn tell_of_overflow(&self, sink: &SinkName, alert: &Alert) {
        self.tell(
            Severity::Alert,
            "alert-overflow",
            "Too many alerts wait for a sink. The oldest was dropped.",
            sink,
            alert,
            None,
        );
    }

    /// Records what happened to an alert, in the journal of the outbox's own troubles.
    pub(crate) fn tell(
        &self,
        severity: Severity,
        code: &str,
        message: &str,
        sink: &SinkName,
        alert: &Alert,
        cause: Option<&str>,
    ) {
        let mut fields = vec![
            ("sink".to_owned(), sink.to_string()),
            ("id".to_owned(), alert.id.clone()),
            ("alert".to_owned(), alert.code.clone()),
        ];
        if let Some(cause) = cause {
            fields.push(("cause".to_owned(), cause.to_owned()));
        }
        let event = Event {
            at: self.clock.now(),
            severity,
            code: code.to_owned(),
            message: message.to_owned(),
            fields,
        };
        self.journal.record(&alert.connection, &event);
    }

    /// Returns what waits for a sink, the oldest first. What cannot be read is set aside.
    pub(crate) fn entries(&self, sink: &SinkName) -> Result<Vec<Entry>, StoreFailure> {
        let folder = self.folder_of(sink);
        let mut entries = Vec::new();
        for name in entry_names(&folder)? {
            let Some(number) = number(&name) else {
                continue;
            };
            match read(&folder.join(&name)) {
                Ok(Some(alert)) => entries.push(Entry { number, alert }),
                // Delivered by another process in this moment.
                Ok(None) => {}
                Err(Unreadable::Failed(failure)) => return Err(failure),
                Err(Unreadable::Damaged) => self.set_aside(sink, &folder, &name),
            }
        }
        let memory = self.memory();
        let held = memory.entries.iter().filter(|(name, _)| name == sink);
        entries.extend(held.map(|(_, entry)| entry.clone()));
        entries.retain(|entry| {
            let delivered = (sink.clone(), entry.alert.id.clone());
            !memory.delivered.contains(&delivered)
        });
        entries.sort_by_key(|entry| (entry.number, entry.alert.id.clone()));
        // One whose writing failed at its very end is in both places.
        entries.dedup_by(|a, b| a.alert.id == b.alert.id);
        Ok(entries)
    }

    fn set_aside(&self, sink: &SinkName, folder: &Path, name: &str) {
        let aside = format!("{DAMAGED_PREFIX}{name}");
        if fs::rename(folder.join(name), folder.join(&aside)).is_err() {
            return;
        }
        let event = Event {
            at: self.clock.now(),
            severity: Severity::Alert,
            code: "alert-damaged".to_owned(),
            message: "A stored alert cannot be read. It was set aside, and is not delivered."
                .to_owned(),
            fields: vec![
                ("sink".to_owned(), sink.to_string()),
                ("file".to_owned(), folder.join(aside).display().to_string()),
            ],
        };
        self.journal.record("-", &event);
    }

    /// Stores what is held in memory, where that works by now.
    pub(crate) fn store_held(&self, sink: &SinkName) {
        let held: Vec<Entry> = {
            let memory = self.memory();
            let of_sink = memory.entries.iter().filter(|(name, _)| name == sink);
            of_sink.map(|(_, entry)| entry.clone()).collect()
        };
        for entry in held {
            let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            // Its number stays what it was, and so does its place.
            let path = self.folder_of(sink).join(entry.file_name());
            let Ok(bytes) = serde_json::to_vec(&entry.alert) else {
                continue;
            };
            let written = self
                .prepare(sink)
                .is_ok_and(|folder| write_durably(&folder, &path, &bytes).is_ok());
            if !written {
                return;
            }
            let id = &entry.alert.id;
            let held = |(name, held): &(SinkName, Entry)| name == sink && held.alert.id == *id;
            self.memory().entries.retain(|entry| !held(entry));
        }
    }

    /// Deletes an entry: it was delivered, or is not to be.
    pub(crate) fn remove(&self, sink: &SinkName, entry: &Entry) {
        let id = &entry.alert.id;
        let is_it = |(name, held): &(SinkName, Entry)| name == sink && held.alert.id == *id;
        self.memory().entries.retain(|held| !is_it(held));
        let folder = self.folder_of(sink);
        let path = folder.join(entry.file_name());
        match fs::remove_file(&path) {
            Ok(()) => {
                // Where this is lost in a crash, it is delivered once more.
                let _ = private_file::sync_folder(&folder);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                self.tell(
                    Severity::Warning,
                    "alert-not-deleted",
                    "An alert that is done with cannot be deleted. Another process may deliver it again.",
                    sink,
                    &entry.alert,
                    Some(&error.to_string()),
                );
                let mut memory = self.memory();
                memory.delivered.insert((sink.clone(), id.clone()));
            }
        }
    }

    /// Returns what is known of the tries. What cannot be read is as if there had been none.
    pub(crate) fn attempts(&self, sink: &SinkName) -> Attempts {
        if let Some(attempts) = self.memory().attempts.get(sink) {
            return attempts.clone();
        }
        let path = self.folder_of(sink).join(ATTEMPTS);
        let text = read_text(&path).ok().flatten().unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps what is known of the tries: on disk, or else in memory.
    pub(crate) fn keep_attempts(&self, sink: &SinkName, attempts: &Attempts) {
        let folder = self.folder_of(sink);
        let path = folder.join(ATTEMPTS);
        let kept = serde_json::to_vec(attempts)
            .map_err(io::Error::other)
            .and_then(|bytes| put_in_place(&folder, &path, &bytes));
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
        let folder = self.prepare(sink)?;
        let folder =
            fs::canonicalize(&folder).map_err(|error| private_file::failure(&error, &folder))?;
        FileLock::of(folder.join(LOCK)).lock(wait).await
    }

    /// Removes what writers that died have left. The lock is held.
    pub(crate) fn tidy(&self, sink: &SinkName) {
        let folder = self.folder_of(sink);
        for name in names(&folder).unwrap_or_default() {
            let path = folder.join(&name);
            if name.starts_with(UNFINISHED_PREFIX) && is_older(&path, UNFINISHED) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Returns the clock.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
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

enum Unreadable {
    Damaged,
    Failed(StoreFailure),
}

/// Reads an alert; `None` where the file is gone.
fn read(path: &Path) -> Result<Option<Alert>, Unreadable> {
    let Some(bytes) = read_text(path).map_err(Unreadable::Failed)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|_| Unreadable::Damaged)
}

fn read_text(path: &Path) -> Result<Option<Vec<u8>>, StoreFailure> {
    let Some(file) = private_file::open(path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(LONGEST_FILE)
        .read_to_end(&mut bytes)
        .map_err(|error| private_file::failure(&error, path))?;
    Ok(Some(bytes))
}

fn write_durably(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = unfinished(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    private_file::sync_folder(folder)
}

/// Replaces a file, whole or not at all; a power cut may bring the old one back.
fn put_in_place(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = unfinished(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Born with mode 600; removed where it is not given its name.
fn unfinished(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new()
        .prefix(UNFINISHED_PREFIX)
        .tempfile_in(folder)
}

/// Returns the names of a folder's entries in their order.
fn entry_names(folder: &Path) -> Result<Vec<String>, StoreFailure> {
    let mut names = names(folder)?;
    names.retain(|name| number(name).is_some());
    names.sort_unstable();
    Ok(names)
}

/// Reads the number of an entry from the name of its file; `None` for other files.
fn number(name: &str) -> Option<u64> {
    let (number, id) = name.strip_suffix(".json")?.split_once('-')?;
    let written = number.len() == 20 && number.bytes().all(|b| b.is_ascii_digit());
    (written && !id.is_empty()).then(|| number.parse().ok())?
}

/// Returns the names in a folder; none where there is no folder. Those that are no Unicode are none of ours.
fn names(folder: &Path) -> Result<Vec<String>, StoreFailure> {
    let at = |error: &io::Error| private_file::failure(error, folder);
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(|error| at(&error))?,
    };
    let mut names = Vec::new();
    for entry in listed {
        names.extend(entry.map_err(|error| at(&error))?.file_name().into_string());
    }
    Ok(names)
}

fn is_older(path: &Path, than: Duration) -> bool {
    let written = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    let age = written.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
    age.is_ok_and(|age| age > than)
}

#[cfg(test)]
pub(crate) mod tests;
