//! A panic on demand, for the test that one is told: in no component that is shipped.

use crate::secret::Secret;

/// What a callback begins with that asks for a panic. What follows is its message.
const REQUEST: &str = "panic:";

/// Panics where the callback asks for it, and quotes it in the message as a [`Secret`] is quoted.
pub(crate) fn on_demand(callback: &str) {
    if let Some(message) = callback.strip_prefix(REQUEST) {
        let (message, _) = message.split_once('?').unwrap_or((message, ""));
        panic!("{message}: {:?}", Secret::new(callback));
    }
}
