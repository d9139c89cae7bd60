//! Which connection the call serves.

use super::CallState;
use crate::bindings::procore::auth::connection::{ConnectionSettings, Host};

impl Host for CallState {
    fn settings(&mut self) -> wasmtime::Result<ConnectionSettings> {
        let _pause = self.enter()?;
        Ok(self.lent.settings.clone())
    }
}
