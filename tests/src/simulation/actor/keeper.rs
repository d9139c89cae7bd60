//! The keeper, as `procore-auth run` is one: it comes when it was told to, and looks in between.

use std::sync::Arc;

use procore_auth_host::{Connection, Health, Status};

use super::{Habit, want_sign_in};
use crate::simulation::{
    chance::Stream,
    process::{Need, Process},
    scenario::{HOUR, MINUTE, SECOND},
    world::Dead,
};

/// The longest sleep between two looks at the clock. The tool looks once a minute; here time is dear.
const LOOK: u64 = 2 * HOUR;

/// The pause where a person must act. The tool comes by each minute to see whether they did.
const PERSON: u64 = 10 * MINUTE;

/// The pauses after a visit that failed: the first, and the longest.
const PAUSES: (u64, u64) = (5 * SECOND, 300 * SECOND);

/// The keeper.
pub(super) struct Keeper;

impl Habit for Keeper {
    async fn spend(&mut self, process: &Arc<Process>) -> Result<u64, Dead> {
        let mut connection = process.connect();
        let mut pause = PAUSES.0;
        let mut visit = 0;
        while process.world.now() < process.world.scenario.end {
            let mut rng = process.stream(Stream::Habit, visit);
            visit += 1;
            let visited = process.want(Need::Use, connection.upkeep(None)).await;
            process.alive()?;
            process.deliver().await?;
            match visited {
                Ok(visit) => {
                    pause = PAUSES.0;
                    if visit.status.health == Health::SignInRequired {
                        want_sign_in(&process.world);
                    }
                    let waits_for_a_person = matches!(
                        visit.status.health,
                        Health::SignInRequired | Health::Misconfigured
                    );
                    let soonest = if waits_for_a_person {
                        process.wall() + PERSON
                    } else {
                        0
                    };
                    let next = visit.come_back_at.max(soonest);
                    wait(process, &connection, next, &visit.status).await?;
                    if visit.status.health == Health::Misconfigured {
                        connection = process.connect();
                    }
                    process.rest(rng.u64(0..300)).await?;
                }
                Err(error) => {
                    process
                        .world
                        .note_about(Some(process.who), "visits in vain:", error.code());
                    process.rest(pause).await?;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
        Ok(0)
    }
}

/// Waits for the moment on the wall clock, or for a change that others made.
async fn wait(
    process: &Arc<Process>,
    connection: &Connection,
    come_back_at: u64,
    then: &Status,
) -> Result<(), Dead> {
    loop {
        let now = process.world.now();
        let left = process.machine().until(now, come_back_at);
        let last = process.world.scenario.end.saturating_sub(now);
        if left.min(last) == 0 {
            return Ok(());
        }
        process.rest(left.min(LOOK).min(last)).await?;
        if left > LOOK {
            let status = process.want(Need::Nothing, connection.status()).await;
            process.alive()?;
            if status.is_ok_and(|now| differs(then, &now)) {
                return Ok(());
            }
        }
    }
}

/// Whether somebody else signed in or refreshed.
fn differs(then: &Status, now: &Status) -> bool {
    then.token.map(|token| token.issued_at) != now.token.map(|token| token.issued_at)
        || (then.health == Health::SignInRequired) != (now.health == Health::SignInRequired)
}
