//! Exit codes: one table, for the code and for `--help`.

use std::fmt::Write as _;
use std::process::ExitCode;

/// How a run of the tool ended. The numbers are stable; a new one may be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// An argument, a file or a pasted answer is not acceptable.
    Refused,
    /// The command line is wrong. Clap's own code.
    Usage,
    /// The configuration, here or at Procore, does not work.
    Configuration,
    /// A person must sign in.
    SignInRequired,
    /// A passing condition.
    Unavailable,
    /// Another process kept the connection's lock.
    Busy,
    /// The store.
    Storage,
    /// A request may or may not have been executed.
    UnknownOutcome,
    /// A defect.
    Internal,
    /// A request was parked, or parked requests wait.
    Parked,
    /// The connection works as far as is known, and that is not enough to call it healthy.
    AtRisk,
    /// Alerts wait that no sink took.
    Undelivered,
    /// Procore's API answered with a status of 400 or more. Curl's code for it.
    ApiRefused,
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    /// Every way to end, in the order of the codes.
    pub(crate) const ALL: [Self; 15] = [
        Self::Done,
        Self::Refused,
        Self::Usage,
        Self::Configuration,
        Self::SignInRequired,
        Self::Unavailable,
        Self::Busy,
        Self::Storage,
        Self::UnknownOutcome,
        Self::Internal,
        Self::Parked,
        Self::AtRisk,
        Self::Undelivered,
        Self::ApiRefused,
        Self::Interrupted,
    ];

    /// Returns the process's exit code and what it means.
    pub(crate) const fn describe(self) -> (u8, &'static str) {
        match self {
            Self::Done => (0, "done; for `status`: every connection is healthy"),
            Self::Refused => (1, "an argument, a file or a pasted answer was refused"),
            Self::Usage => (2, "the command line is wrong"),
            Self::Configuration => (3, "the configuration, here or at Procore, does not work"),
            Self::SignInRequired => (4, "a person must sign in (`procore-auth login`)"),
            Self::Unavailable => (5, "a passing condition: network, server or rate limit"),
            Self::Busy => (6, "another process kept the connection's lock for too long"),
            Self::Storage => (7, "the store could not be read or written"),
            Self::UnknownOutcome => (8, "a request may or may not have been executed"),
            Self::Internal => (9, "a defect of this program"),
            Self::Parked => (10, "a request was parked, or parked requests wait"),
            Self::AtRisk => (11, "a connection is at risk or not verified"),
            Self::Undelivered => (12, "alerts wait that could not be delivered"),
            Self::ApiRefused => (22, "Procore's API answered with a status of 400 or more"),
            Self::Interrupted => (130, "interrupted by Ctrl-C"),
        }
    }

    /// Orders outcomes by how much they need a person, so that one exit code can stand for several connections.
    pub(crate) const fn urgency(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Parked => 1,
            Self::AtRisk => 2,
            Self::Undelivered => 3,
            Self::Busy => 4,
            Self::ApiRefused => 5,
            Self::Unavailable => 6,
            Self::UnknownOutcome => 7,
            Self::Refused => 8,
            Self::SignInRequired => 9,
            Self::Configuration => 10,
            Self::Storage => 11,
            Self::Internal => 12,
            Self::Usage => 13,
            Self::Interrupted => 14,
        }
    }

    /// Returns the more urgent of two.
    pub(crate) fn worst(self, other: Self) -> Self {
        if other.urgency() > self.urgency() {
            other
        } else {
            self
        }
    }

    /// Renders the table for `--help`.
    pub(crate) fn table() -> String {
        let mut table = String::from("Exit codes:");
        for exit in Self::ALL {
            let (code, meaning) = exit.describe();
            // Writing to a string does not fail.
            let _ = write!(table, "\n  {code:>3}  {meaning}");
        }
        table
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.describe().0)
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn codes_are_distinct_and_ascending() {
        let codes: Vec<u8> = Exit::ALL.map(|exit| exit.describe().0).to_vec();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
    }

    #[test]
    fn no_two_ends_are_equally_urgent() {
        let mut urgencies = Exit::ALL.map(Exit::urgency).to_vec();
        urgencies.sort_unstable();
        urgencies.dedup();
        assert_eq!(urgencies.len(), Exit::ALL.len());
        assert_eq!(
            Exit::AtRisk.worst(Exit::SignInRequired),
            Exit::SignInRequired
        );
    }

    #[test]
    fn the_table_names_every_code() {
        let table = Exit::table();
        for exit in Exit::ALL {
            assert!(table.contains(exit.describe().1));
        }
    }
}
