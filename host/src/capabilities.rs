//! The host's side of the contract: what a plugin call reaches when it calls an import.
//!
//! One [`CallState`] serves one call. Every import counts towards the call's limit, stops the measuring of its computing, and
//! waits no longer than the call's deadline.

mod clock;
mod connection;
mod http;
mod journal;
mod random;
mod store;

use std::{sync::Arc, time::Duration};

use crate::{
    bindings::procore::auth::types,
    egress::Egress,
    epoch::{ComputeMeter, Pause},
    holding_store::Locked,
    lent::Lent,
    limits::{events, host_calls_for_saving},
    stopped::{MemoryLimit, Stopped},
};

/// What one plugin call has at hand and has used up.
pub(crate) struct CallState {
    lent: Arc<Lent>,
    /// Whether the call may ask the other environments about a token.
    probing: bool,
    /// On the scale of the elapsed time.
    deadline: Duration,
    host_calls_left: u32,
    /// In bytes.
    events_left: usize,
    /// Whether the plugin sent something to the login origin, or a token was refused: a token from before may be no good now.
    pub(crate) tokens_in_doubt: bool,
    /// What the token endpoint answered, until the plugin has saved something since.
    unsaved_reply: Option<Vec<u8>>,
    /// Held by this call; freed with it.
    lock: Option<Locked>,
    pub(crate) meter: ComputeMeter,
    pub(crate) memory: MemoryLimit,
}

impl CallState {
    pub(crate) fn new(
        lent: Arc<Lent>,
        probing: bool,
        deadline: Duration,
        meter: ComputeMeter,
    ) -> Self {
        Self {
            deadline: lent.clock.elapsed().saturating_add(deadline),
            probing,
            host_calls_left: lent.limits.host_calls,
            events_left: events(lent.limits.host_calls),
            tokens_in_doubt: false,
            unsaved_reply: None,
            lock: None,
            meter,
            memory: MemoryLimit::new(lent.limits.memory),
            lent,
        }
    }

    /// Keeps what a plugin that was stopped had received and not saved: it may be the only copy of tokens.
    pub(crate) async fn rescue_reply(&mut self) {
        if let Some(reply) = self.unsaved_reply.take() {
            self.lent.store.keep_unread(&reply).await;
        }
    }

    /// Counts a call of the host, and stops the measuring of the plugin's computing until the pause is dropped.
    fn enter(&mut self) -> wasmtime::Result<Pause> {
        self.host_calls_left = self
            .host_calls_left
            .checked_sub(1)
            .ok_or(Stopped::TooManyHostCalls)?;
        Ok(self.meter.pause())
    }

    /// Whether so few calls of the host are left that all are needed for saving.
    fn must_save(&self) -> bool {
        self.host_calls_left < host_calls_for_saving(self.lent.settings.policy.parked_count)
    }

    fn time_left(&self) -> Duration {
        self.deadline.saturating_sub(self.lent.clock.elapsed())
    }

    fn egress(&self) -> &Egress {
        if self.probing {
            &self.lent.probing_egress
        } else {
            &self.lent.egress
        }
    }
}

impl types::Host for CallState {}
