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

/// The greatest revision: 2⁵³ − 1.
pub const MAX: u64 = (1 << 53) - 1;

const TAIL_BITS: u32 = 20;

/// Makes the revision that follows `last`, `seconds` after 1970, with the random bits of `tail`. `last` is `None` where there is no
/// entry.
pub fn next(last: Option<u64>, seconds: u64, tail: u32) -> u64 {
    let follow = last.map_or(0, |last| (last >> TAIL_BITS) + 1);
    let counter = follow.max(seconds).min(MAX >> TAIL_BITS);
    counter << TAIL_BITS | u64::from(tail) & ((1 << TAIL_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX, next};

    #[test]
    fn tells_a_recreated_entry_from_the_deleted_one() {
        assert_ne!(next(None, 1_800_000_000, 1), next(None, 1_800_000_000, 2));
        assert!(
            next(None, 1_800_000_000, 0) > 7,
            "another host's small revisions are passed"
        );
    }

    proptest! {
        #[test]
        fn grows_within_53_bits(last in 0..MAX >> 1, seconds in 0..1u64 << 32, tail: u32) {
            let revision = next(Some(last), seconds, tail);
            prop_assert!(revision > last);
            prop_assert!(revision <= MAX);
        }
    }
}
