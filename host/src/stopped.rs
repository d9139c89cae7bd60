//! Why the host ended a plugin call.

use wasmtime::{ResourceLimiter, Trap};

use crate::Error;

/// Why the host ended a plugin call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stopped {
    #[error("it computed for longer than it may")]
    OutOfTime,
    #[error("it asked for more memory than it may have")]
    OutOfMemory,
    #[error("it called the host more often than it may")]
    TooManyHostCalls,
    #[error("it recorded more events than it may")]
    TooManyEvents,
    #[error("it used the host against the contract: {0}")]
    Misuse(&'static str),
}

impl Stopped {
    fn code(self) -> &'static str {
        match self {
            Self::OutOfTime => "plugin-out-of-time",
            Self::OutOfMemory => "plugin-out-of-memory",
            Self::TooManyHostCalls | Self::TooManyEvents => "too-many-host-calls",
            Self::Misuse(_) => TRAPPED,
        }
    }
}

const TRAPPED: &str = "plugin-trapped";

/// Turns what ended a plugin call into the caller's error. Holds nothing that the plugin wrote.
pub(crate) fn to_error(error: &wasmtime::Error) -> Error {
    let (code, why) = match (
        error.downcast_ref::<Stopped>(),
        error.downcast_ref::<Trap>(),
    ) {
        (Some(stopped), _) => (stopped.code(), stopped.to_string()),
        (None, Some(Trap::Interrupt)) => {
            (Stopped::OutOfTime.code(), Stopped::OutOfTime.to_string())
        }
        (None, Some(trap)) => (TRAPPED, trap.to_string()),
        (None, None) => (TRAPPED, error.root_cause().to_string()),
    };
    Error::internal(
        code,
        format!("the plugin was stopped: {why}"),
        "a defect of the plugin; stored tokens are as its last completed write left them",
        "look for an event with the code `panic` in the journal, and report it; the next call starts afresh",
    )
}

/// Bounds the memory of one call's instance, tables included.
pub(crate) struct MemoryLimit {
    left: usize,
}

/// The size of a table's element in the host.
const TABLE_ELEMENT: usize = size_of::<usize>();

impl MemoryLimit {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { left: bytes }
    }

    fn take(&mut self, bytes: usize) -> wasmtime::Result<bool> {
        self.left = self.left.checked_sub(bytes).ok_or(Stopped::OutOfMemory)?;
        Ok(true)
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.take(desired.saturating_sub(current))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.take(
            desired
                .saturating_sub(current)
                .saturating_mul(TABLE_ELEMENT),
        )
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        8
    }
}
