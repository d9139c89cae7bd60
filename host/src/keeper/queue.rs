//! Who is to be visited when. Data only: no clock, no tasks.

use std::collections::{BTreeMap, BTreeSet};

use crate::ConnectionName;

/// The connections of a keeper, by the moments of their visits in Unix milliseconds.
#[derive(Debug, Default)]
pub(super) struct Queue {
    due: BTreeSet<(u64, ConnectionName)>,
    known: BTreeMap<ConnectionName, Turn>,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Waits(u64),
    /// It is being visited. Who asked for a moment meanwhile gets it, should that be earlier than what the visit says.
    Visited {
        asked: Option<u64>,
    },
    /// It is being visited, and forgotten then.
    Leaves,
}

impl Queue {
    /// Adds a connection, or has a known one visited at this moment instead.
    pub(super) fn set(&mut self, name: &ConnectionName, moment: u64) {
        match self.known.get_mut(name) {
            Some(turn @ (Turn::Visited { .. } | Turn::Leaves)) => {
                *turn = Turn::Visited {
                    asked: Some(moment),
                };
            }
            Some(Turn::Waits(_)) | None => self.wait(name, moment),
        }
    }

    /// Has a known connection visited no later than at this moment.
    pub(super) fn hasten(&mut self, name: &ConnectionName, moment: u64) {
        match self.known.get_mut(name) {
            Some(Turn::Visited { asked }) => {
                *asked = Some(asked.map_or(moment, |at| at.min(moment)));
            }
            Some(Turn::Waits(at)) if *at > moment => self.wait(name, moment),
            Some(Turn::Waits(_) | Turn::Leaves) | None => {}
        }
    }

    /// The same for all connections.
    pub(super) fn hasten_all(&mut self, moment: u64) {
        let names: Vec<_> = self.known.keys().cloned().collect();
        for name in names {
            self.hasten(&name, moment);
        }
    }

    /// Forgets a connection.
    pub(super) fn remove(&mut self, name: &ConnectionName) {
        match self.known.get_mut(name) {
            Some(Turn::Waits(at)) => {
                self.due.remove(&(*at, name.clone()));
                self.known.remove(name);
            }
            Some(turn) => *turn = Turn::Leaves,
            None => {}
        }
    }

    /// Returns the earliest moment; `None` where nobody waits.
    pub(super) fn earliest(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the connection that has been due for longest.
    pub(super) fn take_due(&mut self, now: u64) -> Option<ConnectionName> {
        let (at, name) = self.due.pop_first()?;
        if at > now {
            self.due.insert((at, name));
            return None;
        }
        self.known
            .insert(name.clone(), Turn::Visited { asked: None });
        Some(name)
    }

    /// Has a visited connection wait for its next visit, unless it was forgotten meanwhile.
    pub(super) fn put_back(&mut self, name: &ConnectionName, moment: u64) {
        match self.known.get(name) {
            Some(Turn::Visited { asked }) => {
                let moment = asked.map_or(moment, |at| at.min(moment));
                self.wait(name, moment);
            }
            Some(Turn::Leaves) => {
                self.known.remove(name);
            }
            Some(Turn::Waits(_)) | None => {}
        }
    }

    fn wait(&mut self, name: &ConnectionName, moment: u64) {
        if let Some(Turn::Waits(at)) = self.known.insert(name.clone(), Turn::Waits(moment)) {
            self.due.remove(&(at, name.clone()));
        }
        self.due.insert((moment, name.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;
    use crate::ConnectionName;

    fn name(text: &str) -> ConnectionName {
        text.parse().expect("a name")
    }

    #[test]
    fn the_earliest_comes_first_and_nobody_before_their_moment() {
        let mut queue = Queue::default();
        queue.set(&name("late"), 30);
        queue.set(&name("early"), 10);
        assert_eq!(queue.earliest(), Some(10));
        assert_eq!(queue.take_due(9), None);
        assert_eq!(queue.take_due(30), Some(name("early")));
        assert_eq!(queue.take_due(30), Some(name("late")));
        assert_eq!(queue.take_due(30), None, "both are being visited");
        queue.put_back(&name("early"), 50);
        assert_eq!(queue.earliest(), Some(50));
    }

    #[test]
    fn what_is_asked_for_during_a_visit_is_not_lost() {
        let mut queue = Queue::default();
        queue.set(&name("acme"), 0);
        queue.take_due(0).expect("due");
        queue.hasten(&name("acme"), 5);
        queue.put_back(&name("acme"), 100);
        assert_eq!(queue.take_due(5), Some(name("acme")));
    }

    #[test]
    fn a_connection_that_is_removed_during_its_visit_does_not_come_back() {
        let mut queue = Queue::default();
        queue.set(&name("acme"), 0);
        queue.take_due(0).expect("due");
        queue.remove(&name("acme"));
        queue.put_back(&name("acme"), 1);
        assert_eq!(queue.earliest(), None);
        queue.set(&name("acme"), 7);
        queue.remove(&name("acme"));
        assert_eq!(queue.earliest(), None);
    }

    #[test]
    fn a_connection_that_goes_and_comes_back_during_its_visit_is_not_visited_twice_at_once() {
        let mut queue = Queue::default();
        queue.set(&name("acme"), 0);
        queue.take_due(0).expect("due");
        queue.remove(&name("acme"));
        queue.set(&name("acme"), 1);
        assert_eq!(queue.take_due(1), None, "the visit is under way");
        queue.put_back(&name("acme"), 100);
        assert_eq!(queue.take_due(1), Some(name("acme")));
    }

    #[test]
    fn hastening_never_delays_and_adds_nobody() {
        let mut queue = Queue::default();
        queue.set(&name("acme"), 10);
        queue.hasten_all(20);
        queue.hasten(&name("stranger"), 0);
        assert_eq!(queue.earliest(), Some(10));
        queue.hasten_all(5);
        assert_eq!(queue.take_due(5), Some(name("acme")));
        assert_eq!(queue.take_due(u64::MAX), None);
    }
}
