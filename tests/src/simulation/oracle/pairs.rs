//! All pairs of tokens that the server has issued in a run, and what became of them.

use std::collections::HashMap;

use crate::simulation::trace::Who;

/// Why a pair is lost where nobody can help it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The reply did not arrive.
    Network,
    /// The process died before the first durable byte.
    Death,
    /// An older copy of the store was put over it.
    Rollback,
}

/// A pair of tokens.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) access: String,
    pub(crate) refresh: String,
    /// The refresh token's name in the plugin's records.
    pub(crate) digest: String,
    /// The words by which an intent names what was spent for it.
    pub(crate) spends: String,
    /// The number of the pair that was spent for it.
    pub(crate) before: Option<usize>,
    /// When the access token expires, on the scale of the run.
    pub(crate) expires_at: u64,
    /// The process that has it in memory, or waits for it, and has not freed the lock since.
    pub(crate) carrier: Option<Who>,
    pub(crate) loss: Option<Loss>,
    /// Whether its reply arrived as JSON. Where not, the bytes are for a person to read.
    pub(crate) readable: bool,
    /// Whether it is durable that the server refused the refresh token.
    pub(crate) refused: bool,
    /// Whether it was durable while a process carried it.
    pub(crate) stored: bool,
    /// Whether it was durable that there is a newer one.
    pub(crate) succeeded: bool,
}

/// All pairs, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    all: Vec<Pair>,
    by_refresh: HashMap<String, usize>,
    by_access: HashMap<String, usize>,
    by_digest: HashMap<String, usize>,
    pub(crate) lost: u64,
}

impl Pairs {
    pub(crate) fn add(&mut self, pair: Pair) {
        let number = self.all.len();
        self.by_refresh.insert(pair.refresh.clone(), number);
        self.by_access.insert(pair.access.clone(), number);
        self.by_digest.insert(pair.digest.clone(), number);
        self.all.push(pair);
    }

    pub(crate) fn newest(&self) -> Option<&Pair> {
        self.all.last()
    }

    /// Returns the newest pair that is not lost.
    pub(crate) fn guarded(&self) -> Option<&Pair> {
        self.all.iter().rfind(|pair| pair.loss.is_none())
    }

    pub(crate) fn at(&self, number: usize) -> &Pair {
        &self.all[number]
    }

    pub(crate) fn at_mut(&mut self, number: usize) -> &mut Pair {
        &mut self.all[number]
    }

    pub(crate) fn by_refresh(&self, token: &str) -> Option<usize> {
        self.by_refresh.get(token).copied()
    }

    pub(crate) fn by_access(&self, token: &str) -> Option<usize> {
        self.by_access.get(token).copied()
    }

    pub(crate) fn by_digest(&self, digest: &str) -> Option<usize> {
        self.by_digest.get(digest).copied()
    }

    /// Returns the newest pair that a process carries.
    pub(crate) fn carried_by(&mut self, who: Who) -> Option<&mut Pair> {
        let mut carried = self.carried();
        carried.rfind(|pair| pair.carrier == Some(who))
    }

    /// Notes which of the pairs that processes carry are durable.
    pub(crate) fn note_stored(&mut self, is_stored: impl Fn(&Pair) -> bool) {
        for pair in self.carried() {
            pair.stored |= is_stored(pair);
        }
    }

    fn carried(&mut self) -> impl DoubleEndedIterator<Item = &mut Pair> {
        // Whoever carries one has asked lately.
        let lately = self.all.len().saturating_sub(20);
        let lately = self.all[lately..].iter_mut();
        lately.filter(|pair| pair.carrier.is_some())
    }

    /// Forgets what was durable.
    pub(crate) fn forget_durability(&mut self) {
        for pair in &mut self.all {
            pair.refused = false;
            pair.succeeded = false;
        }
    }

    /// Forgets what was durable, but for the tokens that are on record as spent.
    pub(crate) fn forget_what_is_not_in(&mut self, spent: &str) {
        for pair in &mut self.all {
            pair.refused = false;
            pair.succeeded &= spent.contains(&pair.digest);
        }
    }

    /// Gives up the newest pairs that are gone; not those that a process has yet to store.
    pub(crate) fn lose_what(&mut self, is_gone: impl Fn(&Pair) -> bool) {
        let all = self.all.iter_mut().rev();
        let newest = all.filter(|pair| pair.loss.is_none());
        for pair in newest.take_while(|pair| pair.carrier.is_some() || is_gone(pair)) {
            if pair.carrier.is_none() || pair.stored && is_gone(pair) {
                pair.carrier = None;
                pair.loss = Some(Loss::Rollback);
            }
        }
    }
}
