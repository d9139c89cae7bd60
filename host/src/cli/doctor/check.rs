//! One check: what was looked at, what was seen, and what is wrong with it.

use serde::Serialize;

use super::finding::{Finding, Weight};

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// Nothing is wrong.
    Fine,
    /// It works, and wants a look.
    Doubtful,
    /// It does not work.
    Wrong,
    /// It could not be looked at; the evidence says why.
    NotChecked,
}

/// A check that was made, or why it was not.
#[derive(Debug, Clone)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) evidence: Vec<String>,
    pub(super) findings: Vec<Finding>,
    is_made: bool,
}

impl Check {
    /// Begins a check in which nothing is wrong yet.
    pub(super) fn of(name: &'static str) -> Self {
        Self {
            name,
            evidence: Vec::new(),
            findings: Vec::new(),
            is_made: true,
        }
    }

    /// A check that is not made, and why.
    pub(super) fn skipped(name: &'static str, why: impl Into<String>) -> Self {
        Self {
            is_made: false,
            ..Self::of(name).seen(why)
        }
    }

    /// Adds a fact.
    pub(super) fn seen(mut self, fact: impl Into<String>) -> Self {
        self.evidence.push(fact.into());
        self
    }

    /// Adds what is wrong.
    pub(super) fn found(mut self, findings: impl IntoIterator<Item = Finding>) -> Self {
        self.findings.extend(findings);
        self
    }

    /// Returns whether what rests on it can be looked at.
    pub(super) fn is_sound(&self) -> bool {
        matches!(self.verdict(), Verdict::Fine | Verdict::Doubtful)
    }

    /// Judges by the worst that was found.
    pub(super) fn verdict(&self) -> Verdict {
        let weights = self.findings.iter().map(|finding| finding.weight);
        match (self.is_made, weights.max()) {
            (_, Some(Weight::Trouble)) => Verdict::Wrong,
            (_, Some(Weight::Hint)) => Verdict::Doubtful,
            (true, None) => Verdict::Fine,
            (false, None) => Verdict::NotChecked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::{About, Finding};
    use super::{Check, Verdict};
    use crate::cli::exit::Exit;
    use crate::cli::failure::Explained;

    #[test]
    fn the_worst_that_was_found_decides() {
        let explained = || Explained::new(Exit::AtRisk, "code", "", "");
        let hint = Finding::hint(About::Upkeep, explained());
        let trouble = Finding::trouble(About::Upkeep, explained());
        let check = Check::of("keeper").seen("a fact");
        assert_eq!(check.verdict(), Verdict::Fine);
        let check = check.found([hint]);
        assert_eq!(check.verdict(), Verdict::Doubtful);
        assert!(check.is_sound());
        let check = check.found([trouble]);
        assert_eq!(check.verdict(), Verdict::Wrong);
        assert!(!check.is_sound());
        let skipped = Check::skipped("keeper", "no store");
        assert_eq!(skipped.verdict(), Verdict::NotChecked);
    }
}
