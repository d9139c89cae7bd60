//! What is wrong, and what comes first.
//!
//! Of two findings the one closer to the root comes first: what it causes is told after it. A trouble comes before a hint, whatever they
//! are about. Of two about the same thing the one that needs a person more comes first.
//!
//! | place | about | what it may cause |
//! |---|---|---|
//! | 1 | the configuration | everything |
//! | 2 | the store | no token is found, or a dead one |
//! | 3 | the network | no server can be asked |
//! | 4 | the clock | tokens seem to live longer or shorter than they do |
//! | 5 | the credential pair | every refresh and every sign-in fails |
//! | 6 | the tokens | every call fails |
//! | 7 | the company | most calls fail |
//! | 8 | who keeps the connection, what waits, who is told | trouble is noticed late |
//! | 9 | what could not be looked at | nothing; it may hide any of these |

use std::cmp::Reverse;

use procore_auth_host::Diagnosis;

use super::exits::exit_of;
use crate::cli::failure::Explained;
use crate::cli::report;

/// What a finding is about, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    Configuration,
    Store,
    Network,
    Clock,
    Credentials,
    Tokens,
    Company,
    Upkeep,
    Unseen,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// Nothing fails because of it now.
    Hint,
    /// Something does not work because of it.
    Trouble,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) about: About,
    pub(super) weight: Weight,
    pub(super) explained: Explained,
}

impl Finding {
    /// Something does not work.
    pub(super) fn trouble(about: About, explained: Explained) -> Self {
        Self {
            about,
            weight: Weight::Trouble,
            explained,
        }
    }

    /// Something wants a look.
    pub(super) fn hint(about: About, explained: Explained) -> Self {
        Self {
            about,
            weight: Weight::Hint,
            explained,
        }
    }

    /// What the plugin says is the matter.
    pub(super) fn diagnosed(about: About, diagnosis: &Diagnosis) -> Self {
        Self::trouble(about, report::explain(exit_of(&diagnosis.code), diagnosis))
    }

    /// Whether both say the same. A code alone does not: it may be about two hosts.
    fn is_like(&self, other: &Self) -> bool {
        let said = |finding: &Self| {
            let Explained { code, summary, .. } = &finding.explained;
            (code.clone(), summary.clone())
        };
        said(self) == said(other)
    }

    fn add_evidence(&mut self, facts: Vec<String>) {
        let evidence = &mut self.explained.evidence;
        for fact in facts {
            if !evidence.contains(&fact) {
                evidence.push(fact);
            }
        }
    }
}

/// Orders findings, the likeliest root of the trouble first. What two checks found alike stands once, with the evidence of both.
pub(super) fn ranked(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| {
        let urgency = finding.explained.exit.urgency();
        (Reverse(finding.weight), finding.about, Reverse(urgency))
    });
    let mut ranked: Vec<Finding> = Vec::new();
    for finding in findings {
        match ranked.iter_mut().find(|known| known.is_like(&finding)) {
            Some(known) => known.add_evidence(finding.explained.evidence),
            None => ranked.push(finding),
        }
    }
    ranked
}

#[cfg(test)]
mod tests {
    use super::{About, Explained, Finding, ranked};
    use crate::cli::exit::Exit;

    fn finding(make: fn(About, Explained) -> Finding, about: About, code: &str) -> Finding {
        make(about, Explained::new(Exit::Configuration, code, "", ""))
    }

    fn codes(findings: Vec<Finding>) -> Vec<String> {
        let ranked = ranked(findings).into_iter();
        ranked.map(|finding| finding.explained.code).collect()
    }

    #[test]
    fn what_is_closer_to_the_root_comes_first() {
        let found = [
            (About::Upkeep, "keeper-missing"),
            (About::Tokens, "invalid_grant"),
            (About::Clock, "clock-wrong"),
            (About::Configuration, "config-invalid"),
            (About::Credentials, "invalid_client"),
        ];
        let found = found.map(|(about, code)| finding(Finding::trouble, about, code));
        assert_eq!(
            codes(found.to_vec()),
            [
                "config-invalid",
                "clock-wrong",
                "invalid_client",
                "invalid_grant",
                "keeper-missing"
            ]
        );
    }

    #[test]
    fn of_two_about_the_same_the_one_that_needs_a_person_comes_first() {
        let found = [
            (Exit::AtRisk, "token-unknown"),
            (Exit::SignInRequired, "invalid_grant"),
        ];
        let found = found.map(|(exit, code)| {
            Finding::trouble(About::Tokens, Explained::new(exit, code, "", ""))
        });
        assert_eq!(codes(found.to_vec()), ["invalid_grant", "token-unknown"]);
    }

    #[test]
    fn a_hint_never_stands_before_a_trouble() {
        let found = vec![
            finding(Finding::hint, About::Configuration, "mixed-environments"),
            finding(Finding::trouble, About::Company, "app-not-connected"),
        ];
        assert_eq!(codes(found), ["app-not-connected", "mixed-environments"]);
    }

    #[test]
    fn what_two_checks_found_alike_stands_once_with_all_evidence() {
        let found = |about, fact: &str| {
            let mut found = finding(Finding::trouble, about, "invalid_client");
            found.explained = found.explained.seen("the same").seen(fact);
            found
        };
        let found = vec![
            found(About::Tokens, "of the tokens"),
            found(About::Credentials, "of the pair"),
        ];
        let ranked = ranked(found);
        assert_eq!(ranked.len(), 1);
        assert_eq!(
            ranked[0].explained.evidence,
            ["the same", "of the pair", "of the tokens"]
        );
    }

    #[test]
    fn one_code_about_two_things_stands_twice() {
        let found = ["login", "API"].map(|host| {
            let explained = Explained::new(Exit::Unavailable, "connect", host, "");
            Finding::trouble(About::Network, explained)
        });
        assert_eq!(codes(found.to_vec()), ["connect", "connect"]);
    }
}
