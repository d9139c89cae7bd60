//! The store of a simulated process.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use procore_auth_host::{Entry, Key, LockGuard, Store, StoreFailure, Write};

use super::{living, milliseconds};
use crate::simulation::{
    fault::{Call, Fault},
    kernel_lock::{Asked, Ticket},
    oracle::refused_token,
    process::{Process, Step},
    scenario::Event,
    world::{Dead, held},
};
use std::sync::atomic::Ordering;

/// The one durable store, as this process reaches it.
pub(crate) struct SimStore(pub(crate) Arc<Process>);

fn failure(code: &'static str) -> StoreFailure {
    StoreFailure::new(code, "simulated")
}

impl SimStore {
    /// Begins a read or a write, or says why the disk does neither.
    async fn enter(&self, call: Call) -> Result<Result<Step, StoreFailure>, Dead> {
        let process = &self.0;
        let step = process.enter(call).await?;
        if let Some(code) = self.outage(call) {
            return Ok(Err(failure(code)));
        }
        let fails = matches!(step.fault, Some(Fault::ReadFails | Fault::WriteFails));
        if fails {
            process.hit(&step);
            let code = if call == Call::Put { "full" } else { "io" };
            return Ok(Err(failure(code)));
        }
        Ok(Ok(step))
    }

    fn outage(&self, call: Call) -> Option<&'static str> {
        let world = &self.0.world;
        let now = world.now();
        let under_way =
            |chosen: &dyn Fn(Event) -> Option<u64>| world.scenario.is_under_way(now, chosen);
        let unreadable = under_way(&|event| match event {
            Event::DiskUnreadable(span) => Some(span),
            _ => None,
        });
        if unreadable && matches!(call, Call::Get | Call::List) {
            return Some("io");
        }
        let codes = ["full", "read-only", "permission-denied"];
        codes.into_iter().find(|code| {
            matches!(call, Call::Put | Call::Delete)
                && under_way(&|event| match event {
                    Event::DiskRefuses(why, span) if why == *code => Some(span),
                    _ => None,
                })
        })
    }

    /// Ends a write, of which everybody may have seen the effect by now.
    fn written(
        &self,
        step: &Step,
        key: &Key,
        before: Option<&str>,
        write: Write,
    ) -> Result<Result<Write, StoreFailure>, Dead> {
        let process = &self.0;
        let who = process.who;
        let (what, revision) = match &write {
            Write::Stored(revision) => ("writes", Some(*revision)),
            Write::Conflict(_) => ("writes in vain", None),
        };
        let world = &process.world;
        world.note_line(Some(who), what, Some(key.as_str().into()), revision);
        if revision.is_some() {
            world.judge(Some(who), |oracle, sight| {
                oracle.on_write(sight, key.as_str(), before)
            });
        }
        process.leave(step)?;
        if step.fault == Some(Fault::WriteFailsAfter) {
            process.hit(step);
            return Ok(Err(failure("io")));
        }
        Ok(Ok(write))
    }

    /// Returns the token that the session calls dead now.
    fn refused(&self) -> Option<String> {
        let disk = held(&self.0.world.disk);
        refused_token(&disk).map(str::to_owned)
    }

    async fn read(&self, key: &Key) -> Result<Result<Option<Entry>, StoreFailure>, Dead> {
        let step = match self.enter(Call::Get).await? {
            Ok(step) => step,
            Err(failure) => {
                self.0.world.oracle().on_failed_read(key.as_str());
                return Ok(Err(failure));
            }
        };
        let entry = held(&self.0.world.disk).get(key);
        let revision = entry.as_ref().map(|entry| entry.revision);
        self.0.world.note_line(
            Some(self.0.who),
            "reads",
            Some(key.as_str().into()),
            revision,
        );
        self.0.leave(&step)?;
        Ok(Ok(entry))
    }

    async fn write(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Result<Write, StoreFailure>, Dead> {
        let step = match self.enter(Call::Put).await? {
            Ok(step) => step,
            Err(failure) => {
                self.0.world.oracle().on_failed_write(key.as_str());
                return Ok(Err(failure));
            }
        };
        let before = self.refused();
        if step.fault == Some(Fault::TornWrite) && expected.is_some() {
            let torn = held(&self.0.world.disk).tear(key, expected);
            if torn {
                self.0.hit(&step);
                self.0
                    .world
                    .note_about(Some(self.0.who), "tears", key.as_str());
                self.0.world.oracle().on_tear();
                return Err(self.0.crash());
            }
        }
        let write = held(&self.0.world.disk).put(key, value, expected);
        self.written(&step, key, before.as_deref(), write)
    }

    /// Writes over whatever is there, as a program does that looks at nothing.
    pub(crate) async fn overwrite(&self, key: &Key, value: &[u8]) -> Result<Write, StoreFailure> {
        let over = async {
            let step = match self.enter(Call::Put).await? {
                Ok(step) => step,
                Err(failure) => return Ok(Err(failure)),
            };
            let before = self.refused();
            let write = {
                let mut disk = held(&self.0.world.disk);
                let revision = disk.reserve();
                disk.write(key, value, revision);
                Write::Stored(revision)
            };
            self.written(&step, key, before.as_deref(), write)
        };
        living(over.await)
    }

    async fn acquire(&self, wait: Duration) -> Result<Option<LockGuard>, Dead> {
        let process = &self.0;
        let world = &process.world;
        let step = process.enter(Call::Lock).await?;
        process.asked.store(false, Ordering::Relaxed);
        process.refused.store(false, Ordering::Relaxed);
        let ticket = if world.scenario.lock_excludes || world.is_calm() {
            match self.claim(wait).await? {
                Some(ticket) => Some(ticket),
                None => return Ok(None),
            }
        } else {
            None
        };
        world.note(Some(process.who), "locks");
        let guard = LockGuard::new(Held {
            process: Arc::clone(process),
            ticket,
        });
        process.leave(&step)?;
        Ok(Some(guard))
    }

    async fn claim(&self, wait: Duration) -> Result<Option<Ticket>, Dead> {
        let process = &self.0;
        let world = &process.world;
        let (ticket, woken) = match world.lock.ask(process.who) {
            Asked::Taken(ticket) => return Ok(Some(ticket)),
            Asked::Queued(ticket, woken) => (ticket, woken),
        };
        world.note(Some(process.who), "waits for the lock");
        let last = process.machine().after(world.now(), milliseconds(wait));
        let last = world.agenda.book(last);
        let woken = tokio::time::timeout_at(world.agenda.instant(last), woken).await;
        process.alive()?;
        match woken {
            Ok(Ok(at)) => {
                world.agenda.reach(at).await;
                process.alive()?;
                Ok(Some(ticket))
            }
            Ok(Err(_)) => Err(Dead),
            Err(_) => {
                let came = world.lock.give_up(ticket);
                world.note(Some(process.who), "waited in vain for the lock");
                Ok(came.then_some(ticket))
            }
        }
    }
}

#[async_trait]
impl Store for SimStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        living(self.read(key).await)
    }

    async fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        living(self.write(key, value, expected).await)
    }

    async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        let deleted = async {
            let step = match self.enter(Call::Delete).await? {
                Ok(step) => step,
                Err(failure) => return Ok(Err(failure)),
            };
            let before = self.refused();
            let write = held(&self.0.world.disk).delete(key, expected);
            self.written(&step, key, before.as_deref(), write)
        };
        living(deleted.await)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        let listed = async {
            match self.enter(Call::List).await? {
                Err(failure) => Ok(Err(failure)),
                Ok(step) => {
                    let keys = held(&self.0.world.disk).list(prefix);
                    self.0.leave(&step)?;
                    Ok(Ok(keys))
                }
            }
        };
        living(listed.await)
    }

    async fn lock(&self, wait: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        Ok(living(self.acquire(wait).await))
    }
}

/// The lock, held by a process; without a ticket where it excludes nobody.
struct Held {
    process: Arc<Process>,
    ticket: Option<Ticket>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let (process, world) = (&self.process, &self.process.world);
        if !process.is_dead() {
            world.note(Some(process.who), "unlocks");
            world.judge(Some(process.who), |oracle, sight| {
                oracle.on_unlock(sight, process.who)
            });
        }
        if let Some(ticket) = self.ticket {
            world.lock.free(world, ticket);
        }
    }
}
