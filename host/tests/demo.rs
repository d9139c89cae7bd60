//! The demo is the first thing that people see: it runs on any machine, and what it shows holds.
#![cfg(feature = "cli")]

use std::process::{Command, Output};

use serde_json::Value;

const TITLES: [&str; 7] = [
    "A person signs in, once",
    "The agent calls Procore: who am I?",
    "The token is 80 % through its life: one refresh, whoever asks",
    "The token dies early: refresh, and send again",
    "Saturday, 2 AM: someone revokes the app",
    "Saturday, 9 AM: the admin signs in again",
    "The agent signs out",
];

fn demo(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_procore-auth"))
        .arg("demo")
        .args(arguments)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{output:?}");
    output
}

#[test]
fn shows_every_step_in_order_and_without_colour() {
    let text = String::from_utf8(demo(&[]).stdout).expect("UTF-8");
    let places: Vec<_> = TITLES.iter().map(|title| text.find(title)).collect();
    assert!(places.iter().all(Option::is_some), "{text}");
    assert!(places.is_sorted(), "{text}");
    assert!(!text.contains(['\u{1b}', '✗']), "{text}");
    let last = text.lines().last().unwrap_or_default();
    let numbers = "token endpoint POSTs 5, tokens lost 0, alerts 1, recovered 1;";
    assert!(last.contains(numbers), "{last}");
}

#[test]
fn prints_an_object_a_step_as_json() {
    let text = String::from_utf8(demo(&["--json"]).stdout).expect("UTF-8");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let (summary, steps) = lines.split_last().expect("lines");
    assert_eq!(steps.len(), TITLES.len());
    for ((number, title), step) in (1..).zip(TITLES).zip(steps) {
        assert_eq!(
            (&step["step"], &step["title"]),
            (&number.into(), &title.into())
        );
        assert_eq!(step["passed"], true);
        let checks = step["checks"].as_array().expect("checks");
        assert!(!checks.is_empty());
    }
    assert_eq!(summary["summary"]["tokens_lost"], 0);
    assert_eq!(summary["summary"]["token_posts"], 5);
}
