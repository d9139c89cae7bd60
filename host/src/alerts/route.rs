//! Which alerts go to which sink.

use super::SinkName;
use crate::ConnectionName;

/// Which connections' alerts go to a sink.
#[derive(Debug, Clone)]
pub struct Route {
    sink: SinkName,
    connections: Option<Vec<ConnectionName>>,
}

impl Route {
    /// The alerts of all connections go there.
    pub fn to(sink: SinkName) -> Self {
        Self {
            sink,
            connections: None,
        }
    }

    /// The alerts of these connections alone go there.
    #[must_use]
    pub fn only(mut self, connections: impl IntoIterator<Item = ConnectionName>) -> Self {
        self.connections = Some(connections.into_iter().collect());
        self
    }

    /// Returns the sink.
    pub(super) fn sink(&self) -> &SinkName {
        &self.sink
    }

    /// Tells whether the alerts of a connection go there.
    pub(super) fn takes(&self, connection: &str) -> bool {
        let named = |names: &Vec<ConnectionName>| names.iter().any(|n| n.as_str() == connection);
        self.connections.as_ref().is_none_or(named)
    }
}
