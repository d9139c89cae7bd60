//! Randomness, as lent to the plugin.

/// A source of random bytes.
///
/// The system's source is fit for keys. An implementation for tests may be seeded, and is then fit for nothing else.
pub trait Random: Send + Sync {
    /// Fills `buf`.
    fn fill(&self, buf: &mut [u8]);
}

/// The operating system's random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// Fills `buf` from the kernel.
    ///
    /// # Panics
    ///
    /// Where the kernel has no random source. `state` and PKCE verifiers that can be guessed are worse than no sign-in.
    fn fill(&self, buf: &mut [u8]) {
        getrandom::fill(buf).expect("the operating system has a random source");
    }
}

#[cfg(test)]
mod tests {
    use super::{Random, SystemRandom};

    #[test]
    fn fills_the_whole_buffer_differently_each_time() {
        let (mut a, mut b) = ([0; 1024], [0; 1024]);
        SystemRandom.fill(&mut a);
        SystemRandom.fill(&mut b);
        assert_ne!(a, b);
        assert_ne!(a[512..], [0; 512]);
    }
}
