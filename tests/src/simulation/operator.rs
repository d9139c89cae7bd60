//! What befalls the connection from outside, when its time has come.

use std::sync::Arc;

use procore_auth_host::Secret;

use super::{
    scenario::{DAY, Event, Planned},
    world::{World, held},
};

/// Carries out the events of the scenario. Outages, clock steps and suspensions happen by themselves; they are noted here.
pub(crate) async fn operate(world: Arc<World>) {
    for planned in world.scenario.events.clone() {
        world.agenda.until(planned.at).await;
        world.note_fault(planned.id, None, planned.event.name());
        carry_out(&world, planned);
    }
}

/// Copies the store once a day.
pub(crate) async fn back_up(world: Arc<World>) {
    for day in 0..u64::from(world.plan.days) {
        world.agenda.until(day * DAY + DAY / 8).await;
        held(&world.disk).back_up();
    }
}

fn carry_out(world: &Arc<World>, planned: Planned) {
    match planned.event {
        Event::SecretReset(span) => {
            if let Some(secret) = world.server.reset_secret() {
                world.oracle().keep_secret(secret.expose());
                tokio::spawn(follow(Arc::clone(world), planned.at + span, secret));
            }
        }
        Event::RefreshTokenRevoked => {
            let newest = world.oracle().newest_refresh_token();
            if let Some(newest) = newest {
                world.server.kill_refresh_token(&newest);
            }
        }
        Event::GrantRevoked | Event::Wipe => world.server.revoke_grant(),
        Event::SessionFileRestored => {
            held(&world.disk).restore_file("session");
            world.judge(None, |oracle, sight| oracle.on_restore(sight, false));
        }
        Event::SessionRestored => {
            held(&world.disk).restore("session");
            world.judge(None, |oracle, sight| oracle.on_restore(sight, false));
        }
        Event::StoreRestored => {
            held(&world.disk).restore_all();
            world.judge(None, |oracle, sight| oracle.on_restore(sight, true));
        }
        Event::ClockSet(..)
        | Event::Suspended(..)
        | Event::ServerDown(_)
        | Event::NetworkDown(..)
        | Event::DiskRefuses(..)
        | Event::DiskUnreadable(_)
        | Event::SinkDown(_) => {}
    }
}

/// Puts the new secret into the configuration, unless a newer one is there by then.
async fn follow(world: Arc<World>, at: u64, secret: Secret) {
    world.agenda.until(at.min(world.scenario.calm)).await;
    world.note(None, "the configuration has the new secret");
    *held(&world.configured) = secret;
}
