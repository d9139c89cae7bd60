//! The runbook knows every code: what the sources can tell people, and every exit code, stands in `docs/runbook.md`.
//!
//! Codes are read off the sources: from what makes events, diagnoses and failures. What is an alert stands in the first table,
//! which is read at night.

mod codes;

use std::{collections::BTreeSet, fs, path::Path};

use procore_auth_tests::Tool;

use crate::PROGRAM;
use codes::{Code, Codes};

/// Functions that make what another one tells as an alert: the incident of a connection, the queue's notices, the keeper's troubles.
const TOLD_LATER: &[&str] = &[
    "guest/src/decision.rs: not_signed_in",
    "guest/src/decision.rs: present",
    "guest/src/decision.rs: rejected_again",
    "guest/src/decision.rs: without_session",
    "guest/src/explain.rs: explain_by_body",
    "guest/src/explain.rs: explain_invalid_grant",
    "guest/src/explain.rs: rejected_token",
    "guest/src/flow/queue.rs: explain",
    "guest/src/flow/stored.rs: tell_provenance",
    "guest/src/flow/token.rs: refuse_spent",
    "guest/src/grant.rs: unusable",
    "guest/src/pace.rs: held_back",
    "guest/src/parking.rs: admit",
    "guest/src/refresh.rs: at_risk",
    "host/src/cli/config.rs: unreadable",
    "host/src/cli/config/source.rs: invalid",
    "host/src/cli/open.rs: not_the_pinned_plugin",
    "host/src/cli/heartbeat.rs: overdue",
    "host/src/cli/heartbeat.rs: unknown",
    "host/src/cli/open.rs: unusable_network",
    "host/src/cli/open.rs: unusable_plugin",
    "host/src/holding_store.rs: tell_conflict",
    "host/src/https_client.rs: classify",
    "host/src/private_file.rs: failure",
    "host/src/stopped.rs: code",
];

/// Functions that tell alerts whose codes they are given: by those of [`TOLD_LATER`], by what failed, or by a call within the file.
const PASSED_ON: &[&str] = &[
    "guest/src/flow/park.rs: admitted",
    "guest/src/flow/replay.rs: pass_over",
    "guest/src/incident.rs: raise",
    "host/src/cli/trouble.rs: alert",
    "host/src/holding_store.rs: alert",
];

/// The heading of the first table, and of what comes after it.
const NIGHT: (&str, &str) = ("\n## At 2 AM\n", "\n## First look\n");

fn runbook() -> String {
    let host = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(host.join("../docs/runbook.md")).expect("there")
}

/// Returns the text between two headings.
fn section<'a>(text: &'a str, (from, to): (&str, &str)) -> &'a str {
    let (_, rest) = text.split_once(from).expect("a heading");
    rest.split_once(to).expect("the next heading").0
}

/// Returns the codes that stand in the text between backticks.
fn told(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn missing<'a>(codes: impl Iterator<Item = &'a Code>, told: &BTreeSet<&str>) -> Vec<&'a Code> {
    codes
        .filter(|code| !told.contains(code.code.as_str()))
        .collect()
}

#[test]
fn every_code_of_the_sources_stands_in_the_runbook() {
    let (codes, runbook) = (Codes::of_the_sources(), runbook());
    assert!(codes.all.len() > 100, "they are found: {}", codes.all.len());
    let missing = missing(codes.all.iter(), &told(&runbook));
    assert!(missing.is_empty(), "not in docs/runbook.md: {missing:#?}");
}

#[test]
fn every_alert_stands_in_the_table_for_the_night() {
    let (codes, runbook) = (Codes::of_the_sources(), runbook());
    let night = told(section(&runbook, NIGHT));
    let is_alert = |code: &&Code| code.is_alert || TOLD_LATER.contains(&code.function.as_str());
    let alerts: Vec<&Code> = codes.all.iter().filter(is_alert).collect();
    assert!(alerts.len() > 30, "they are found: {}", alerts.len());
    let missing = missing(alerts.iter().copied(), &night);
    assert!(missing.is_empty(), "not in \"At 2 AM\": {missing:#?}");
    let idle = |function: &&&str| !alerts.iter().any(|code| code.function == **function);
    let idle: Vec<_> = TOLD_LATER.iter().filter(idle).collect();
    assert!(idle.is_empty(), "these make no codes any more: {idle:?}");
    let passed_on: Vec<&str> = codes.passed_on.iter().map(String::as_str).collect();
    assert_eq!(
        passed_on, PASSED_ON,
        "who tells alerts without a code of their own?"
    );
}

#[tokio::test]
async fn every_exit_code_stands_in_the_runbook() {
    let help = Tool::new(PROGRAM, Vec::new).run(&["--help"]).await.out;
    let (_, table) = help.split_once("Exit codes:\n").expect("a table");
    let codes: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(codes.len() > 10, "{codes:?}");
    let runbook = runbook();
    let told = section(&runbook, ("\n## Exit codes\n", "\n## Health\n"));
    for code in codes {
        assert!(
            told.contains(&format!("\n| {code} |")),
            "exit code {code} is not in docs/runbook.md"
        );
    }
}
