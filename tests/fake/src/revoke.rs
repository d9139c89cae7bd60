//! `POST /oauth/revoke` (RFC 7009).

use serde_json::json;

use crate::environment::Environment;
use crate::ledger::RowId;
use crate::oauth_error::OAuthError;
use crate::reply::Reply;
use crate::request::Request;
use crate::request_log::Commit;
use crate::world::{Handled, World};

/// Revokes both tokens of a pair, named by either.
///
/// Says 200 also for a token that it does not know. A pair whose access token has *expired* cannot be revoked, whichever of the
/// two is named: the refresh token lives on (as Doorkeeper 5.5 does).
pub(crate) fn revoke(world: &mut World, environment: Environment, request: &Request) -> Handled {
    let form = request.form();
    let (id, secret) = (
        form.get("client_id").unwrap_or_default(),
        form.get("client_secret").unwrap_or_default(),
    );
    let Some(app) = world.registry.authenticate(environment, id, secret) else {
        return OAuthError::RevocationRefused.reply(&world.policy).into();
    };
    let done = Reply::json(200, &json!({}));
    match find(world, environment, form.get("token").unwrap_or_default()) {
        None => done.into(),
        Some(row) if world.ledger.row(row).grant.app != app => {
            OAuthError::RevocationRefused.reply(&world.policy).into()
        }
        Some(row) => {
            world.ledger.revoke(row);
            Handled::committed(done, Commit::Revocation)
        }
    }
}

fn find(world: &World, environment: Environment, token: &str) -> Option<RowId> {
    let now = world.now_ms();
    let live_access = world.ledger.accept(environment, token, now).ok();
    let refresh = || world.ledger.find_live_refresh(environment, token);
    let unexpired = |id: &RowId| !world.ledger.row(*id).is_expired(now);
    live_access.or_else(|| refresh().filter(unexpired))
}
