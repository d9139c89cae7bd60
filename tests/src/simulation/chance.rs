//! Chance, keyed by identity.
//!
//! Every decision has a stream of its own, named by what it is about: the seed, and for a capability call the actor, its life and
//! the number of the call. Nothing is drawn from one common sequence, so a fault that is left out shifts no other decision.
//! Shrinking rests on that.

use fastrand::Rng;

/// What a stream is for. Part of its name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    /// What the scenario is made of.
    Scenario = 1,
    /// How long a capability call takes.
    Latency,
    /// Whether a capability call goes wrong, and how.
    Fault,
    /// What an actor does next.
    Habit,
    /// The bytes lent to the plugin.
    Entropy,
    /// Who of several gets the lock.
    Lock,
    /// When a person acts.
    Person,
    /// What a broken variant does with time.
    Variant,
}

/// Opens the stream of this name.
pub(crate) fn stream(seed: u64, stream: Stream, name: &[u64]) -> Rng {
    let start = Rng::with_seed(seed ^ (stream as u64).rotate_left(56));
    name.iter()
        .fold(start, |mut rng, part| Rng::with_seed(rng.u64(..) ^ part))
}

#[cfg(test)]
mod tests {
    use super::{Stream, stream};

    #[test]
    fn a_stream_depends_on_its_whole_name_alone() {
        let first = |seed, name: &[u64]| stream(seed, Stream::Fault, name).u64(..);
        assert_eq!(first(1, &[2, 3]), first(1, &[2, 3]));
        for other in [first(2, &[2, 3]), first(1, &[3, 2]), first(1, &[2])] {
            assert_ne!(first(1, &[2, 3]), other);
        }
        assert_ne!(
            first(1, &[2, 3]),
            stream(1, Stream::Latency, &[2, 3]).u64(..)
        );
    }
}
