//! What one step tells, and what it checks.

use std::fmt;

use fake_procore::{Commit, Outcome, Recorded};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::stage::Stage;

/// One step while it is played.
pub(super) struct Scene<'a> {
    /// What it is played on.
    pub(super) stage: &'a Stage,
    /// When it began, in minutes of the story.
    pub(super) began: u64,
    /// What happened, in order.
    pub(super) facts: Vec<Fact>,
    /// What was checked, in order.
    pub(super) checks: Vec<Check>,
    requests_before: usize,
    requests_told: usize,
}

/// Something that happened.
#[derive(Debug, Serialize)]
pub(super) struct Fact {
    /// When, in minutes of the story.
    pub(super) minute: u64,
    /// One word for it.
    pub(super) label: &'static str,
    /// What it was.
    pub(super) text: String,
}

/// Something that is so, or is not.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    what: String,
    found: Value,
    expected: Value,
}

impl<'a> Scene<'a> {
    /// Begins a step now. What the server saw before does not count in it.
    pub(super) fn begin(stage: &'a Stage) -> Self {
        let requests_before = stage.procore.requests().len();
        Self {
            stage,
            began: stage.clock.minutes(),
            facts: Vec::new(),
            checks: Vec::new(),
            requests_before,
            requests_told: requests_before,
        }
    }

    /// Lets time pass until so many minutes of the story have. A step that begins with that begins then.
    pub(super) fn at(&mut self, minutes: u64) {
        self.stage.clock.move_to(minutes);
        if self.facts.is_empty() {
            self.began = minutes;
        }
    }

    /// Tells what happened.
    pub(super) fn tell(&mut self, label: &'static str, text: impl Into<String>) {
        self.facts.push(Fact {
            minute: self.stage.clock.minutes(),
            label,
            text: text.into(),
        });
    }

    /// Tells what the server has recorded since this was last told.
    pub(super) fn tell_requests(&mut self) {
        let requests = self.stage.procore.requests();
        let mut label = "sent";
        for request in &requests[self.requests_told..] {
            self.tell(label, line(request));
            label = "";
        }
        self.requests_told = requests.len();
    }

    /// Checks that a number is as it must be.
    pub(super) fn counts(&mut self, what: impl Into<String>, found: usize, expected: usize) {
        self.checks.push(Check {
            what: what.into(),
            found: json!(found),
            expected: json!(expected),
        });
    }

    /// Checks that something is so.
    pub(super) fn holds(&mut self, what: impl Into<String>, found: bool) {
        self.checks.push(Check {
            what: what.into(),
            found: json!(found),
            expected: json!(true),
        });
    }

    /// Checks how many requests the token endpoint got in this step.
    pub(super) fn counts_token_posts(&mut self, expected: usize) {
        let found = self.token_posts();
        self.counts("requests to the token endpoint", found, expected);
    }

    /// Checks that what the store holds is the one refresh token that lives at the server, and tells which.
    pub(super) async fn holds_saved_pair(&mut self) -> Result<(), Failure> {
        let live = self.stage.live_refresh_tokens();
        let saved = self.stage.saved(&live).await?;
        let names: Vec<String> = saved.iter().map(|token| name(token)).collect();
        self.tell(
            "saved",
            format!("refresh token {}, with its access token", names.join(", ")),
        );
        self.counts("refresh tokens alive at the server", live.len(), 1);
        self.holds(
            "that one is in the store",
            !live.is_empty() && live == saved,
        );
        Ok(())
    }

    /// Counts the refresh tokens that live at the server and that the store does not hold. Any is a failed check.
    pub(super) async fn check_that_nothing_is_lost(&mut self) -> Result<usize, Failure> {
        let live = self.stage.live_refresh_tokens();
        let lost = live.len() - self.stage.saved(&live).await?.len();
        if lost > 0 {
            self.counts("tokens lost", lost, 0);
        }
        Ok(lost)
    }

    /// Counts the requests that the token endpoint got in this step.
    pub(super) fn token_posts(&self) -> usize {
        let requests = self.requests();
        requests.iter().filter(|it| it.is_token_post()).count()
    }

    /// Counts how many times the server carried out a call in this step.
    pub(super) fn executions(&self, method: &str, path: &str) -> usize {
        let executed = |request: &&Recorded| {
            (request.method.as_str(), request.path.as_str()) == (method, path)
                && request.commit == Some(Commit::Execution)
        };
        self.requests().iter().filter(executed).count()
    }

    /// Lists the statuses that the server gave to calls of a path in this step.
    pub(super) fn statuses(&self, path: &str) -> Vec<u16> {
        let requests = self.requests();
        let calls = requests.iter().filter(|request| request.path == path);
        calls.filter_map(status).collect()
    }

    /// Lists the checks that do not hold.
    pub(super) fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed())
    }

    fn requests(&self) -> Vec<Recorded> {
        self.stage
            .procore
            .requests()
            .split_off(self.requests_before)
    }
}

impl Check {
    /// Returns whether it is as it must be.
    pub(super) fn passed(&self) -> bool {
        self.found == self.expected
    }
}

/// Says what was found; what was expected too, where that differs.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Value::Bool(true) => f.write_str(&self.what),
            Value::Bool(false) => write!(f, "not so: {}", self.what),
            found if self.passed() => write!(f, "{}: {found}", self.what),
            found => write!(f, "{}: {found}, not {}", self.what, self.expected),
        }
    }
}

/// Writes a request in a line: without query, headers and body, which hold secrets.
fn line(request: &Recorded) -> String {
    let Recorded {
        method, host, path, ..
    } = request;
    let answer = status(request).map_or("none".to_owned(), |status| status.to_string());
    format!("{method:4} {:41} → {answer}", format!("{host}{path}"))
}

fn status(request: &Recorded) -> Option<u16> {
    match request.outcome {
        Outcome::Replied(status) => Some(status),
        Outcome::Pending | Outcome::Closed => None,
    }
}

/// Names a token without showing it: by the beginning of its digest.
pub(super) fn name(token: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(token);
    format!("#{:02x}{:02x}", digest[0], digest[1])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Check, name};

    fn told(found: serde_json::Value, expected: serde_json::Value) -> (bool, String) {
        let check = Check {
            what: "tokens".to_owned(),
            found,
            expected,
        };
        (check.passed(), check.to_string())
    }

    #[test]
    fn a_check_says_what_is_wrong() {
        for (found, expected, passed, text) in [
            (json!(1), json!(1), true, "tokens: 1"),
            (json!(2), json!(1), false, "tokens: 2, not 1"),
            (json!(true), json!(true), true, "tokens"),
            (json!(false), json!(true), false, "not so: tokens"),
        ] {
            assert_eq!(told(found, expected), (passed, text.to_owned()));
        }
    }

    #[test]
    fn a_name_tells_tokens_apart_and_shows_neither() {
        assert_eq!(name("a").len(), 5);
        assert_ne!(name("a"), name("b"));
    }
}
