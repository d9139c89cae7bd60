//! Access tokens on protected resources: acceptance, and the 401 replies.

use serde_json::json;

use crate::environment::Environment;
use crate::ledger::{Refusal, RowId};
use crate::oauth_error::challenge;
use crate::reply::Reply;
use crate::request::Request;
use crate::world::World;

/// Finds the row of the request's access token, or makes the 401 reply.
///
/// The use of a known token ends the grace of the refresh token before it, also if the token is expired (as in Doorkeeper).
pub(crate) fn accept(
    world: &mut World,
    environment: Environment,
    request: &Request,
) -> Result<RowId, Reply> {
    let Some(token) = request.bearer() else {
        return Err(unauthorized(Refusal::Unknown));
    };
    if let Some(known) = world.ledger.find_access(environment, token) {
        world.ledger.note_use(known, world.policy.old_access_token);
    }
    world
        .ledger
        .accept(environment, token, world.now_ms())
        .map_err(unauthorized)
}

fn unauthorized(refusal: Refusal) -> Reply {
    let description = match refusal {
        Refusal::Expired => "The access token expired",
        Refusal::Revoked => "The access token was revoked",
        Refusal::Unknown => "The access token is invalid",
    };
    Reply::json(401, &json!({"errors": description}))
        .header("www-authenticate", challenge("invalid_token", description))
}
