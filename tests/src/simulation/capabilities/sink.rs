//! The sink that takes alerts to people.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use procore_auth_host::alerts::{Alert, Sink, SinkName, Undelivered};

use super::living;
use crate::simulation::{
    fault::{Call, Fault},
    process::Process,
    scenario::Event,
    world::Dead,
};

/// How long the sink wants to be left alone where it says so.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sink, as a courier in this process reaches it.
pub(crate) struct SimSink {
    process: Arc<Process>,
    name: SinkName,
}

impl SimSink {
    pub(crate) fn new(process: &Arc<Process>) -> Self {
        Self {
            process: Arc::clone(process),
            name: Self::name(),
        }
    }

    pub(crate) fn name() -> SinkName {
        "ops".parse().expect("a name")
    }

    async fn take(&self, alert: &Alert) -> Result<Result<String, Undelivered>, Dead> {
        let process = &self.process;
        let step = process.enter(Call::Request).await?;
        if self.is_out_of_reach() {
            return Ok(Err(Undelivered::unreachable("simulated")));
        }
        let failure = match step.fault {
            Some(Fault::NotSent | Fault::RequestLost) => Some(Undelivered::unreachable("lost")),
            Some(Fault::GatewayBefore) => Some(Undelivered::failing("502", None)),
            Some(Fault::TooMany) => Some(Undelivered::failing("429", Some(PATIENCE))),
            Some(Fault::Portal) => Some(Undelivered::refused("no JSON")),
            _ => None,
        };
        if let Some(failure) = failure {
            process.hit(&step);
            return Ok(Err(failure));
        }
        process
            .world
            .note_about(Some(process.who), "the sink takes", &alert.code);
        let left = process.leave(&step);
        let is_heard = left.is_ok() && matches!(step.fault, None | Some(Fault::Stall(_)));
        process.world.judge(Some(process.who), |oracle, _| {
            oracle.deliveries.on_taken(alert, is_heard)
        });
        left?;
        if is_heard {
            return Ok(Ok("taken".to_owned()));
        }
        process.hit(&step);
        Ok(Err(Undelivered::unreachable("no reply")))
    }

    fn is_out_of_reach(&self) -> bool {
        let world = &self.process.world;
        let mine = world.scenario.actors[usize::from(self.process.who.actor)].machine;
        world
            .scenario
            .is_under_way(world.now(), |event| match event {
                Event::SinkDown(span) => Some(span),
                Event::NetworkDown(machine, span) if machine == mine => Some(span),
                _ => None,
            })
    }
}

#[async_trait]
impl Sink for SimSink {
    fn name(&self) -> &SinkName {
        &self.name
    }

    async fn deliver(&self, alert: &Alert, _: Duration) -> Result<String, Undelivered> {
        living(self.take(alert).await)
    }
}
