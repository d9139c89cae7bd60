//! One plugin call for all who want the same token.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::{AccessToken, Error, Secret, token_cache::Generation};

/// What a call for a token is asked for: two equal ones have the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) generation: Generation,
    /// The token that the server answered with 401; `None` where any will do.
    pub(crate) instead_of: Option<Secret>,
}

/// A call's result; `None` before it has one.
pub(crate) type Outcome = Option<Result<AccessToken, Error>>;

/// The calls for a token that run now.
#[derive(Default)]
pub(crate) struct SingleFlight(Mutex<Vec<(Wanted, watch::Receiver<Outcome>)>>);

/// How one comes to a call's result.
pub(crate) enum Joined {
    /// By making the call.
    Leader(Leader),
    /// By waiting for one that runs.
    Follower(Follower),
}

/// The duty to make a call, and to tell its result to all who wait. Where it is dropped instead, they are told that the call died.
pub(crate) struct Leader {
    wanted: Wanted,
    outcome: watch::Sender<Outcome>,
}

/// The place where a call's result is waited for.
pub(crate) struct Follower(watch::Receiver<Outcome>);

impl SingleFlight {
    /// Joins the call for `wanted` that runs; where there is none, it is the caller's to make.
    pub(crate) fn join(&self, wanted: Wanted) -> Joined {
        let mut running = self.running();
        // A call that died tells nobody.
        running.retain(|(_, outcome)| outcome.has_changed().is_ok());
        if let Some((_, outcome)) = running.iter().find(|(other, _)| *other == wanted) {
            return Joined::Follower(Follower(outcome.clone()));
        }
        let (sender, outcome) = watch::channel(None);
        running.push((wanted.clone(), outcome));
        Joined::Leader(Leader {
            wanted,
            outcome: sender,
        })
    }

    /// Ends a call. Who comes now makes another, or finds the token in the cache.
    pub(crate) fn complete(&self, leader: Leader, result: Result<AccessToken, Error>) {
        let Leader { wanted, outcome } = leader;
        self.running().retain(|(other, _)| *other != wanted);
        outcome.send_replace(Some(result));
    }

    fn running(&self) -> MutexGuard<'_, Vec<(Wanted, watch::Receiver<Outcome>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leader {
    /// Returns what the call is asked for.
    pub(crate) fn wanted(&self) -> &Wanted {
        &self.wanted
    }
}

impl Follower {
    /// Waits for the result; `None` where the call died.
    pub(crate) async fn outcome(mut self) -> Outcome {
        let outcome = self.0.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(instead_of: Option<&str>) -> Wanted {
        Wanted {
            generation: Generation::default(),
            instead_of: instead_of.map(Secret::new),
        }
    }

    fn token() -> AccessToken {
        AccessToken::new(Secret::new("t"), 1, 2)
    }

    fn leader(joined: Joined) -> Leader {
        match joined {
            Joined::Leader(leader) => leader,
            Joined::Follower(_) => panic!("it joined another"),
        }
    }

    fn follower(joined: Joined) -> Follower {
        match joined {
            Joined::Follower(follower) => follower,
            Joined::Leader(_) => panic!("it joined none"),
        }
    }

    #[tokio::test]
    async fn equal_wishes_share_one_call() {
        let calls = SingleFlight::default();
        let first = leader(calls.join(wanted(None)));
        let joined = [(); 2].map(|()| follower(calls.join(wanted(None))));
        let other = leader(calls.join(wanted(Some("old"))));
        let left = follower(calls.join(wanted(Some("old"))));
        calls.complete(first, Ok(token()));
        for follower in joined {
            let outcome = follower.outcome().await.expect("complete");
            assert_eq!(outcome.expect("a token"), token());
        }
        drop(other);
        assert!(left.outcome().await.is_none(), "died");
    }

    #[tokio::test]
    async fn a_call_that_died_is_not_joined() {
        let calls = SingleFlight::default();
        drop(leader(calls.join(wanted(None))));
        leader(calls.join(wanted(None)));
    }
}
