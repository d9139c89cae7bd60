//! A gate that holds requests until a test opens it.

use std::sync::Arc;

use tokio::sync::watch;

/// Holds requests until it is opened, so that a test decides the order of events without sleeping. Clones are one gate.
///
/// A gate that is never opened holds its requests until the runtime ends.
#[derive(Debug, Clone)]
pub struct Gate(Arc<State>);

#[derive(Debug)]
struct State {
    open: watch::Sender<bool>,
    arrivals: watch::Sender<usize>,
}

impl Gate {
    /// Creates a closed gate.
    #[must_use]
    pub fn closed() -> Self {
        Self(Arc::new(State {
            open: watch::Sender::new(false),
            arrivals: watch::Sender::new(0),
        }))
    }

    /// Opens the gate for good: all who wait and all who come later pass.
    pub fn open(&self) {
        self.0.open.send_replace(true);
    }

    /// Waits until this many requests have reached the gate.
    pub async fn arrived(&self, count: usize) {
        let mut arrivals = self.0.arrivals.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = arrivals.wait_for(|&arrived| arrived >= count).await;
    }

    /// Returns how many requests have reached the gate so far.
    #[must_use]
    pub fn arrivals(&self) -> usize {
        *self.0.arrivals.borrow()
    }

    /// Waits until the gate is open.
    pub(crate) async fn pass(&self) {
        self.0.arrivals.send_modify(|count| *count += 1);
        let mut open = self.0.open.subscribe();
        let _ = open.wait_for(|&open| open).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn holds_until_opened() {
        let gate = Gate::closed();
        let held = tokio::spawn({
            let gate = gate.clone();
            async move { gate.pass().await }
        });
        gate.arrived(1).await;
        assert!(!held.is_finished());
        gate.open();
        held.await.unwrap();
        gate.pass().await;
        assert_eq!(gate.arrivals(), 2);
    }
}
