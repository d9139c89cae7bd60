//! What the program says and how it ends: messages, exit codes, JSON.

use fake_procore::Environment::Sandbox;
use fake_procore::{Fault, Reply, Target};
use procore_auth_tests::Tool;

use crate::{PROGRAM, arrived, expired, fresh, hold_next_refresh, signed_in};

const VERBS: [&str; 12] = [
    "login",
    "token",
    "call",
    "run",
    "tick",
    "status",
    "logout",
    "import",
    "parked",
    "alerts",
    "demo",
    "completions",
];

#[tokio::test]
async fn a_newcomer_is_told_how_to_begin() {
    let tool = Tool::new(PROGRAM, Vec::new);
    for verb in ["status", "login", "run", "token"] {
        let missing = tool.run(&[verb]).await;
        missing
            .code_is(3)
            .says("There is no configuration file.")
            .says("[connections.");
        missing
            .says(".config/procore-auth/config.toml")
            .says("procore-auth init");
    }
    let missing = tool.run(&["status", "--json"]).await.code_is(3).json();
    assert_eq!(missing["error"]["code"], "config-missing");
    assert_eq!(missing["error"]["exit_code"], 3);
}

#[tokio::test]
async fn every_verb_has_its_help() {
    let tool = Tool::new(PROGRAM, Vec::new);
    let help = tool.run(&["--help"]).await;
    help.code_is(0).says("Exit codes:");
    for verb in VERBS {
        help.says(verb);
        tool.run(&[verb, "--help"])
            .await
            .code_is(0)
            .says("Global options:");
    }
    tool.run(&[]).await.code_is(2).says("Usage:");
    tool.run(&["tick", "--next-visit", "soon"]).await.code_is(2);
    tool.run(&["status", "--connection", "../x"])
        .await
        .code_is(2);
}

#[tokio::test]
async fn completions_are_a_script() {
    let tool = Tool::new(PROGRAM, Vec::new);
    let script = tool
        .run(&["completions", "bash"])
        .await
        .code_is(0)
        .out
        .clone();
    let path = tool.write("completions.bash", &script);
    let checked = std::process::Command::new("bash")
        .args(["-n", &path])
        .status();
    assert!(checked.expect("bash").success());
    for shell in ["zsh", "fish"] {
        tool.run(&["completions", shell])
            .await
            .code_is(0)
            .says("parked");
    }
}

#[tokio::test]
async fn a_mistake_in_the_configuration_is_shown_at_its_line() {
    for (from, to, says) in [
        ("company_id = 4001", "company = 4001", "unknown field"),
        ("\"sandbox\"", "\"sandbx\"", "monthly-sandbox"),
        (
            "{ env = \"PROCORE_CLIENT_SECRET\" }",
            "\"hunter2hunter2\"",
            "does not belong into this file",
        ),
        ("PROCORE_CLIENT_SECRET", "NOT_THERE", "NOT_THERE is not set"),
        (
            "http://localhost:",
            "http://192.168.8.124:",
            "http://localhost:",
        ),
    ] {
        let (_rig, tool) = fresh().await;
        tool.reconfigure(from, to);
        let text = std::fs::read_to_string(tool.path("config.toml")).expect("there");
        let number = text
            .lines()
            .position(|line| line.contains(to))
            .expect("there")
            + 1;
        let refused = tool.run(&["token"]).await;
        refused
            .code_is(3)
            .says(says)
            .says(&format!("config.toml:{number}:"))
            .says("^");
        assert!(!refused.err.contains("hunter2"), "{refused}");
        let refused = tool.run(&["token", "--json"]).await.code_is(3).json();
        assert_eq!(refused["error"]["exit_code"], 3);
    }
}

#[tokio::test]
async fn status_names_a_connection_whose_secret_cannot_be_read() {
    let (_rig, tool, _) = signed_in().await;
    tool.reconfigure("PROCORE_CLIENT_SECRET", "NOT_THERE");
    let status = tool.run(&["status"]).await;
    status
        .code_is(3)
        .says("acme        sandbox      error")
        .says("NOT_THERE is not set");
    let status = tool.run(&["status", "--json"]).await.code_is(3).json();
    assert_eq!(status["connections"][0]["environment"], "sandbox");
    assert_eq!(status["connections"][0]["error"]["exit_code"], 3);
}

#[tokio::test]
async fn each_class_of_failure_has_its_exit_code() {
    let (rig, tool) = fresh().await;
    tool.run(&["token"])
        .await
        .code_is(4)
        .says("procore-auth login");
    tool.run(&["status"]).await.code_is(4);
    tool.run(&["token", "--connection", "other"])
        .await
        .code_is(3)
        .says("acme");
    tool.signed_in(&rig.procore, std::time::Duration::ZERO)
        .await;
    tool.run(&["status"]).await.code_is(0);
    let missing = tool.run(&["call", "/rest/v1.0/nothing", "--json"]).await;
    assert_eq!(missing.code_is(22).json()["status"], 404);
    tool.run(&["call", "/x", "-d", "@/nonexistent"])
        .await
        .code_is(1)
        .says("/nonexistent");
    tool.run(&["parked", "discard", "nothing"]).await.code_is(1);
    assert_eq!(
        tool.run(&["logout", "--json"]).await.code_is(0).json()["revoked"],
        true
    );
    tool.run(&["token"]).await.code_is(4);
    for logout in [&["logout"][..], &["logout", "--local"]] {
        let again = tool.run(logout).await;
        again.code_is(0).says("nobody was signed in");
    }
    let again = tool.run(&["logout", "--json"]).await;
    assert_eq!(again.code_is(0).json()["revoked"], false);
}

#[tokio::test]
async fn a_server_in_trouble_is_a_passing_condition() {
    let (rig, tool, _) = expired().await;
    let broken = Fault::uncommitted(Reply::empty(503));
    rig.procore.inject_times(50, &Target::Token, &broken);
    tool.run(&["token"]).await.code_is(5);
    rig.procore.clear_faults();
}

#[tokio::test]
async fn a_lock_that_is_kept_too_long_is_told_as_busy() {
    let (_rig, tool, _) = expired().await;
    let lock = std::fs::File::open(tool.path("state/acme/.lock")).expect("there");
    lock.lock().expect("free");
    tool.reconfigure(
        "[connections.acme]\n",
        "[connections.acme.policy]\ntoken_timeout = \"5s\"\nlock_wait = \"6s\"\n\n[connections.acme]\n",
    );
    tool.run(&["token"]).await.code_is(6);
    lock.unlock().expect("held");
    tool.run(&["token"]).await.code_is(0);
}

#[tokio::test]
async fn a_wrong_client_secret_is_a_mistake_of_the_configuration() {
    let (rig, tool, pair) = expired().await;
    let tool = tool.with("PROCORE_CLIENT_SECRET", "not-the-secret");
    tool.run(&["token"]).await.code_is(3).says("invalid_client");
    assert!(
        rig.procore
            .refresh_token_is_live(Sandbox, &pair.refresh_token)
    );
}

#[tokio::test]
async fn json_is_json_whatever_the_verb() {
    let (rig, tool, _) = signed_in().await;
    assert!(tool.run(&["token", "--json"]).await.code_is(0).json()["expires_at"].is_string());
    let me = tool.run(&["call", "/rest/v1.0/me", "--json"]).await;
    assert_eq!(me.code_is(0).json()["body"]["login"], "demo@example.com");
    for verb in ["status", "tick"] {
        let document = tool.run(&[verb, "--json"]).await.code_is(0).json();
        assert_eq!(document["connections"][0]["health"], "healthy");
    }
    let gate = hold_next_refresh(&rig.procore, Fault::hold_after);
    let tick = tool.start(&["tick", "--next-visit", "2h", "--json"]);
    arrived(&gate).await;
    gate.open();
    assert_eq!(
        tick.end().await.code_is(0).json()["connections"][0]["refreshes"],
        1
    );
    assert_eq!(
        tool.run(&["logout", "--local", "--json"])
            .await
            .code_is(0)
            .json()["revoked"],
        false
    );
}

#[tokio::test]
async fn s40_a_rejected_token_without_a_way_to_renew_is_no_token() {
    let (rig, tool, _) = signed_in().await;
    rig.procore
        .revoke_grant(Sandbox, "demo-client-sandbox", 101)
        .expect("registered");
    tool.run(&["call", "/rest/v1.0/me"]).await.code_is(4);
    tool.run(&["token"]).await.code_is(4);
    let status = tool.run(&["status"]).await;
    status.code_is(4).says("sign-in required");
}

#[tokio::test]
async fn status_tells_how_to_learn_why_a_changed_connection_needs_a_sign_in() {
    let (_rig, tool, _) = signed_in().await;
    tool.reconfigure("environment = \"sandbox\"", "environment = \"production\"");
    let status = tool.run(&["status"]).await;
    status
        .code_is(4)
        .says("`procore-auth token --connection acme` tells why");
    let token = tool.run(&["token", "--connection", "acme"]).await;
    token.code_is(4).says("connection-changed");
}
