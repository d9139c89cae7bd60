//! `GET /oauth/token/info`: what an access token is good for. Spends nothing.

use serde_json::json;

use crate::bearer;
use crate::environment::Environment;
use crate::policy::Dialect;
use crate::reply::Reply;
use crate::request::Request;
use crate::world::World;

/// Describes the request's access token.
pub(crate) fn token_info(world: &mut World, environment: Environment, request: &Request) -> Reply {
    let id = match bearer::accept(world, environment, request) {
        Ok(id) => id,
        Err(reply) => return reply,
    };
    let row = world.ledger.row(id);
    let client_id = &world.registry.app(row.grant.app).client_id;
    let (scope, expiry) = match world.policy.dialect {
        Dialect::Current => ("scope", "expires_in"),
        Dialect::Old => ("scopes", "expires_in_seconds"),
    };
    Reply::json(
        200,
        &json!({
            "resource_owner_id": row.grant.user,
            scope: ["public"],
            expiry: row.remaining_seconds(world.now_ms()),
            "application": {"uid": client_id},
            "created_at": row.created_at_ms / 1000,
        }),
    )
}
