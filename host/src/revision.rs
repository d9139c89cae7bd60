//! Revisions of the file store's entries.
//!
//! A revision must never be used twice for a key: not after the entry was deleted and made anew, not after a newer one was
//! lost to a torn file or a power cut, not after an old backup was restored, not where the clock stepped back. So a revision
//! is a counter with a random tail:
//!
//! | bits | content |
//! |---|---|
//! | 52 to 20 | the seconds since 1970, or one more than in the entry's last revision, whichever is greater |
//! | 19 to 0 | random |
//!
//! Revisions of one entry grow. All fit into 53 bits, so that JavaScript reads them exactly.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Random, SystemRandom};

/// The greatest revision: 2⁵³ − 1.
pub(crate) const MAX: u64 = (1 << 53) - 1;

const TAIL_BITS: u32 = 20;

/// Makes the revision that follows `last`; `None` where there is no entry.
pub(crate) fn next(last: Option<u64>) -> u64 {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let mut tail = [0; 4];
    SystemRandom.fill(&mut tail);
    compose(last, seconds, u32::from_le_bytes(tail))
}

fn compose(last: Option<u64>, seconds: u64, tail: u32) -> u64 {
    let follow = last.map_or(0, |last| (last >> TAIL_BITS) + 1);
    let counter = follow.max(seconds).min(MAX >> TAIL_BITS);
    counter << TAIL_BITS | u64::from(tail) & ((1 << TAIL_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX, compose, next};

    #[test]
    fn tells_a_recreated_entry_from_the_deleted_one() {
        assert_ne!(
            compose(None, 1_800_000_000, 1),
            compose(None, 1_800_000_000, 2)
        );
        assert!(next(None) > 7, "another host's small revisions are passed");
    }

    proptest! {
        #[test]
        fn grows_within_53_bits(last in 0..MAX >> 1, seconds in 0..1u64 << 32, tail: u32) {
            let revision = compose(Some(last), seconds, tail);
            prop_assert!(revision > last);
            prop_assert!(revision <= MAX);
        }
    }
}
