//! What the disk did not take. It ends with the process.

use std::collections::{BTreeMap, BTreeSet};

use super::Unusable;
use crate::alerts::{SinkName, attempts::Attempts, pending::Pending};

#[derive(Default)]
pub(super) struct Memory {
    /// What could not be written.
    pending: Vec<(SinkName, Pending)>,
    /// The tries that could not be noted.
    pub(super) attempts: BTreeMap<SinkName, Attempts>,
    /// The ids of what was delivered and cannot be deleted: not to be delivered again.
    delivered: BTreeMap<(SinkName, String), Pending>,
    /// The ids of what could not be read and was told of.
    told_of: BTreeSet<(SinkName, String)>,
}

impl Memory {
    /// Holds an alert for a sink. Returns the sink's oldest where that are more than `most`: it is held no more.
    pub(super) fn hold(
        &mut self,
        sink: &SinkName,
        pending: Pending,
        most: usize,
    ) -> Option<Pending> {
        self.pending.push((sink.clone(), pending));
        let mut of_sink = (0..self.pending.len()).filter(|at| self.pending[*at].0 == *sink);
        let oldest = of_sink.next()?;
        (of_sink.count() >= most).then(|| self.pending.remove(oldest).1)
    }

    /// Returns what is held for a sink.
    pub(super) fn held(&self, sink: &SinkName) -> Vec<Pending> {
        let of_sink = self.pending.iter().filter(|(name, _)| name == sink);
        of_sink.map(|(_, pending)| pending.clone()).collect()
    }

    /// Holds an alert no longer.
    pub(super) fn release(&mut self, sink: &SinkName, pending: &Pending) {
        let id = &pending.alert.id;
        self.pending
            .retain(|(name, held)| name != sink || held.alert.id != *id);
    }

    /// Notes that people are told of what cannot be read. Returns whether they were not before.
    pub(super) fn is_news(&mut self, sink: &SinkName, unusable: &Unusable) -> bool {
        self.told_of.insert((sink.clone(), unusable.id.clone()))
    }

    pub(super) fn note_delivered(&mut self, sink: &SinkName, pending: &Pending) {
        let delivered = (sink.clone(), pending.alert.id.clone());
        self.delivered.insert(delivered, pending.clone());
    }

    /// Returns what was delivered to a sink and could not be deleted.
    pub(super) fn delivered(&self, sink: &SinkName) -> Vec<Pending> {
        let of_sink = self.delivered.iter().filter(|((name, _), _)| name == sink);
        of_sink.map(|(_, pending)| pending.clone()).collect()
    }

    pub(super) fn forget_delivered(&mut self, sink: &SinkName, pending: &Pending) {
        let delivered = (sink.clone(), pending.alert.id.clone());
        self.delivered.remove(&delivered);
    }

    pub(super) fn is_delivered(&self, sink: &SinkName, pending: &Pending) -> bool {
        let delivered = (sink.clone(), pending.alert.id.clone());
        self.delivered.contains_key(&delivered)
    }
}
