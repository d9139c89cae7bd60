//! What one plugin call may take.

use std::time::Duration;

/// What one plugin call may take: beyond it, the call ends with one error of kind [`crate::ErrorKind::Internal`], and nothing
/// else is harmed.
///
/// Two limits are about time, and they differ. `compute` is what the plugin itself may compute, and cuts it off where it
/// stands. `deadline` is the wall clock of the whole call, most of which is waiting for servers: it cuts nothing off, because a
/// refresh that was sent must still be saved. Instead every wait (an HTTP request, a sleep, the lock) is shortened to what is
/// left of it, and after it fails at once; storage goes on working. The caller gets its answer at the deadline plus 10 s at the
/// latest, even where a store hangs; the call itself then goes on in the background to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most memory of the plugin, in bytes. More than 256 MiB has no effect, nor has less than
    /// [`crate::Policy::parked_bytes`] and 16 MiB: the body of a request is in memory once. Default: 64 MiB; with the default
    /// policy, 80 MiB.
    ///
    /// The same number bounds what one call of the host, or one result, may hand over, and what all calls together may have the host
    /// hold because the store cannot take it.
    ///
    /// Exceeding it is the error `plugin-out-of-memory`; handing over more at once is `plugin-trapped`.
    pub memory: usize,
    /// How long the plugin may compute, waiting for the host not counted, to 100 ms. Default: 10 s.
    ///
    /// Exceeding it is the error `plugin-out-of-time`.
    pub compute: Duration,
    /// How long a call may take. A call with a timeout of its own ([`crate::Connection::send`]) gets that on top. Default:
    /// 120 s, which is more than the default wait for the lock and two requests to the token endpoint.
    pub deadline: Duration,
    /// As `deadline`, for the calls that may replay many requests: [`crate::Connection::replay`] and
    /// [`crate::Connection::upkeep`]. Default: 600 s.
    pub replay_deadline: Duration,
    /// The most bytes of one reply's body. Exceeding it is the HTTP failure `reply-too-large`, which the plugin deals with.
    /// Default: 8 MiB.
    pub reply_size: usize,
    /// How often one call may call the host. Less than 1000, and 40 more for every request that
    /// [`crate::Policy::parked_count`] lets be parked, has no effect. Default: 10 000; with the default policy, 41 000.
    ///
    /// A quarter of them may record events, with 2 KiB each on the average.
    ///
    /// Exceeding it is the error `too-many-host-calls`. Shortly before, with 200 calls left and 4 for every request that may
    /// be parked, HTTP requests begin to fail with that code, unsent: what is left is for saving what came of those before.
    pub host_calls: u32,
}

/// What of [`Limits::host_calls`] a policy needs at least. Replaying one request takes about 13 calls.
pub(crate) fn least_host_calls(parked_count: u32) -> u32 {
    parked_count.saturating_mul(40).saturating_add(1000)
}

/// What a call takes of [`Limits::memory`] beside the body of a request.
const BESIDE_BODY: usize = 16 << 20;

/// The most memory that a plugin can have.
const MOST_MEMORY: usize = 256 << 20;

/// What of [`Limits::memory`] a policy needs at least: the largest body that may be parked, and what a call takes beside it.
pub(crate) fn least_memory(parked_bytes: u64) -> usize {
    usize::try_from(parked_bytes)
        .unwrap_or(usize::MAX)
        .saturating_add(BESIDE_BODY)
        .min(MOST_MEMORY)
}

/// Returns the largest body, in bytes, that the plugin's memory has room for.
pub(crate) fn room_for_body(limits: &Limits) -> u64 {
    limits.memory.min(MOST_MEMORY).saturating_sub(BESIDE_BODY) as u64
}

/// How many calls of the host are kept for the time after the last HTTP request: to save what it brought, and to list what
/// is parked, which takes one call for each.
pub(crate) fn host_calls_for_saving(parked_count: u32) -> u32 {
    parked_count.saturating_mul(4).saturating_add(200)
}

/// What one event takes of [`events`] at least.
pub(crate) const EVENT: usize = 2 << 10;

/// How many bytes of events one call may record. Replaying one request takes a few events of some hundred bytes.
pub(crate) fn events(host_calls: u32) -> usize {
    (host_calls as usize / 4).saturating_mul(EVENT)
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            compute: Duration::from_secs(10),
            deadline: Duration::from_secs(120),
            replay_deadline: Duration::from_secs(600),
            reply_size: 8 << 20,
            host_calls: 10_000,
        }
    }
}
