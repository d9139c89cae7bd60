//! Alerts on their way to people: sinks that are down, processes that die, and what `status` says meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fake_procore::Environment::Sandbox;
use procore_auth_tests::tool::{set_mode, wait_for_lock};
use procore_auth_tests::{Rig, Tool};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::webhook::{Answer, SECRET, Webhook};
use crate::{expired, fresh, signed_in};

/// A sink that is tried again at once.
const OPS: &str = "[alerts.ops]\nwebhook = { env = \"OPS_WEBHOOK\" }\nretry = \"10ms\"\nconnections = [\"acme\"]\n";

fn add_sinks(tool: &Tool, tables: &str) {
    let connection = "[connections.acme]\n";
    tool.reconfigure(connection, &format!("{tables}\n{connection}"));
}

/// The program with a webhook, and a refresh token that the server has forgotten.
async fn signed_out_by_the_server(webhook: &Webhook) -> (Rig, Tool) {
    let (rig, tool, pair) = expired().await;
    rig.procore.kill_refresh_token(Sandbox, &pair.refresh_token);
    add_sinks(&tool, OPS);
    (rig, tool.with("OPS_WEBHOOK", &webhook.url()))
}

/// Has some requests answered with a status.
fn times(count: usize, status: u16) -> impl Iterator<Item = Answer> {
    (0..count).map(move |_| Answer::Status(status))
}

#[tokio::test]
async fn s39_a_sink_that_is_down_for_three_tries_gets_one_alert_and_one_recovery_notice() {
    let webhook = Webhook::start(times(3, 503)).await;
    let (rig, tool) = signed_out_by_the_server(&webhook).await;
    let mut keeper = tool.start(&["run"]);
    keeper.says("alert-delivered").await;
    assert_eq!(webhook.taken(), ["alert invalid_grant"]);
    let got = webhook.got();
    assert_eq!(got.len(), 4, "three tries, and the one that arrived");
    assert!(got.iter().all(|request| request.key == got[0].key));
    let alert = &got[3].body;
    assert_eq!(alert["connection"], "acme");
    assert_eq!(alert["environment"], "sandbox");
    assert_eq!(alert["severity"], "alert");
    assert!(
        alert["remedy"]
            .as_str()
            .expect("text")
            .contains("procore-auth login")
    );
    assert!(!alert["cause"].as_str().expect("text").is_empty());
    assert_eq!(alert["state"], "calls do not work");
    assert_eq!(alert["id"], got[0].key.as_str());

    tool.log_in(&rig).await;
    webhook.heard(5).await;
    tool.run(&["status"]).await.code_is(0);
    keeper.signal("TERM").await;
    keeper.end().await.code_is(0);
    assert_eq!(
        webhook.taken(),
        ["alert invalid_grant", "recovery recovered"]
    );
    assert!(left(&tool).is_empty());
}

/// Lists the alerts that wait.
fn left(tool: &Tool) -> Vec<String> {
    let names = fs::read_dir(tool.path("state/.alerts/ops")).expect("there");
    names
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .filter(|name| name.ends_with(".json") && !name.starts_with('.'))
        .collect()
}

#[tokio::test]
async fn s39_status_shows_what_waits_and_has_an_exit_code_for_it() {
    let webhook = Webhook::start(times(99, 500)).await;
    let (rig, tool) = signed_out_by_the_server(&webhook).await;
    tool.run(&["token"]).await.code_is(4);
    let status = tool.run(&["status"]).await;
    status
        .code_is(4)
        .says("alerts: 1 waits for ops, the oldest from")
        .says("the webhook answered 500")
        .says("procore-auth alerts test");
    tool.log_in(&rig).await;
    let status = tool.run(&["status", "--json"]).await.code_is(12).json();
    assert_eq!(status["connections"][0]["health"], "healthy");
    assert_eq!(status["alerts"]["waiting"], 2);
    assert_eq!(status["alerts"]["exit_code"], 12);
    let sink = &status["alerts"]["sinks"][0];
    assert_eq!(
        (&sink["sink"], &sink["configured"]),
        (&"ops".into(), &true.into())
    );
    assert_eq!(sink["last_error"], "the webhook answered 500");
    assert!(sink["failing_since"].is_string());
    let list = tool
        .run(&["alerts", "list", "--json"])
        .await
        .code_is(0)
        .json();
    assert_eq!(list["alerts"][0]["code"], "invalid_grant");
    assert_eq!(list["alerts"][1]["code"], "recovered");
    tool.run(&["alerts", "list"])
        .await
        .code_is(0)
        .says("for ops");

    webhook.mend();
    // A test that arrives ends the pause, and the next visit delivers.
    tool.run(&["alerts", "test"]).await.code_is(0);
    tool.run(&["tick"]).await.code_is(0);
    assert_eq!(
        webhook.taken(),
        ["test test", "alert invalid_grant", "recovery recovered"]
    );
    let status = tool.run(&["status", "--json"]).await.code_is(0).json();
    assert_eq!(status["alerts"]["waiting"], 0);
    tool.run(&["alerts", "list"])
        .await
        .code_is(0)
        .says("no alert waits");
}

#[tokio::test]
async fn an_alert_survives_the_death_of_who_was_delivering_it() {
    let never = Arc::new(Semaphore::new(0));
    let webhook = Webhook::start([Answer::Hold(never)]).await;
    let (_rig, tool) = signed_out_by_the_server(&webhook).await;
    let process = tool.start(&["token"]);
    webhook.heard(1).await;
    process.signal("KILL").await;
    assert_eq!(process.end().await.code, None);
    assert_eq!(left(&tool).len(), 1);
    tool.run(&["tick"]).await.code_is(4);
    let got = webhook.got();
    assert_eq!(got.len(), 2, "nobody knows whether the first arrived");
    assert_eq!(got[0].body["id"], got[1].body["id"], "and the id tells");
    assert!(left(&tool).is_empty());
}

#[tokio::test]
async fn a_store_that_stays_broken_is_one_alert_of_all_visits_and_its_end_one_notice() {
    let webhook = Webhook::start([]).await;
    let (_rig, tool, _) = signed_in().await;
    add_sinks(&tool, OPS);
    let tool = tool.with("OPS_WEBHOOK", &webhook.url());
    set_mode(&tool.path("state/acme"), 0o755);
    for _ in 0..3 {
        let tick = tool.run(&["tick"]).await;
        tick.code_is(7).says("insecure-permissions");
    }
    assert_eq!(webhook.taken(), ["alert insecure-permissions"]);

    set_mode(&tool.path("state/acme"), 0o700);
    for _ in 0..2 {
        tool.run(&["tick"]).await.code_is(0);
    }
    assert_eq!(
        webhook.taken(),
        ["alert insecure-permissions", "recovery visits-recovered"]
    );
}

#[tokio::test]
async fn two_processes_do_not_deliver_one_alert_twice() {
    let gate = Arc::new(Semaphore::new(0));
    let webhook = Webhook::start([Answer::Hold(Arc::clone(&gate))]).await;
    let (_rig, tool) = signed_out_by_the_server(&webhook).await;
    let mut keeper = tool.start(&["run"]);
    webhook.heard(1).await;
    let others = [tool.start(&["tick"])];
    wait_for_lock(&others, 1).await;
    gate.add_permits(1);
    let [other] = others;
    other.end().await.code_is(4);
    keeper.says("alert-delivered").await;
    keeper.signal("TERM").await;
    keeper.end().await.code_is(0);
    assert_eq!(webhook.got().len(), 1);
}

#[tokio::test]
async fn a_command_gets_the_alert_and_not_our_secrets() {
    let (rig, tool, pair) = expired().await;
    rig.procore.kill_refresh_token(Sandbox, &pair.refresh_token);
    let got = tool.path("got");
    let pager = tool.write(
        "pager",
        &format!(
            "#!/bin/sh\n{{ echo \"$1\"; cat; env; }} > '{}'\n",
            got.display()
        ),
    );
    set_mode(Path::new(&pager), 0o700);
    add_sinks(
        &tool,
        &format!("[alerts.pager]\ncommand = [{pager:?}, \"--now $HOME\"]\n"),
    );
    tool.run(&["token"]).await.code_is(4);
    let got = fs::read_to_string(got).expect("it ran");
    let mut lines = got.lines();
    assert_eq!(lines.next(), Some("--now $HOME"), "no shell reads it");
    let alert: Value = serde_json::from_str(lines.next().expect("an alert")).expect("JSON");
    assert_eq!(alert["code"], "invalid_grant");
    assert!(got.contains("\nPATH="));
    assert!(!got.contains("PROCORE_CLIENT_SECRET"));
}

#[tokio::test]
async fn alerts_test_says_what_each_sink_answered() {
    let (_rig, tool, _) = signed_in().await;
    tool.run(&["alerts", "test"])
        .await
        .code_is(3)
        .says("no sink for alerts")
        .says("[alerts.ops]");
    let (good, bad) = (
        Webhook::start([]).await,
        Webhook::start(times(9, 404)).await,
    );
    let tables = format!(
        "{OPS}\n[alerts.teams]\nwebhook = {{ file = \"teams.url\" }}\nformat = \"teams\"\n\n\
         [alerts.slack]\nwebhook = {{ env = \"NOT_THERE\" }}\nformat = \"slack\"\n\n\
         [alerts.pager]\ncommand = [\"false\"]\n"
    );
    add_sinks(&tool, &tables);
    tool.write("teams.url", &format!("{}\n", bad.url()));
    let tool = tool.with("OPS_WEBHOOK", &good.url());
    let tested = tool.run(&["alerts", "test"]).await;
    tested
        .code_is(12)
        .says("ops: delivered: HTTP 200")
        .says("teams: NOT delivered: the webhook answered 404")
        .says("slack: NOT delivered: the environment variable NOT_THERE is not set")
        .says("pager: NOT delivered: exit code 1");
    assert!(!format!("{tested}").contains(SECRET), "{tested}");
    let tested = tool
        .run(&["alerts", "test", "--json"])
        .await
        .code_is(12)
        .json();
    assert_eq!(tested["sinks"][0]["sink"], "ops");
    assert_eq!(tested["sinks"][0]["delivered"], true);
    assert_eq!(good.taken(), ["test test", "test test"]);
    // A sink that cannot be used keeps no agent from its token, and a test is never stored.
    tool.token().await;
    tool.run(&["status"]).await.code_is(0);
}

#[tokio::test]
async fn s57_no_output_and_no_file_has_the_url_of_a_webhook() {
    let webhook = Webhook::start(times(9, 404)).await;
    let (_rig, tool) = signed_out_by_the_server(&webhook).await;
    for line in [
        &["token"][..],
        &["tick"],
        &["status", "--json"],
        &["alerts", "list"],
    ] {
        let finished = tool.run(line).await;
        assert!(!format!("{finished}").contains(SECRET), "{finished}");
    }
    // Nobody listens there any more.
    let port = procore_auth_tests::tool::free_port();
    let tool = tool.with("OPS_WEBHOOK", &format!("http://127.0.0.1:{port}/{SECRET}"));
    let tested = tool.run(&["alerts", "test"]).await;
    tested.code_is(12).says("connect: the webhook");
    assert!(!format!("{tested}").contains(SECRET), "{tested}");
    for path in crate::files::tree(&tool.path("state")) {
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains(SECRET), "{}", path.display());
    }
}

#[tokio::test]
async fn an_alert_can_be_discarded_and_those_of_a_removed_sink_are_shown() {
    let webhook = Webhook::start(times(9, 503)).await;
    let (rig, tool) = signed_out_by_the_server(&webhook).await;
    tool.run(&["token"]).await.code_is(4);
    tool.reconfigure(OPS, "");
    tool.log_in(&rig).await;
    let status = tool.run(&["status"]).await;
    status.code_is(12).says("No sink has this name");
    let list = tool.run(&["alerts", "list", "--json"]).await.json();
    let id = list["alerts"][0]["id"].as_str().expect("an id");
    tool.run(&["alerts", "discard", id]).await.code_is(0);
    tool.run(&["alerts", "discard", id]).await.code_is(1);
    tool.run(&["status"]).await.code_is(0);
}

#[tokio::test]
async fn a_mistake_in_a_sink_is_shown_at_its_line() {
    for (tables, says) in [
        ("[alerts.ops]\nformat = \"slack\"", "exactly one of"),
        (
            "[alerts.ops]\nwebhook = \"https://x/hunter2\"",
            "does not belong into this file",
        ),
        (
            "[alerts.ops]\nwebhook = { env = \"A\" }\nformat = \"pigeon\"",
            "`slack`",
        ),
        ("[alerts.ops]\ncommand = []", "begins with the program"),
        (
            "[alerts.ops]\ncommand = [\"a\"]\nformat = \"slack\"",
            "has no format",
        ),
        (
            "[alerts.ops]\ncommand = [\"a\"]\nconnections = [\"x\"]",
            "no connection x",
        ),
        (
            "[alerts.ops]\ncommand = [\"a\"]\nretry = \"1ms\"",
            "at least 10ms",
        ),
        ("[alerts.Ops]\ncommand = [\"a\"]", "a sink's name"),
    ] {
        let (_rig, tool) = fresh().await;
        add_sinks(&tool, tables);
        let refused = tool.run(&["status"]).await;
        refused.code_is(3).says(says).says("config.toml:").says("^");
        assert!(!refused.err.contains("hunter2"), "{refused}");
    }
}

/// Two alerts that wait for a sink that works by now; returns their files, the oldest first.
async fn two_wait(webhook: &Webhook) -> (Rig, Tool, Vec<PathBuf>) {
    let (rig, tool) = signed_out_by_the_server(webhook).await;
    tool.run(&["token"]).await.code_is(4);
    tool.log_in(&rig).await;
    webhook.mend();
    tool.run(&["alerts", "test"]).await.code_is(0);
    let mut names = left(&tool);
    names.sort();
    assert_eq!(names.len(), 2);
    let folder = tool.path("state/.alerts/ops");
    let files = names.iter().map(|name| folder.join(name)).collect();
    (rig, tool, files)
}

#[tokio::test]
async fn an_alert_that_cannot_be_read_holds_up_no_other_and_is_told() {
    let webhook = Webhook::start(times(99, 500)).await;
    let (_rig, tool, files) = two_wait(&webhook).await;
    set_mode(&files[0], 0o644);
    tool.run(&["alerts", "test"])
        .await
        .code_is(0)
        .says("cannot be read");
    let list = tool.run(&["alerts", "list"]).await;
    list.code_is(12)
        .says("recovered")
        .says("cannot be read")
        .says("chmod 600");
    tool.run(&["tick"]).await.code_is(12).says("chmod 600");
    assert_eq!(
        webhook.taken(),
        ["test test", "test test", "recovery recovered"]
    );
    let status = tool.run(&["status"]).await;
    status
        .code_is(12)
        .says("1 for ops cannot be read")
        .says("insecure-permissions");
    let status = tool.run(&["status", "--json"]).await.code_is(12).json();
    assert_eq!(status["alerts"]["waiting"], 0);
    let unreadable = &status["alerts"]["sinks"][0]["unreadable"][0];
    assert_eq!(unreadable["code"], "insecure-permissions");
    let list = tool.run(&["alerts", "list", "--json"]).await;
    let list = list.code_is(12).json();
    assert_eq!(list["unreadable"][0]["id"], unreadable["id"]);
    tool.run(&["doctor"]).await.says("cannot be read");

    set_mode(&files[0], 0o600);
    tool.run(&["tick"]).await.code_is(0);
    assert_eq!(webhook.taken().last().expect("some"), "alert invalid_grant");
}

#[tokio::test]
async fn an_alert_that_cannot_be_read_can_be_discarded() {
    let webhook = Webhook::start(times(99, 500)).await;
    let (_rig, tool, files) = two_wait(&webhook).await;
    set_mode(&files[0], 0o644);
    let list = tool.run(&["alerts", "list", "--json"]).await.json();
    let id = list["unreadable"][0]["id"].as_str().expect("an id");
    tool.run(&["alerts", "discard", id]).await.code_is(0);
    assert!(!files[0].exists() && files[1].exists());
    tool.run(&["tick"]).await.code_is(0);
}

#[tokio::test]
async fn a_webhook_that_has_said_yes_has_the_alert_however_long_it_talks() {
    let long = "x".repeat(3 << 20);
    for text in ["ok", &long] {
        let webhook = Webhook::start([Answer::Endless(200, text.to_owned())]).await;
        let (_rig, tool) = signed_out_by_the_server(&webhook).await;
        tool.run(&["token"]).await.code_is(4);
        assert_eq!(webhook.taken(), ["alert invalid_grant"]);
        tool.run(&["tick"]).await.code_is(4);
        assert_eq!(webhook.got().len(), 1, "once");
        assert!(left(&tool).is_empty());
    }
}

#[tokio::test]
async fn a_refusal_that_does_not_end_is_told_by_its_beginning() {
    let refusal = Answer::Endless(404, "no_service".to_owned());
    let webhook = Webhook::start([refusal]).await;
    let (_rig, tool) = signed_out_by_the_server(&webhook).await;
    tool.run(&["alerts", "test"])
        .await
        .code_is(12)
        .says("the webhook answered 404 (no_service)");
}
