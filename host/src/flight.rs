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

/// How one comes to a call's result.
pub(crate) enum Boarded {
    /// By making the call.
    Pilot(Pilot),
    /// By waiting for one that runs.
    Passenger(Seat),
}

/// The duty to make a call and to land it: to tell its result to all who wait.
pub(crate) struct Pilot(watch::Sender<Outcome>);

/// The place where a call's result is waited for.
pub(crate) struct Seat(watch::Receiver<Outcome>);

impl Flights {
    /// Joins the call for `wanted` that runs; where there is none, it is the caller's to make.
    pub(crate) fn board(&self, wanted: &Wanted) -> Boarded {
        let mut flights = self.flights();
        // A call whose task died tells nobody.
        flights.retain(|(_, outcome)| outcome.has_changed().is_ok());
        if let Some((_, outcome)) = flights.iter().find(|(other, _)| other == wanted) {
            return Boarded::Passenger(Seat(outcome.clone()));
        }
        let (sender, outcome) = watch::channel(None);
        flights.push((wanted.clone(), outcome));
        Boarded::Pilot(Pilot(sender))
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

    fn pilot(boarded: Boarded) -> Pilot {
        match boarded {
            Boarded::Pilot(pilot) => pilot,
            Boarded::Passenger(_) => panic!("it joined another"),
        }
    }

    fn passenger(boarded: Boarded) -> Seat {
        match boarded {
            Boarded::Passenger(seat) => seat,
            Boarded::Pilot(_) => panic!("it joined none"),
        }
    }

    #[tokio::test]
    async fn equal_wishes_share_one_call() {
        let flights = Flights::default();
        let first = pilot(flights.board(&wanted(None)));
        let joined = [(); 2].map(|()| passenger(flights.board(&wanted(None))));
        let other = pilot(flights.board(&wanted(Some("old"))));
        let left = passenger(flights.board(&wanted(Some("old"))));
        flights.land(&wanted(None), &first, Ok(token()));
        for seat in joined {
            assert_eq!(landed(seat).await, token());
        }
        drop(other);
        assert!(left.outcome().await.is_none(), "died");
    }

    #[tokio::test]
    async fn a_call_that_died_is_not_joined() {
        let flights = Flights::default();
        drop(pilot(flights.board(&wanted(None))));
        pilot(flights.board(&wanted(None)));
    }
}
