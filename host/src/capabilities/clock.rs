//! Time.

use super::CallState;
use crate::{
    bindings::procore::auth::clock::Host,
    time::{from_millis, millis},
};

impl Host for CallState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        let _pause = self.enter()?;
        Ok(self.lent.clock.now())
    }

    fn elapsed(&mut self) -> wasmtime::Result<u64> {
        let _pause = self.enter()?;
        Ok(millis(self.lent.clock.elapsed()))
    }

    async fn sleep(&mut self, duration: u64) -> wasmtime::Result<()> {
        let _pause = self.enter()?;
        let span = from_millis(duration).min(self.time_left());
        if !span.is_zero() {
            self.lent.clock.sleep(span).await;
        }
        Ok(())
    }
}
