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
    outcome: Outcome,
}

/// What became of a check.
#[derive(Debug, Clone)]
enum Outcome {
    /// It was made: nothing is wrong but what was found.
    Made(Vec<Finding>),
    /// There was a reason not to make it: it does not apply, or what it rests on is told as a finding already.
    Skipped,
    /// It was to be made, and could not be: what it would have found is not known.
    Prevented,
}

impl Check {
    /// Begins a check in which nothing is wrong yet.
    pub(super) fn of(name: &'static str) -> Self {
        Self {
            name,
            evidence: Vec::new(),
            outcome: Outcome::Made(Vec::new()),
        }
    }

    /// A check that need not be made, and why.
    pub(super) fn skipped(name: &'static str, why: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Skipped,
            ..Self::of(name).seen(why)
        }
    }

    /// A check that ought to have been made, and why it was not.
    pub(super) fn prevented(name: &'static str, why: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Prevented,
            ..Self::of(name).seen(why)
        }
    }

    /// Adds a fact.
    pub(super) fn seen(mut self, fact: impl Into<String>) -> Self {
        self.evidence.push(fact.into());
        self
    }

    /// Adds what is wrong: whoever found something has looked.
    pub(super) fn found(mut self, findings: impl IntoIterator<Item = Finding>) -> Self {
        let mut found = findings.into_iter().peekable();
        match &mut self.outcome {
            Outcome::Made(findings) => findings.extend(found),
            Outcome::Skipped | Outcome::Prevented if found.peek().is_some() => {
                self.outcome = Outcome::Made(found.collect());
            }
            Outcome::Skipped | Outcome::Prevented => {}
        }
        self
    }

    /// Returns what is wrong.
    pub(super) fn findings(&self) -> &[Finding] {
        match &self.outcome {
            Outcome::Made(findings) => findings,
            Outcome::Skipped | Outcome::Prevented => &[],
        }
    }

    /// Returns whether it ought to have been made, and was not.
    pub(super) fn is_prevented(&self) -> bool {
        matches!(self.outcome, Outcome::Prevented)
    }

    /// Returns whether what rests on it can be looked at.
    pub(super) fn is_sound(&self) -> bool {
        matches!(self.verdict(), Verdict::Fine | Verdict::Doubtful)
    }

    /// Judges by the worst that was found.
    pub(super) fn verdict(&self) -> Verdict {
        let Outcome::Made(findings) = &self.outcome else {
            return Verdict::NotChecked;
        };
        match findings.iter().map(|finding| finding.weight).max() {
            Some(Weight::Trouble) => Verdict::Wrong,
            Some(Weight::Hint) => Verdict::Doubtful,
            None => Verdict::Fine,
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
    }

    #[test]
    fn a_check_that_was_not_made_finds_nothing() {
        let skipped = Check::skipped("keeper", "no store");
        let prevented = Check::prevented("keeper", "no time");
        for check in [&skipped, &prevented] {
            assert_eq!(check.verdict(), Verdict::NotChecked);
            assert!(check.findings().is_empty() && !check.is_sound());
        }
        assert!(prevented.is_prevented() && !skipped.is_prevented());
        let explained = Explained::new(Exit::AtRisk, "code", "", "");
        let made = prevented.found([Finding::hint(About::Upkeep, explained)]);
        assert_eq!(made.verdict(), Verdict::Doubtful);
        assert!(!made.is_prevented());
    }
}
