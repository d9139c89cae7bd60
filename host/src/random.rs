//! Randomness, as lent to the plugin.

/// A cryptographically secure source of random bytes.
pub trait Random: Send + Sync {
    /// Fills `buf`.
    fn fill(&self, buf: &mut [u8]);
}

/// The operating system's source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// Panics where the operating system has no randomness to give, which no supported one does.
    fn fill(&self, buf: &mut [u8]) {
        getrandom::fill(buf).expect("the operating system has a random source");
    }
}
