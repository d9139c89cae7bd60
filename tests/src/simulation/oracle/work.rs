//! What agents had the host do: nothing is executed twice, and nothing that was kept is lost.
//!
//! The server's ledger knows what was executed, and the agents what the host promised to keep. A copy of the whole store that is put
//! back holds requests that were executed since, and lacks those that were kept since: nothing is demanded of what there was before.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use procore_auth_host::{ParkedRequest, ParkedState};

use super::{Breach, broken};

/// What was executed, and what is promised. A request goes by a name that no other has.
#[derive(Debug, Default)]
pub(crate) struct Work {
    executed: HashMap<String, u32>,
    /// The ids of the requests that the host keeps, or kept until they were executed.
    kept: BTreeMap<String, String>,
    /// Those of which nothing is demanded any more.
    excused: BTreeSet<String>,
    /// Those that were begun: a copy of the store may hold any.
    begun: BTreeSet<String>,
}

impl Work {
    /// Returns how many requests the server has executed.
    pub(crate) fn executions(&self) -> u64 {
        self.executed.values().map(|count| u64::from(*count)).sum()
    }

    /// Returns how many requests the host has kept, since the whole store was put back last.
    pub(crate) fn promises(&self) -> u64 {
        self.kept.len() as u64
    }

    /// An agent hands over a request.
    pub(crate) fn on_begun(&mut self, name: &str) {
        self.begun.insert(name.to_owned());
    }

    /// The host has promised to keep a request.
    pub(crate) fn on_kept(&mut self, name: &str, id: &str) {
        self.kept.insert(name.to_owned(), id.to_owned());
    }

    /// The server has executed a request.
    pub(crate) fn on_executed(&mut self, name: &str) -> Result<(), Breach> {
        let count = self.executed.entry(name.to_owned()).or_default();
        *count += 1;
        if *count > 1 && !self.excused.contains(name) {
            return broken(
                "I7 no work lost",
                format!("request {name} is executed twice"),
            );
        }
        Ok(())
    }

    /// An older copy of the whole store was put back.
    pub(crate) fn on_restore(&mut self) {
        self.kept.clear();
        self.excused.append(&mut self.begun);
    }

    /// At the end, after a last replay, these requests are still kept.
    pub(crate) fn on_end(&self, left: &[ParkedRequest]) -> Result<(), Breach> {
        if let Some(queued) = left.iter().find(|r| r.state == ParkedState::Queued) {
            let (id, reason) = (&queued.id, &queued.reason);
            return broken(
                "I7 no work lost",
                format!("{id} still waits after the last replay: {reason}"),
            );
        }
        for (name, id) in &self.kept {
            let is_done = self.executed.contains_key(name);
            if !is_done && !left.iter().any(|request| request.id == *id) {
                return broken(
                    "I7 no work lost",
                    format!("request {name} was kept as {id}, and is neither there nor executed"),
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Work;

    #[test]
    fn what_is_executed_twice_is_found() {
        let mut work = Work::default();
        work.on_begun("a");
        assert!(work.on_executed("a").is_ok());
        assert!(work.on_executed("a").is_err());
    }

    #[test]
    fn what_was_kept_and_is_gone_is_found() {
        let mut work = Work::default();
        work.on_kept("a", "parked-1");
        assert!(work.on_end(&[]).is_err());
        work.on_executed("a").expect("once");
        assert!(work.on_end(&[]).is_ok());
    }

    #[test]
    fn of_what_was_before_a_restore_nothing_is_demanded() {
        let mut work = Work::default();
        work.on_begun("a");
        work.on_kept("a", "parked-1");
        work.on_executed("a").expect("once");
        work.on_restore();
        assert!(work.on_executed("a").is_ok());
        assert!(work.on_end(&[]).is_ok());
        work.on_begun("b");
        work.on_executed("b").expect("once");
        assert!(work.on_executed("b").is_err());
    }
}
