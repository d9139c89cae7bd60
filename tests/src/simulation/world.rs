//! Everything that the processes of one run share, and the record of what they do.

use std::{
    panic::resume_unwind,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use procore_auth_host::Secret;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::{
    agenda::Agenda,
    disk::Disk,
    fault::{FaultId, Hit},
    kernel_lock::KernelLock,
    machine::Machine,
    oracle::{Breach, Oracle, Sight},
    plan::Plan,
    scenario::{MINUTE, Role, Scenario},
    server::Server,
    tally::Tally,
    trace::{Line, Trace, Who},
};

/// How long it takes until somebody has signed in for the first time, and all others begin.
pub(crate) const SETUP: u64 = 3 * MINUTE;

/// Everything that the processes of one run share.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) scenario: Scenario,
    pub(crate) machines: Vec<Machine>,
    pub(crate) agenda: Agenda,
    pub(crate) server: Server,
    pub(crate) disk: Mutex<Disk>,
    pub(crate) lock: KernelLock,
    /// The client secret in the configuration.
    pub(crate) configured: Mutex<Secret>,
    /// When somebody was first told that a person must sign in.
    pub(crate) sign_in_wanted: Mutex<Option<u64>>,
    pub(crate) tally: Mutex<Tally>,
    /// Holds the outbox, of the alerts that are not delivered yet. A real folder: no fault befalls it.
    pub(crate) folder: TempDir,
    /// Held by whoever delivers them: to wait for the lock on a real file takes real time.
    pub(crate) delivering: tokio::sync::Mutex<()>,
    oracle: Mutex<Oracle>,
    trace: Mutex<Trace>,
    hits: Mutex<Vec<Hit>>,
    breach: Mutex<Option<(u64, Option<Who>, Breach)>>,
    pub(crate) stop: Notify,
    closed: AtomicBool,
}

/// The process is dead: whatever it was about to do does not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dead;

impl Dead {
    /// Ends the task of a plugin call as the death of its process does: nothing of it runs on, and its lock is free.
    pub(crate) fn unwind(self) -> ! {
        resume_unwind(Box::new(self))
    }
}

impl World {
    /// Builds the world of a plan. To be called inside the run's runtime.
    pub(crate) fn of(plan: Plan, keep_whole_trace: bool) -> Self {
        let scenario = Scenario::of(&plan);
        let machines = (0..scenario.machines)
            .map(|number| Machine::of(&scenario, number))
            .collect();
        let server = Server::of(&scenario, plan.seed);
        Self {
            machines,
            agenda: Agenda::start(),
            disk: Mutex::default(),
            lock: KernelLock::default(),
            configured: Mutex::new(server.first_secret()),
            sign_in_wanted: Mutex::default(),
            tally: Mutex::default(),
            folder: folder(),
            delivering: tokio::sync::Mutex::default(),
            oracle: Mutex::new(Oracle::of(&scenario, plan.variant)),
            trace: Mutex::new(Trace::new(keep_whole_trace)),
            hits: Mutex::default(),
            breach: Mutex::default(),
            stop: Notify::new(),
            closed: AtomicBool::new(false),
            server,
            scenario,
            plan,
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.agenda.now()
    }

    pub(crate) fn machine_of(&self, who: Who) -> &Machine {
        &self.machines[self.scenario.actors[usize::from(who.actor)].machine]
    }

    /// Returns the number of the person who signs in.
    pub(crate) fn admin(&self) -> u16 {
        let mut actors = self.scenario.actors.iter();
        let number = actors.position(|actor| actor.role == Role::Admin);
        u16::try_from(number.unwrap_or_default()).unwrap_or_default()
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.now() >= self.scenario.calm
    }

    /// Whether faults may happen: not before everything is set up, nor in the calm.
    pub(crate) fn has_faults(&self) -> bool {
        (SETUP..self.scenario.calm).contains(&self.now())
    }

    /// Notes a step.
    pub(crate) fn note(&self, who: Option<Who>, what: &'static str) {
        self.note_line(who, what, None, None);
    }

    /// Notes a step with what it is about.
    pub(crate) fn note_about(&self, who: Option<Who>, what: &'static str, detail: &str) {
        self.note_line(who, what, Some(detail.into()), None);
    }

    /// Notes a step with a number.
    pub(crate) fn note_line(
        &self,
        who: Option<Who>,
        what: &'static str,
        detail: Option<Box<str>>,
        number: Option<u64>,
    ) {
        if self.is_closed() {
            return;
        }
        held(&self.trace).note(Line {
            at: self.now(),
            who,
            what,
            detail,
            number,
        });
    }

    /// Notes that a fault happens.
    pub(crate) fn note_fault(&self, id: FaultId, who: Option<Who>, kind: &'static str) {
        if self.is_closed() {
            return;
        }
        let at = self.now();
        held(&self.hits).push(Hit { id, kind, at });
        self.note_line(who, "FAULT", Some(kind.into()), None);
    }

    /// Shows the oracle a step. The first breach of an invariant ends the run.
    pub(crate) fn judge(
        &self,
        who: Option<Who>,
        step: impl FnOnce(&mut Oracle, &Sight<'_>) -> Result<(), Breach>,
    ) {
        if self.is_closed() {
            return;
        }
        let disk = held(&self.disk);
        let sight = Sight {
            now: self.now(),
            disk: &disk,
            server: &self.server,
        };
        let verdict = step(&mut held(&self.oracle), &sight);
        if let Err(breach) = verdict {
            let mut first = held(&self.breach);
            first.get_or_insert((sight.now, who, breach));
            self.stop.notify_one();
        }
    }

    /// Returns what the oracle knows.
    pub(crate) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        held(&self.oracle)
    }

    /// Stops recording: what is torn down afterwards is no step.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn trace(&self) -> MutexGuard<'_, Trace> {
        held(&self.trace)
    }

    pub(crate) fn take_hits(&self) -> Vec<Hit> {
        std::mem::take(&mut held(&self.hits))
    }

    pub(crate) fn take_breach(&self) -> Option<(u64, Option<Who>, Breach)> {
        held(&self.breach).take()
    }
}

/// Makes a folder; in memory where that is to be had, for there are thousands of runs.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder")
}

/// Locks. A panic elsewhere leaves what is shared usable: each change of it is one call.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
