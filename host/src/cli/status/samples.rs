//! Connections for the tests of this folder.

use procore_auth_host::internals::made;
use procore_auth_host::{Environment, Health, Keeping, Status, TokenTimes};

use super::{Exit, Explained, Known};

/// In milliseconds.
pub(super) const MINUTE: u64 = 60_000;

/// A token's times, in minutes.
pub(super) fn token(issued: u64, refresh: u64, expires: u64) -> TokenTimes {
    made::token_times(issued * MINUTE, refresh * MINUTE, expires * MINUTE)
}

/// A connection that is well at minute 42 of its token.
pub(super) fn healthy() -> Status {
    let mut status = made::status(Health::Healthy);
    status.token = Some(token(0, 72, 90));
    status.last_evidence = Some(42 * MINUTE - 5000);
    status.identity = Some(made::identity("demo@example.com"));
    status.refreshes = 7;
    status
}

/// A connection whose grant has died at minute 40.
pub(super) fn in_trouble() -> Status {
    let mut status = made::status(Health::SignInRequired);
    status.incident = Some(made::incident(
        40 * MINUTE,
        made::diagnosis(
            "refresh-token-dead",
            "The refresh token is not accepted any more.",
            "It was spent by another program.",
            "Run `procore-auth login`.",
        ),
    ));
    status
}

/// A connection of the sandbox.
pub(super) fn known(name: &str, status: Result<Status, Box<Explained>>) -> Known {
    Known {
        name: name.parse().expect("valid"),
        environment: Environment::Sandbox,
        keeper: Keeping::Never,
        status,
    }
}

/// A connection that cannot be opened.
pub(super) fn broken(name: &str) -> Known {
    let explained = Explained::new(
        Exit::Configuration,
        "config-invalid",
        "It is wrong.",
        "Mend it.",
    );
    known(name, Err(Box::new(explained)))
}
