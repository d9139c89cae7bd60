//! An agent: a process that lives long, and calls the API now and then.

use std::sync::Arc;

use procore_auth_host::ErrorKind;

use super::{Habit, Refused, User};
use crate::simulation::{
    chance::Stream,
    process::Process,
    scenario::{HOUR, MINUTE, SECOND},
    world::{Dead, held},
};

/// An agent.
pub(super) struct Agent;

impl Habit for Agent {
    async fn spend(&mut self, process: &Arc<Process>) -> Result<u64, Dead> {
        let mut user = User::new(process, true);
        let secret = held(&process.world.configured).clone();
        let mut visit = 0;
        loop {
            let mut rng = process.stream(Stream::Habit, visit);
            visit += 1;
            let outcome = user.call().await?;
            if process.world.now() < process.world.scenario.calm && rng.u8(..4) == 0 {
                user.work(visit).await?;
            }
            if process.world.now() >= process.world.scenario.end {
                return Ok(0);
            }
            let pause = match &outcome {
                // At the due moment, as everybody else, or at any other.
                Ok(()) if rng.u8(..4) > 0 => user.until_due(rng.u64(0..300)),
                Ok(()) => rng.u64(MINUTE..2 * HOUR),
                Err(Refused::Api(_)) => rng.u64(10 * SECOND..10 * MINUTE),
                Err(Refused::NoToken(error)) => match error.kind() {
                    ErrorKind::SignInRequired | ErrorKind::Configuration => {
                        rng.u64(10 * MINUTE..HOUR)
                    }
                    _ => {
                        let wall = process.wall();
                        let told = error.retry_at().map(|at| at.saturating_sub(wall));
                        told.unwrap_or(0).max(rng.u64(5 * SECOND..5 * MINUTE))
                    }
                },
            };
            let last = process
                .world
                .scenario
                .end
                .saturating_sub(process.world.now());
            process.rest(pause.min(last)).await?;
            if *held(&process.world.configured) != secret {
                // Whoever mends the configuration restarts what reads it.
                return Ok(rng.u64(SECOND..10 * SECOND));
            }
        }
    }
}
