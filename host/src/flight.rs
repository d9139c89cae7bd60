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
pub(crate) struct Flights(Mutex<Vec<(Wanted, watch::Receiver<Outcome>)>>);

/// The place where a call's result is waited for.
pub(crate) struct Seat(watch::Receiver<Outcome>);

/// The duty to land a call: to tell its result to all who wait.
pub(crate) struct Pilot(watch::Sender<Outcome>);

impl Flights {
    /// Joins the call for `wanted` that runs, or has `start` start one.
    pub(crate) fn board(&self, wanted: &Wanted, start: impl FnOnce(Pilot)) -> Seat {
        let mut flights = self.flights();
        // A call whose task died tells nobody.
        flights.retain(|(_, outcome)| outcome.has_changed().is_ok());
        if let Some((_, outcome)) = flights.iter().find(|(other, _)| other == wanted) {
            return Seat(outcome.clone());
        }
        let (sender, outcome) = watch::channel(None);
        flights.push((wanted.clone(), outcome.clone()));
        drop(flights);
        start(Pilot(sender));
        Seat(outcome)
    }

    /// Ends the call for `wanted`. Who comes now starts another, or finds the token in the cache.
    pub(crate) fn land(&self, wanted: &Wanted, pilot: &Pilot, result: Result<AccessToken, Error>) {
        self.flights().retain(|(other, _)| other != wanted);
        pilot.0.send_replace(Some(result));
    }

    fn flights(&self) -> MutexGuard<'_, Vec<(Wanted, watch::Receiver<Outcome>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Waits for the result; `None` where the call's task died.
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

    async fn landed(seat: Seat) -> AccessToken {
        let outcome = seat.outcome().await.expect("landed");
        outcome.expect("a token")
    }

    #[tokio::test]
    async fn equal_wishes_share_one_call() {
        let flights = Flights::default();
        let mut pilots = Vec::new();
        let first = flights.board(&wanted(None), |pilot| pilots.push(pilot));
        let second = flights.board(&wanted(None), |pilot| pilots.push(pilot));
        let other = flights.board(&wanted(Some("old")), |pilot| pilots.push(pilot));
        assert_eq!(pilots.len(), 2);
        flights.land(&wanted(None), &pilots[0], Ok(token()));
        assert_eq!(landed(first).await, token());
        assert_eq!(landed(second).await, token());
        drop(pilots);
        assert!(other.outcome().await.is_none(), "died");
    }

    #[tokio::test]
    async fn a_call_that_died_is_not_joined() {
        let flights = Flights::default();
        let _ = flights.board(&wanted(None), drop);
        let mut started = false;
        let _ = flights.board(&wanted(None), |_| started = true);
        assert!(started);
    }
}
