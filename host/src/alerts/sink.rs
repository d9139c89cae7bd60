//! Where alerts go.

use std::{fmt, str::FromStr, time::Duration};

use async_trait::async_trait;

use super::Alert;
use crate::ConnectionName;

/// The pause after the first failed try, unless the sink says otherwise.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Something that takes alerts to people.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Returns the sink's name. What waits is filed under it: a sink that gets another name does not get what waits.
    fn name(&self) -> &SinkName;

    /// Returns the pause after the first of several failed tries. It doubles with each.
    fn first_pause(&self) -> Duration {
        FIRST_PAUSE
    }

    /// Delivers one alert, once, within `timeout`. Returns what the sink answered, for a person.
    async fn deliver(&self, alert: &Alert, timeout: Duration) -> Result<String, Undelivered>;
}

/// A sink did not take an alert.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Undelivered {
    /// What that means for the next try.
    pub reason: Reason,
    /// For a person; without the sink's address or any other secret.
    pub message: String,
}

/// Why a sink did not take an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The sink does not work at the moment.
    Down {
        /// Whether the sink itself said so. It may mean this one alert then.
        answered: bool,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The sink does not want it: this alert, or any.
    Refused,
}

impl Undelivered {
    /// Nothing of the sink could be reached.
    pub fn unreachable(message: impl Into<String>) -> Self {
        let reason = Reason::Down {
            answered: false,
            retry_after: None,
        };
        Self {
            reason,
            message: message.into(),
        }
    }

    /// The sink answered that it does not work.
    pub fn failing(message: impl Into<String>, retry_after: Option<Duration>) -> Self {
        let reason = Reason::Down {
            answered: true,
            retry_after,
        };
        Self {
            reason,
            message: message.into(),
        }
    }

    /// The sink answered that it does not want it.
    pub fn refused(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::Refused,
            message: message.into(),
        }
    }
}

/// A sink's name, by the rules of a [`ConnectionName`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkName(ConnectionName);

impl SinkName {
    /// Returns the name's text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for SinkName {
    type Err = InvalidSinkName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        name.parse().map(Self).map_err(|_| InvalidSinkName)
    }
}

impl fmt::Display for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a sink is not acceptable.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error(
    "a sink's name is 1 to 64 characters of a-z, 0-9, - and _, and begins with a letter or a digit"
)]
pub struct InvalidSinkName;
