//! Revisions by this machine's clock and randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Random, SystemRandom};

/// Makes the revision that follows `last`; `None` where there is no entry.
pub(crate) fn next(last: Option<u64>) -> u64 {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let mut tail = [0; 4];
    SystemRandom.fill(&mut tail);
    procore_auth_lending::revision::next(last, seconds, u32::from_le_bytes(tail))
}
