//! Who holds up the requests that still wait: one of the same order key about which a person must decide.

use std::fmt;

use procore_auth_host::{ParkedRequest, ParkedState};
use serde::Serialize;

use super::word;

/// A request that a person must decide about, and those that wait for that. The fields are stable.
#[derive(Serialize)]
pub(super) struct Held {
    id: String,
    state: ParkedState,
    order_key: String,
    waiting: Vec<String>,
}

/// Finds who holds others up, in the order of parking.
pub(super) fn find(all: &[ParkedRequest]) -> Vec<Held> {
    let undecided = all.iter().filter(|r| r.state != ParkedState::Queued);
    let held = undecided.filter_map(|holder| {
        let key = holder.order_key.as_ref()?;
        let behind = all
            .iter()
            .filter(|r| r.state == ParkedState::Queued && r.order_key.as_ref() == Some(key));
        let waiting: Vec<String> = behind.map(|request| request.id.clone()).collect();
        (!waiting.is_empty()).then(|| Held {
            id: holder.id.clone(),
            state: holder.state,
            order_key: key.clone(),
            waiting,
        })
    });
    held.collect()
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            state,
            order_key,
            waiting,
        } = self;
        write!(
            f,
            "{id} ({}) holds up {} of the order key {order_key}\n     do: Look in Procore whether it took effect, then `procore-auth parked replay {id}` or `procore-auth parked discard {id}`.",
            word(*state),
            waiting.len()
        )
    }
}
