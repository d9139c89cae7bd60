//! The capabilities that are lent to the plugin of a simulated process.

mod http;
mod sink;
mod store;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use procore_auth_host::{Clock, Event, Journal, Random, Severity, alerts::Outbox};

pub(crate) use self::{
    http::{Presented, SimHttp},
    sink::SimSink,
    store::SimStore,
};
use super::{
    chance::Stream,
    fault::Call,
    process::Process,
    world::{Dead, held},
};

/// The clocks of the process's machine.
pub(crate) struct SimClock(pub(crate) Arc<Process>);

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> u64 {
        self.0.wall()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.machine().awake(self.0.world.now()))
    }

    async fn sleep(&self, duration: Duration) {
        let slept = async {
            let step = self.0.enter(Call::Sleep).await?;
            self.0.rest(milliseconds(duration)).await?;
            self.0.leave(&step)
        };
        slept.await.unwrap_or_else(|dead| dead.unwind());
    }
}

/// Bytes that follow from the seed.
pub(crate) struct SimEntropy(pub(crate) Arc<Process>);

impl Random for SimEntropy {
    fn fill(&self, buf: &mut [u8]) {
        self.0.draw(Stream::Entropy).fill(buf);
    }
}

/// Shows every event to the oracle, and keeps in the outbox what is for people.
pub(crate) struct SimJournal {
    pub(crate) process: Arc<Process>,
    pub(crate) outbox: Arc<Outbox>,
}

impl Journal for SimJournal {
    fn record(&self, connection: &str, event: &Event) {
        let process = &self.process;
        if process.is_dead() {
            return;
        }
        let who = Some(process.who);
        process.world.note_about(who, "records", &event.code);
        if event.severity == Severity::Alert {
            held(&process.world.tally).alerts += 1;
            process.world.oracle().deliveries.on_recorded(event);
        }
        self.outbox.record(connection, event);
        process.world.judge(who, |oracle, sight| {
            oracle.on_event(sight, process.who, event)
        });
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Unwinds the task of a process that has died.
pub(crate) fn living<T>(result: Result<T, Dead>) -> T {
    result.unwrap_or_else(|dead| dead.unwind())
}
