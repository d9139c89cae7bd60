//! The person who signs in some hours after an alert asked for it.

use std::sync::Arc;

use procore_auth_host::{Connection, Health, Secret};

use super::Habit;
use crate::simulation::{
    chance::Stream,
    process::{Need, Process},
    scenario::{HOUR, MINUTE},
    world::{Dead, held},
};

/// How often the person reads mail.
const MAIL: u64 = 15 * MINUTE;

/// The person.
#[derive(Default)]
pub(super) struct Admin {
    signed_in: bool,
}

impl Habit for Admin {
    async fn spend(&mut self, process: &Arc<Process>) -> Result<u64, Dead> {
        let world = &process.world;
        if !self.signed_in {
            sign_in(process, &process.connect()).await?;
            self.signed_in = true;
            return Ok(MAIL);
        }
        let since = loop {
            if world.now() >= world.scenario.end {
                return Ok(0);
            }
            let wanted = *held(&world.sign_in_wanted);
            match wanted {
                Some(since) => break since,
                None => process.rest(MAIL).await?,
            }
        };
        let mut rng = process.stream(Stream::Person, 0);
        let patience = if world.is_calm() {
            0
        } else {
            rng.u64(20 * MINUTE..4 * HOUR)
        };
        if world.now() < since + patience {
            return Ok(MAIL);
        }
        let connection = process.connect();
        let status = process.want(Need::Nothing, connection.status()).await;
        process.alive()?;
        let needed = status
            .is_ok_and(|status| matches!(status.health, Health::SignInRequired | Health::AtRisk));
        if !needed || sign_in(process, &connection).await? {
            *held(&world.sign_in_wanted) = None;
            return Ok(MAIL);
        }
        Ok(rng.u64(2 * MINUTE..MAIL))
    }

    fn uses_tokens(&self) -> bool {
        false
    }
}

/// Signs in with a browser. Says whether it worked.
async fn sign_in(process: &Arc<Process>, connection: &Connection) -> Result<bool, Dead> {
    let world = &process.world;
    let login = process.want(Need::Nothing, connection.begin_login()).await;
    process.alive()?;
    let Ok(login) = login else {
        return Ok(false);
    };
    process.rest(MINUTE).await?;
    let Some(callback) = browse(process, &login.authorize_url) else {
        return Ok(false);
    };
    let finish = connection.finish_login(Secret::new(callback));
    let finished = process.want(Need::Nothing, finish).await;
    process.alive()?;
    match &finished {
        Ok(_) => world.note(Some(process.who), "has signed in"),
        Err(error) => world.note_about(Some(process.who), "could not sign in:", error.code()),
    }
    Ok(finished.is_ok())
}

/// Opens the link, and returns the address on which the browser ends.
fn browse(process: &Process, url: &str) -> Option<String> {
    let world = &process.world;
    let request = http::Request::get(url).body(Vec::new()).ok()?;
    let handled = world.server.handle(world.now(), request);
    let location = handled.response.headers().get("location")?;
    let location = location.to_str().ok()?.to_owned();
    let (_, code) = location.split_once("code=")?;
    let code = code.split('&').next().unwrap_or_default();
    world.oracle().keep_secret(code);
    Some(location)
}
