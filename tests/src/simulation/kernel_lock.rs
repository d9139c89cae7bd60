//! The connection's lock, as a kernel keeps it: one holder, freed by its death.

use std::sync::Mutex;

use tokio::sync::oneshot;

use super::{
    chance::{Stream, stream},
    trace::Who,
    world::{World, held},
};

/// A claim on the lock, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// Who has the lock, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct KernelLock(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    tickets: u64,
    holder: Option<(Ticket, Who)>,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    who: Who,
    /// Takes the moment at which the waiter goes on.
    wake: oneshot::Sender<u64>,
}

/// What asking for the lock came to.
pub(crate) enum Asked {
    /// It was free, and is the asker's.
    Taken(Ticket),
    /// The moment at which the asker goes on will be told here; nothing is told to one that died.
    Queued(Ticket, oneshot::Receiver<u64>),
}

impl KernelLock {
    /// Takes the lock, or queues up.
    pub(crate) fn ask(&self, who: Who) -> Asked {
        let mut state = held(&self.0);
        state.tickets += 1;
        let ticket = Ticket(state.tickets);
        if state.holder.is_none() {
            state.holder = Some((ticket, who));
            return Asked::Taken(ticket);
        }
        let (wake, woken) = oneshot::channel();
        state.waiting.push(Waiting { ticket, who, wake });
        Asked::Queued(ticket, woken)
    }

    /// Stops waiting. Says whether the lock came in the last moment.
    pub(crate) fn give_up(&self, ticket: Ticket) -> bool {
        let mut state = held(&self.0);
        state.waiting.retain(|waiting| waiting.ticket != ticket);
        state.holder.is_some_and(|(holder, _)| holder == ticket)
    }

    /// Frees the lock, if this claim holds it, for one of those who wait.
    pub(crate) fn free(&self, world: &World, ticket: Ticket) {
        let mut state = held(&self.0);
        if state.holder.is_some_and(|(holder, _)| holder == ticket) {
            state.hand_on(world);
        }
    }

    /// Frees what a dead process held, and forgets what it waited for.
    pub(crate) fn abandon(&self, world: &World, who: Who) {
        let mut state = held(&self.0);
        state.waiting.retain(|waiting| waiting.who != who);
        if state.holder.is_some_and(|(_, holder)| holder == who) {
            state.hand_on(world);
        }
    }
}

impl State {
    fn hand_on(&mut self, world: &World) {
        self.holder = None;
        let now = world.agenda.now();
        let mut rng = stream(world.plan.seed, Stream::Lock, &[now]);
        while !self.waiting.is_empty() {
            let next = self.waiting.swap_remove(rng.usize(..self.waiting.len()));
            let machine = world.machine_of(next.who);
            let at = world.agenda.book(machine.after(now, rng.u64(1..20)));
            if next.wake.send(at).is_ok() {
                self.holder = Some((next.ticket, next.who));
                return;
            }
        }
    }
}
