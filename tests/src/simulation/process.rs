//! A process: one life of an actor, with the capabilities that are lent to its plugin.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use procore_auth_host::{
    Connection, Grant, Settings, Store,
    alerts::{Courier, Outbox, Route, Sink},
};

use super::{
    capabilities::{SimClock, SimEntropy, SimHttp, SimJournal, SimSink, SimStore},
    chance::{Stream, stream},
    fault::{Call, Fault, FaultId},
    machine::Machine,
    plan::Variant,
    scenario::MINUTE,
    trace::Who,
    variant::{ClaimInMemory, LatchWithoutReread, LockAroundSave, SaveAfterUse},
    world::{Dead, World, held},
};
use crate::{plugin, rig::REDIRECT_URI};

/// How long the end of a process waits for what it could not save.
const SAVING: u64 = 10 * MINUTE;

/// How long a process delivers alerts at a stretch.
pub(crate) const DELIVERING: Duration = Duration::from_secs(600);

/// The number of a process's first sleep. Sleeps are counted by themselves, and begin at once: one in the background may begin
/// before or after another call of the same moment, as real time has it.
const FIRST_SLEEP: u32 = 1 << 31;

/// What an actor wants a token for. It decides whether a refresh is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A call now.
    Use,
    /// A call that was answered 401.
    Renew,
    /// Calls for so many milliseconds.
    Ahead(u64),
    /// None: it signs in, or looks.
    Nothing,
}

/// One life of an actor.
pub(crate) struct Process {
    pub(crate) world: Arc<World>,
    pub(crate) who: Who,
    calls: AtomicU32,
    sleeps: AtomicU32,
    draws: AtomicU32,
    dead: AtomicBool,
    /// What its call is for. One that goes on in the background counts as well.
    pub(crate) needs: Mutex<Vec<Need>>,
    /// What it has opened, until it ends.
    opened: Mutex<Vec<Connection>>,
    /// Whether the token endpoint was asked since the lock was taken, and whether it refused.
    pub(crate) asked: AtomicBool,
    pub(crate) refused: AtomicBool,
}

/// A capability call under way.
pub(crate) struct Step {
    pub(crate) fault: Option<Fault>,
    id: FaultId,
    pub(crate) rng: Rng,
}

impl Process {
    /// Begins a life.
    pub(crate) fn start(world: &Arc<World>, who: Who) -> Arc<Self> {
        world.note(Some(who), "starts");
        Arc::new(Self {
            world: Arc::clone(world),
            who,
            calls: AtomicU32::new(0),
            sleeps: AtomicU32::new(FIRST_SLEEP),
            draws: AtomicU32::new(0),
            dead: AtomicBool::new(false),
            needs: Mutex::default(),
            opened: Mutex::default(),
            asked: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        })
    }

    /// Opens the connection with the configuration as it is now.
    pub(crate) fn connect(self: &Arc<Self>) -> Connection {
        let server = &self.world.server;
        let settings = Settings::new(
            "acme".parse().expect("a name"),
            server.environment,
            server.client_id(),
            held(&self.world.configured).clone(),
            Grant::AuthorizationCode {
                redirect_uri: REDIRECT_URI.to_owned(),
            },
        );
        let mine = SimStore(Arc::clone(self));
        let store: Arc<dyn Store> = match self.world.plan.variant {
            Variant::Sound => Arc::new(mine),
            Variant::LockAroundSave => Arc::new(LockAroundSave(mine)),
            Variant::SaveAfterUse => Arc::new(SaveAfterUse::over(mine)),
            Variant::LatchWithoutReread => Arc::new(LatchWithoutReread::over(mine)),
            Variant::ClaimInMemory => Arc::new(ClaimInMemory::over(mine)),
        };
        let connection = Connection::builder(plugin(), settings)
            .http(Arc::new(SimHttp(Arc::clone(self))))
            .store(store)
            .clock(Arc::new(SimClock(Arc::clone(self))))
            .random(Arc::new(SimEntropy(Arc::clone(self))))
            .journal(Arc::new(SimJournal {
                process: Arc::clone(self),
                outbox: self.outbox(),
            }))
            .actor(self.who.to_string())
            .build()
            .expect("complete");
        held(&self.opened).push(connection.clone());
        connection
    }

    fn outbox(self: &Arc<Self>) -> Arc<Outbox> {
        Outbox::builder(self.world.folder.path().join("outbox"))
            .route(Route::to(SimSink::name()))
            // In some runs nobody delivers until the end.
            .most(usize::MAX)
            .clock(Arc::new(SimClock(Arc::clone(self))))
            .random(Arc::new(SimEntropy(Arc::clone(self))))
            .build()
    }

    /// Makes what takes alerts from the outbox to the sink.
    pub(crate) fn courier(self: &Arc<Self>) -> Courier {
        let sink: Arc<dyn Sink> = Arc::new(SimSink::new(self));
        Courier::new(self.outbox(), [sink])
    }

    /// Delivers the alerts that wait, unless somebody else is at it.
    pub(crate) async fn deliver(self: &Arc<Self>) -> Result<(), Dead> {
        if let Ok(_alone) = self.world.delivering.try_lock() {
            self.courier().drain(DELIVERING).await;
        }
        self.alive()
    }

    /// Waits at its end as the tool does, until everything that was received is saved.
    pub(crate) async fn save(&self) {
        let opened = held(&self.opened).clone();
        let all = async {
            for connection in &opened {
                connection.saved().await;
            }
        };
        let last = self.machine().after(self.world.now(), SAVING);
        let last = self.world.agenda.book(last);
        // Where it is not saved by then, it is lost with the process.
        let _ = tokio::time::timeout_at(self.world.agenda.instant(last), all).await;
    }

    pub(crate) fn machine(&self) -> &Machine {
        self.world.machine_of(self.who)
    }

    /// Returns the machine's wall clock.
    pub(crate) fn wall(&self) -> u64 {
        self.machine().wall(self.world.now())
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Fails where the process is dead.
    pub(crate) fn alive(&self) -> Result<(), Dead> {
        if self.is_dead() { Err(Dead) } else { Ok(()) }
    }

    /// Opens a stream for what is lent to the plugin.
    pub(crate) fn draw(&self, purpose: Stream) -> Rng {
        let number = self.draws.fetch_add(1, Ordering::Relaxed);
        self.stream(purpose, number)
    }

    /// Opens the stream of this number.
    pub(crate) fn stream(&self, purpose: Stream, number: u32) -> Rng {
        let Who { actor, life } = self.who;
        let name = [u64::from(actor), u64::from(life), u64::from(number)];
        stream(self.world.plan.seed, purpose, &name)
    }

    /// Begins a capability call: time passes, and what befalls it is decided.
    pub(crate) async fn enter(&self, call: Call) -> Result<Step, Dead> {
        self.alive()?;
        let sleeps = call == Call::Sleep;
        let numbers = if sleeps { &self.sleeps } else { &self.calls };
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let id = FaultId::Call(self.who.actor, self.who.life, number);
        let mut rng = self.stream(Stream::Latency, number);
        let mut step = Step {
            fault: self.fault(call, id, number),
            id,
            rng: Rng::new(),
        };
        let latency = if sleeps {
            0
        } else if rng.u8(..16) == 0 {
            rng.u64(20..400)
        } else {
            rng.u64(1..8)
        };
        step.rng = rng;
        let stall = match step.fault {
            Some(Fault::Stall(span)) => {
                self.hit(&step);
                span
            }
            _ => 0,
        };
        if latency + stall > 0 {
            self.rest(latency + stall).await?;
        }
        if step.fault == Some(Fault::CrashBefore) {
            self.hit(&step);
            return Err(self.crash());
        }
        Ok(step)
    }

    fn fault(&self, call: Call, id: FaultId, number: u32) -> Option<Fault> {
        if !self.world.has_faults() || !self.world.plan.permits(id) {
            return None;
        }
        let mut rng = self.stream(Stream::Fault, number);
        Fault::draw(call, self.world.scenario.weather, &mut rng)
    }

    /// Notes that the fault of this call happens.
    pub(crate) fn hit(&self, step: &Step) {
        if let Some(fault) = step.fault {
            self.world.note_fault(step.id, Some(self.who), fault.name());
        }
    }

    /// Ends a capability call that has had its effect.
    pub(crate) fn leave(&self, step: &Step) -> Result<(), Dead> {
        if step.fault == Some(Fault::CrashAfter) {
            self.hit(step);
            return Err(self.crash());
        }
        self.alive()
    }

    /// Lets time pass; not while the machine sleeps.
    pub(crate) async fn rest(&self, span: u64) -> Result<(), Dead> {
        let at = self.machine().after(self.world.now(), span);
        self.world.agenda.until(at).await;
        self.alive()
    }

    /// Dies: what runs of it ends at its next step, and its lock is free.
    pub(crate) fn crash(&self) -> Dead {
        if !self.dead.swap(true, Ordering::Relaxed) {
            let who = self.who;
            self.world.note(Some(who), "dies");
            held(&self.world.tally).crashes += 1;
            self.world
                .judge(Some(who), |oracle, sight| oracle.on_death(sight, who));
            self.world.lock.abandon(&self.world, who);
            held(&self.opened).clear();
        }
        Dead
    }

    /// Ends as a process does that has nothing more to do. What still runs in the background dies with it.
    pub(crate) fn end(&self) {
        if !self.dead.swap(true, Ordering::Relaxed) {
            let who = self.who;
            self.world.note(Some(who), "ends");
            self.world
                .judge(Some(who), |oracle, sight| oracle.on_death(sight, who));
            self.world.lock.abandon(&self.world, who);
            held(&self.opened).clear();
        }
    }

    /// Makes a call of the plugin with its need known to the oracle.
    pub(crate) async fn want<T>(&self, need: Need, call: impl Future<Output = T>) -> T {
        held(&self.needs).push(need);
        held(&self.world.tally).calls += 1;
        let result = call.await;
        let mut needs = held(&self.needs);
        if let Some(place) = needs.iter().position(|other| *other == need) {
            needs.swap_remove(place);
        }
        result
    }
}
