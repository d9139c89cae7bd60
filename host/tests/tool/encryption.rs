//! Encryption at rest, as its users turn it on, rotate its key and turn it off.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fake_procore::{Environment::Sandbox, Fault};
use procore_auth_tests::tool::{set_mode, wait_for_lock};
use procore_auth_tests::{Rig, Tool};

use crate::{PROGRAM, arrived, expired, fresh, hold_next_refresh, rig, signed_in};

const TABLE: &str = "\n[encryption]\nkey = { file = \"store.key\" }\n";

/// Makes a key.
async fn make_key(tool: &Tool, file: &str) {
    let generated = tool.run(&["key", "generate", "--file", file]).await;
    generated.code_is(0);
}

/// Makes a key and turns encryption on.
async fn turn_on(tool: &Tool) {
    make_key(tool, "store.key").await;
    append(tool, TABLE);
}

/// Adds to the configuration.
fn append(tool: &Tool, text: &str) {
    let path = tool.path("config.toml");
    let before = fs::read_to_string(&path).expect("configured");
    fs::write(path, before + text).expect("written");
}

/// All files of the connection, by name.
fn files(tool: &Tool) -> Vec<PathBuf> {
    let entries = fs::read_dir(tool.path("state/acme")).expect("readable");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// The files that hold a secret that the server gave out, or the demo user's data.
fn plain_files(rig: &Rig, tool: &Tool) -> Vec<PathBuf> {
    let mut needles = rig.procore.secrets_issued();
    needles.push("access_token".to_owned());
    needles.push("parked-business-data".to_owned());
    let holds = |path: &Path| {
        let text = String::from_utf8_lossy(&fs::read(path).expect("readable")).into_owned();
        needles.iter().any(|needle| text.contains(needle))
    };
    files(tool).into_iter().filter(|path| holds(path)).collect()
}

const NONE: [PathBuf; 0] = [];

async fn park(rig: &Rig, tool: &Tool) {
    rig.procore
        .revoke_grant(Sandbox, "demo-client-sandbox", 101)
        .expect("registered");
    let body = r#"{"project":{"name":"parked-business-data"}}"#;
    let call = ["call", "/rest/v1.0/projects", "-d", body, "--park"];
    tool.run(&call).await.code_is(10);
}

#[tokio::test]
async fn s57_a_life_with_encryption_leaves_no_token_in_any_file() {
    let (rig, tool) = fresh().await;
    turn_on(&tool).await;
    tool.log_in(&rig).await;
    assert_eq!(plain_files(&rig, &tool), NONE);
    let token = tool.token().await;
    tool.run(&["tick", "--next-visit", "2h"]).await.code_is(0);
    assert_ne!(tool.token().await, token, "refreshed");
    tool.run(&["status"]).await.code_is(0).says("healthy");
    tool.run(&["call", "/rest/v1.0/me"]).await.code_is(0);
    park(&rig, &tool).await;
    assert!(files(&tool).len() > 5);
    assert_eq!(plain_files(&rig, &tool), NONE);
    tool.run(&["parked", "list"])
        .await
        .code_is(0)
        .says("queued");
    tool.run(&["logout", "--local"]).await.code_is(0);
}

#[tokio::test]
async fn s1_two_processes_with_encryption_make_one_post() {
    let (rig, tool) = fresh().await;
    turn_on(&tool).await;
    tool.signed_in(&rig.procore, crate::LONG_AGO).await;
    let gate = hold_next_refresh(&rig.procore, Fault::hold_after);
    let running = [tool.start(&["token"]), tool.start(&["token"])];
    arrived(&gate).await;
    wait_for_lock(&running, 1).await;
    gate.open();
    let mut tokens = Vec::new();
    for process in running {
        tokens.push(process.end().await.code_is(0).out.clone());
    }
    assert_eq!(tokens[0], tokens[1]);
    assert_eq!(rig.procore.token_posts(), 1);
    assert_eq!(plain_files(&rig, &tool), NONE);
}

#[tokio::test]
async fn turning_it_on_logs_nobody_out_and_leaves_no_plain_text() {
    let (rig, tool, _) = signed_in().await;
    tool.run(&["tick", "--next-visit", "2h"]).await.code_is(0);
    park(&rig, &tool).await;
    let session = fs::read(tool.path("state/acme/session")).expect("there");
    for name in ["session.damaged-1", ".session.a1b2c3"] {
        let path = tool.path("state/acme").join(name);
        fs::write(&path, &session[..session.len() - 9]).expect("written");
        set_mode(&path, 0o600);
    }
    let parked = tool.run(&["parked", "list", "--json"]).await.json();

    turn_on(&tool).await;
    tool.run(&["status"])
        .await
        .code_is(7)
        .says("not-encrypted")
        .says("procore-auth store encrypt");
    assert_eq!(
        fs::read(tool.path("state/acme/session")).expect("there"),
        session
    );
    let done = tool.run(&["store", "encrypt", "--json"]).await;
    assert_eq!(done.code_is(0).json()["encrypted"], true);
    assert_eq!(plain_files(&rig, &tool), NONE);
    let after = tool.run(&["parked", "list", "--json"]).await.json();
    assert_eq!(after["parked"][0]["id"], parked["parked"][0]["id"]);
    tool.run(&["store", "encrypt"])
        .await
        .says("files replaced: 0");
}

#[tokio::test]
async fn the_token_is_the_same_before_and_after() {
    let (rig, tool, pair) = signed_in().await;
    assert_eq!(tool.token().await, pair.access_token);
    turn_on(&tool).await;
    fs::create_dir(tool.path("state/former")).expect("created");
    tool.run(&["store", "encrypt"])
        .await
        .code_is(0)
        .says("state/former: of no connection");
    assert_eq!(tool.token().await, pair.access_token);
    tool.run(&["store", "decrypt"]).await.code_is(0);
    tool.run(&["token"]).await.code_is(7).says("not-encrypted");
    tool.reconfigure(TABLE, "");
    assert_eq!(tool.token().await, pair.access_token);
    assert_eq!(rig.procore.token_posts(), 0, "nothing was spent");
}

#[tokio::test]
async fn a_process_without_the_key_overwrites_nothing() {
    let (rig, tool, _) = expired().await;
    turn_on(&tool).await;
    tool.run(&["store", "encrypt"]).await.code_is(0);
    let sealed = fs::read(tool.path("state/acme/session")).expect("there");
    tool.reconfigure(TABLE, "");
    for verb in ["token", "status", "tick"] {
        tool.run(&[verb]).await.code_is(7).says("key-unavailable");
    }
    tool.run(&["logout", "--local"]).await.code_is(7);
    assert_eq!(
        fs::read(tool.path("state/acme/session")).expect("there"),
        sealed
    );
    assert_eq!(rig.procore.token_posts(), 0);
}

#[tokio::test]
async fn a_wrong_key_is_told_with_the_cure_and_overwrites_nothing() {
    let (rig, tool, pair) = signed_in().await;
    turn_on(&tool).await;
    tool.run(&["store", "encrypt"]).await.code_is(0);
    let sealed = fs::read(tool.path("state/acme/session")).expect("there");
    make_key(&tool, "other.key").await;
    tool.reconfigure("store.key", "other.key");
    for arguments in [
        &["token"][..],
        &["status"],
        &["tick"],
        &["store", "encrypt"],
        &["login", "--no-browser"],
        &["logout", "--local"],
    ] {
        tool.run(arguments)
            .await
            .code_is(7)
            .says("wrong-key")
            .says("old_keys");
    }
    assert_eq!(
        fs::read(tool.path("state/acme/session")).expect("there"),
        sealed
    );
    tool.reconfigure("other.key", "store.key");
    assert_eq!(tool.token().await, pair.access_token);
    assert_eq!(rig.procore.token_posts(), 0);
}

#[tokio::test]
async fn a_key_is_rotated_while_the_agent_stays_signed_in() {
    let (rig, tool, _) = signed_in().await;
    turn_on(&tool).await;
    tool.run(&["store", "encrypt"]).await.code_is(0);
    make_key(&tool, "new.key").await;
    let old_keys = "key = { file = \"new.key\" }\nold_keys = [{ file = \"store.key\" }]";
    tool.reconfigure("key = { file = \"store.key\" }", old_keys);
    // Both open; what is written from now on has the new key.
    tool.run(&["tick", "--next-visit", "2h"]).await.code_is(0);
    tool.run(&["store", "encrypt"]).await.code_is(0);
    tool.reconfigure("\nold_keys = [{ file = \"store.key\" }]", "");
    fs::remove_file(tool.path("store.key")).expect("there");
    tool.run(&["status"]).await.code_is(0);
    assert_eq!(plain_files(&rig, &tool), NONE);
}

#[tokio::test]
async fn a_connection_may_have_a_key_of_its_own() {
    let (rig, tool) = fresh().await;
    for key in ["store.key", "own.key"] {
        make_key(&tool, key).await;
    }
    append(
        &tool,
        &format!("{TABLE}\n[connections.acme.encryption]\nkey = {{ file = \"own.key\" }}\n"),
    );
    fs::remove_file(tool.path("store.key")).expect("there");
    tool.log_in(&rig).await;
    assert_eq!(plain_files(&rig, &tool), NONE);
}

#[tokio::test]
async fn a_changed_or_moved_entry_is_refused() {
    let (_rig, tool, _) = signed_in().await;
    turn_on(&tool).await;
    tool.run(&["store", "encrypt"]).await.code_is(0);
    // A store of another connection with the same key.
    let folder = tool.path("state/acme");
    let text = fs::read_to_string(tool.path("config.toml")).expect("configured");
    let start = text.find("[connections.acme]").expect("configured");
    let end = text.find(TABLE).expect("configured");
    append(&tool, &text[start..end].replace("acme", "other"));
    let other = tool.path("state/other");
    fs::create_dir(&other).expect("created");
    set_mode(&other, 0o700);
    fs::copy(folder.join("session"), other.join("session")).expect("copied");
    tool.run(&["token", "--connection", "other"])
        .await
        .code_is(7)
        .says("corrupt");
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_told_with_its_place_and_cure() {
    let (_rig, tool) = fresh().await;
    append(&tool, TABLE);
    tool.run(&["status"])
        .await
        .code_is(3)
        .says("key-unavailable")
        .says("config.toml:")
        .says("store.key");
    tool.write("store.key", "correct horse battery staple");
    let refused = tool.run(&["status"]).await;
    refused.code_is(3).says("key-invalid").says("key generate");
    assert!(!refused.err.contains("horse"), "{refused}");
    tool.write("store.key", &"ab".repeat(31));
    tool.run(&["status"]).await.code_is(3).says("key-invalid");
    set_mode(&tool.path("store.key"), 0o644);
    tool.run(&["status"])
        .await
        .code_is(3)
        .says("run: chmod 600");
    tool.reconfigure("{ file = \"store.key\" }", "\"correct horse\"");
    let refused = tool.run(&["status"]).await;
    refused.code_is(3).says("key generate");
    assert!(!refused.err.contains("horse"), "{refused}");
}

#[tokio::test]
async fn s58_a_key_is_for_its_owner_alone_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_rig, tool) = fresh().await;
    make_key(&tool, "store.key").await;
    let path = tool.path("store.key");
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read_to_string(&path).expect("there");
    let again = tool.run(&["key", "generate", "--file", "store.key"]).await;
    again.code_is(1).says("key-exists");
    assert!(!again.err.contains(before.trim()) && !again.out.contains(before.trim()));
    assert_eq!(fs::read_to_string(&path).expect("there"), before);
}

#[tokio::test]
async fn a_key_comes_from_an_environment_variable() {
    let rig = rig().await;
    let tool = Tool::on_fake(PROGRAM, &rig);
    let printed = tool.run(&["key", "generate", "--print"]).await;
    let tool = tool.with("STORE_KEY", printed.code_is(0).out.trim());
    append(&tool, "\n[encryption]\nkey = { env = \"STORE_KEY\" }\n");
    tool.signed_in(&rig.procore, Duration::ZERO).await;
    assert_eq!(plain_files(&rig, &tool), NONE);
    tool.token().await;
}

#[tokio::test]
async fn without_a_key_nothing_is_encrypted_by_mistake() {
    let (_rig, tool, _) = signed_in().await;
    tool.run(&["store", "encrypt"])
        .await
        .code_is(3)
        .says("procore-auth key generate");
}
