//! Those of whom each visit is a process of its own: a cron job, and somebody at a terminal.

use std::{sync::Arc, time::Duration};

use super::{Habit, User, note_failure, want_sign_in};
use crate::simulation::{
    chance::Stream,
    process::{Need, Process},
    scenario::{HOUR, MINUTE, SECOND},
    world::Dead,
};
use procore_auth_host::Health;

/// How long it takes until the cron job comes again.
const VISITS: u64 = HOUR;

/// One of them.
pub(super) struct Visitor {
    is_cron: bool,
}

impl Visitor {
    /// `procore-auth tick --next-visit 60m`, once an hour.
    pub(super) fn cron() -> Self {
        Self { is_cron: true }
    }

    /// `procore-auth token`, a call of the API and `procore-auth status`, a few times a day.
    pub(super) fn tool() -> Self {
        Self { is_cron: false }
    }

    async fn tick(process: &Arc<Process>) -> Result<u64, Dead> {
        let connection = process.connect();
        let upkeep = connection.upkeep(Some(Duration::from_millis(VISITS)));
        let visited = process.want(Need::Ahead(VISITS), upkeep).await;
        process.alive()?;
        process.deliver().await?;
        if visited.is_ok_and(|visit| visit.status.health == Health::SignInRequired) {
            want_sign_in(&process.world);
        }
        let now = process.world.now();
        let next = now - now % VISITS + VISITS;
        Ok(next - now)
    }

    async fn look(process: &Arc<Process>) -> Result<u64, Dead> {
        let mut rng = process.stream(Stream::Habit, 0);
        let mut user = User::new(process, true);
        // What it comes to stands in the trace, and with the oracle.
        let _ = user.call().await?;
        let status = process.want(Need::Nothing, user.connection.status()).await;
        process.alive()?;
        if let Err(error) = status {
            note_failure(process, Need::Nothing, &error);
        }
        Ok(rng.u64(20 * MINUTE..9 * HOUR) + rng.u64(..SECOND))
    }
}

impl Habit for Visitor {
    async fn spend(&mut self, process: &Arc<Process>) -> Result<u64, Dead> {
        if self.is_cron {
            Self::tick(process).await
        } else {
            Self::look(process).await
        }
    }
}
