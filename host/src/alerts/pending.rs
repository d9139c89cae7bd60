//! An alert that waits for one sink, and the name of its file.

use super::Alert;

/// The end of the year 9999: a clock that says later must not use the numbers up.
const LATEST: u64 = 253_402_300_799_999;

/// An alert that waits for one sink. What waits is delivered in the order of the numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    /// When it was recorded, in Unix milliseconds; later where another one has that number or a greater one.
    pub(super) number: u64,
    /// The alert.
    pub(crate) alert: Alert,
}

impl Pending {
    /// Numbers an alert by the clock, after the number `last`.
    pub(super) fn after(last: u64, now: u64, alert: Alert) -> Self {
        Self {
            number: now.min(LATEST).max(last.saturating_add(1)),
            alert,
        }
    }

    /// Gives it a number after `last`, unless it has one.
    pub(super) fn move_after(&mut self, last: u64) {
        self.number = self.number.max(last.saturating_add(1));
    }

    /// Returns the name of its file. The names sort as the numbers do.
    pub(super) fn file_name(&self) -> String {
        format!("{:020}-{}.json", self.number, self.alert.id)
    }
}

/// Reads the number from the name of a file; `None` for other files.
pub(super) fn number(name: &str) -> Option<u64> {
    parse(name).map(|(number, _)| number)
}

/// Reads the alert's id from the name of a file; `None` for other files.
pub(super) fn id(name: &str) -> Option<&str> {
    parse(name).map(|(_, id)| id)
}

fn parse(name: &str) -> Option<(u64, &str)> {
    let (number, id) = name.strip_suffix(".json")?.split_once('-')?;
    let written = number.len() == 20 && number.bytes().all(|b| b.is_ascii_digit());
    let number = number.parse().ok().filter(|_| written && !id.is_empty())?;
    Some((number, id))
}
