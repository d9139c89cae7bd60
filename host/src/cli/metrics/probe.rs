//! Whether the keeper is alive, and whether the connections can serve calls.
//!
//! | path | 200 where | for |
//! |---|---|---|
//! | `/healthz` | no visit is overdue: the keeper does its work | liveness: a restart helps |
//! | `/readyz` | as `/healthz`, and every connection has a token that lives, or a fallback that serves | readiness, and people: a restart does not help |
//!
//! A dead grant must not have a keeper restarted in a loop, so it is no matter of `/healthz`.

use procore_auth_host::{Environment, Health};
use serde::Serialize;

use super::board::{Board, Line};
use crate::cli::status;
use crate::cli::time;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// Does the keeper do its work?
    Alive,
    /// Can every connection serve calls?
    Ready,
}

/// The answer as JSON. The fields are stable.
#[derive(Serialize)]
pub(super) struct Answer {
    status: &'static str,
    /// Why it is not `ok`.
    reasons: Vec<String>,
    connections: Vec<Connection>,
}

#[derive(Serialize)]
struct Connection {
    connection: String,
    environment: Environment,
    health: Option<Health>,
    last_visit: Option<String>,
    next_visit: String,
    overdue: bool,
    failing: Option<String>,
}

impl Answer {
    /// Answers from what the visits found.
    pub(super) fn to(probe: Probe, board: &Board, now: u64) -> Self {
        let lines = board.lines(now);
        let reasons: Vec<String> = lines
            .iter()
            .filter_map(|line| reason(probe, line, now))
            .collect();
        Self {
            status: if reasons.is_empty() { "ok" } else { "failing" },
            reasons,
            connections: lines.into_iter().map(Connection::from).collect(),
        }
    }

    /// Returns whether it is `ok`.
    pub(super) fn is_ok(&self) -> bool {
        self.reasons.is_empty()
    }
}

fn reason(probe: Probe, line: &Line, now: u64) -> Option<String> {
    let name = &line.name;
    if line.overdue {
        let late = time::span(line.due, now);
        return Some(format!("{name}: the keeper's visit is overdue {late}"));
    }
    if probe == Probe::Alive || can_serve(line, now) {
        return None;
    }
    let health = line.health.map_or("not visited yet", status::word);
    Some(format!("{name}: no token that lives ({health})"))
}

/// Returns whether calls work: a token lives, and nothing known speaks against it; or a fallback serves.
fn can_serve(line: &Line, now: u64) -> bool {
    let Some((_, status)) = &line.found else {
        return false;
    };
    let lives = status.token.is_some_and(|token| now < token.expires_at);
    let works = line.health.is_some_and(|health| health <= Health::AtRisk);
    lives && works || status.fallback_in_use
}

impl From<Line> for Connection {
    fn from(line: Line) -> Self {
        Self {
            connection: line.name.to_string(),
            environment: line.environment,
            health: line.health,
            last_visit: line.found.map(|(at, _)| time::rfc3339(at)),
            next_visit: time::rfc3339(line.due),
            overdue: line.overdue,
            failing: line.failing,
        }
    }
}

#[cfg(test)]
mod tests {
    use procore_auth_host::Health;
    use procore_auth_host::internals::made;

    use super::super::board::tests as boards;
    use super::{Answer, Probe};

    #[test]
    fn a_dead_grant_is_no_reason_to_restart_the_keeper() {
        let now = crate::cli::time::now();
        let board = boards::board(made::status(Health::SignInRequired), now + 60_000);
        assert!(Answer::to(Probe::Alive, &board, now).is_ok());
        let ready = Answer::to(Probe::Ready, &board, now);
        assert_eq!(
            ready.reasons,
            ["acme: no token that lives (sign-in required)"]
        );
    }

    #[test]
    fn a_connection_whose_fallback_serves_is_ready() {
        let now = crate::cli::time::now();
        let mut status = made::status(Health::SignInRequired);
        status.fallback_in_use = true;
        let board = boards::board(status, now + 60_000);
        assert!(Answer::to(Probe::Ready, &board, now).is_ok());
    }

    #[test]
    fn a_keeper_that_does_not_come_is_not_alive() {
        let (board, now) = boards::healthy();
        for probe in [Probe::Alive, Probe::Ready] {
            assert!(Answer::to(probe, &board, now).is_ok());
            let late = Answer::to(probe, &board, now + 2 * 5_400_000);
            assert!(late.reasons[0].contains("acme: the keeper's visit is overdue"));
            assert!(!late.is_ok());
        }
    }

    #[test]
    fn a_token_that_has_expired_since_serves_no_call() {
        let (board, now) = boards::healthy();
        let status = boards::line(&board, now).found.expect("visited").1;
        let board = boards::board(status, now + 2 * 5_400_000);
        assert!(Answer::to(Probe::Ready, &board, now).is_ok());
        assert!(!Answer::to(Probe::Ready, &board, now + 5_400_000).is_ok());
    }
}
