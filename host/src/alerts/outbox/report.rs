//! What waits in the outbox, as people and programs are told.

use super::Outbox;
use crate::{
    StoreFailure,
    alerts::{Alert, SinkName, pending},
};

/// How long an alert may wait before nobody can say that it is just on its way, in milliseconds.
const ON_ITS_WAY: u64 = 120_000;

/// An alert that waits, for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// For which sink.
    pub sink: SinkName,
    /// The alert.
    pub alert: Alert,
    /// How many tries to deliver it have failed.
    pub tries: u32,
}

/// An alert that waits and cannot be read: it is left where it is, and is not delivered until its file can be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unusable {
    /// The alert's id.
    pub id: String,
    /// The name of its file in the folder of its sink.
    pub file: String,
    /// Why it cannot be read.
    pub failure: StoreFailure,
}

impl Unusable {
    /// `None` for the name of a file that is none of an alert.
    pub(super) fn of(file: String, failure: StoreFailure) -> Option<Self> {
        let id = pending::id(&file)?.to_owned();
        Some(Self { id, file, failure })
    }
}

/// What waits for one sink, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkReport {
    /// The sink.
    pub sink: SinkName,
    /// Whether there is a route to it. Without one nothing delivers what waits.
    pub routed: bool,
    /// How many alerts wait and can be read.
    pub waiting: usize,
    /// Those that wait and cannot be read, the oldest first.
    pub unusable: Vec<Unusable>,
    /// When the oldest of them happened.
    pub oldest: Option<u64>,
    /// Failed tries in a row.
    pub failures: u32,
    /// When the first of them was.
    pub failing_since: Option<u64>,
    /// What the last of them said.
    pub last_error: Option<String>,
    /// When the next try is due; `None` where it is due now.
    pub next_try_at: Option<u64>,
    /// Whether something is wrong: a try failed, nobody has tried for two minutes, or an alert cannot be read.
    pub overdue: bool,
}

impl Outbox {
    /// Tells what waits for each sink: those with a route, and those for which something waits without one.
    pub fn report(&self) -> Result<Vec<SinkReport>, StoreFailure> {
        self.sinks()?
            .into_iter()
            .map(|sink| self.report_on(sink))
            .collect()
    }

    /// Lists what waits, sink by sink, the oldest first.
    pub fn waiting(&self) -> Result<Vec<Waiting>, StoreFailure> {
        let mut all = Vec::new();
        for sink in self.sinks()? {
            let attempts = self.attempts(&sink);
            all.extend(self.pending(&sink)?.into_iter().map(|pending| Waiting {
                sink: sink.clone(),
                tries: attempts.tries(&pending.alert.id),
                alert: pending.alert,
            }));
        }
        Ok(all)
    }

    fn report_on(&self, sink: SinkName) -> Result<SinkReport, StoreFailure> {
        let now = self.clock().now();
        let super::Found { pending, unusable } = self.look(&sink)?;
        let attempts = self.attempts(&sink);
        let oldest = pending.first();
        let waits_long = oldest.is_some_and(|oldest| now.abs_diff(oldest.number) > ON_ITS_WAY);
        let tried = pending.iter().any(|p| attempts.tries(&p.alert.id) > 0);
        Ok(SinkReport {
            routed: self.routes.iter().any(|route| *route.sink() == sink),
            waiting: pending.len(),
            oldest: oldest.map(|oldest| oldest.alert.at),
            failures: attempts.failures,
            failing_since: attempts.since,
            next_try_at: attempts.paused_until(now),
            last_error: attempts.last_error,
            overdue: waits_long
                || tried
                || !unusable.is_empty()
                || (attempts.failures > 0 && !pending.is_empty()),
            unusable,
            sink,
        })
    }
}
