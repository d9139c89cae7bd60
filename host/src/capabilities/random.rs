//! Randomness.

use super::CallState;
use crate::{bindings::procore::auth::random::Host, stopped::Stopped};

/// The most bytes of one call, as the contract says.
const MOST: usize = 1024;

impl Host for CallState {
    fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        let _pause = self.enter()?;
        let count = usize::try_from(count)?;
        if count > MOST {
            return Err(Stopped::Misuse("more than 1024 random bytes").into());
        }
        let mut bytes = vec![0; count];
        self.lent.random.fill(&mut bytes);
        Ok(bytes)
    }
}
