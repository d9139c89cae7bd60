//! The access token alone in a file, kept fresh for scripts that read one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use procore_auth_tests::Tool;
use procore_auth_tests::tool::set_mode;
use serde_json::Value;

use crate::{fresh, signed_in};

const FILE: &str = "scripts/procore_token.json";

/// Has the connection keep its token in [`FILE`].
fn exporting(tool: &Tool) {
    tool.reconfigure("grant = ", &format!("export = \"{FILE}\"\ngrant = "));
}

/// Writes the same configuration without the export, and returns its path.
fn without_export(tool: &Tool) -> String {
    let text = fs::read_to_string(tool.path("config.toml")).expect("configured");
    let line = format!("export = \"{FILE}\"\n");
    tool.write("other.toml", &text.replace(&line, ""))
}

/// What a script reads; checked for what must never be in it.
fn read(tool: &Tool) -> Value {
    let path = tool.path(FILE);
    let mode = path.metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&path).expect("readable");
    assert!(!text.contains("refresh_token"), "it cannot be spent");
    serde_json::from_str(&text).expect("JSON")
}

fn journal(tool: &Tool) -> String {
    fs::read_to_string(tool.path("state/journal.jsonl")).unwrap_or_default()
}

fn names_in(folder: &Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}

#[tokio::test]
async fn the_file_is_written_at_login_replaced_after_a_refresh_and_removed_by_logout() {
    let (rig, tool) = fresh().await;
    exporting(&tool);
    tool.log_in(&rig).await;
    let first = read(&tool);
    assert_eq!(first["access_token"], tool.token().await);
    assert_eq!(first["token_type"], "Bearer");
    let number = |name: &str| first[name].as_u64().expect("a number");
    assert_eq!(number("expires_at") - number("created_at"), 5400);
    assert!((5300..=5400).contains(&number("expires_in")), "{first}");

    tool.run(&["tick", "--next-visit", "2h"]).await.code_is(0);
    let second = read(&tool);
    assert_ne!(second["access_token"], first["access_token"]);
    assert_eq!(second["access_token"], tool.token().await);
    assert_eq!(
        names_in(&tool.path("scripts")),
        1,
        "nothing else stays there"
    );

    tool.run(&["logout"]).await.code_is(0);
    assert!(!tool.path(FILE).exists());
    tool.run(&["status"]).await.code_is(4);
    assert!(!tool.path(FILE).exists());
}

#[tokio::test]
async fn the_keeper_writes_what_others_have_brought() {
    let (rig, tool) = fresh().await;
    exporting(&tool);
    tool.log_in(&rig).await;
    let mut keeper = tool.start(&["run"]);
    keeper.says("visited").await;
    // A process that knows of no export, as an agent that embeds the library.
    let other = without_export(&tool);
    let tick = ["tick", "--next-visit", "2h", "--config", &other];
    let before = read(&tool);
    tool.run(&tick).await.code_is(0);
    keeper.says("visited").await;
    let wanted = tool
        .run(&["token", "--config", &other])
        .await
        .code_is(0)
        .out
        .trim()
        .to_owned();
    let written = async {
        while read(&tool)["access_token"] != wanted.as_str() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let kept = tokio::time::timeout(std::time::Duration::from_secs(60), written).await;
    assert!(kept.is_ok(), "the keeper never writes it");
    assert_ne!(read(&tool)["access_token"], before["access_token"]);
    keeper.signal("TERM").await;
    keeper.end().await.code_is(0);
}

#[tokio::test]
async fn export_writes_once_and_says_how_to_have_it_kept() {
    let (_rig, tool, pair) = signed_in().await;
    tool.run(&["export"])
        .await
        .code_is(1)
        .says("export-nowhere");
    let told = tool.run(&["export", "--to", FILE]).await;
    told.code_is(0)
        .says("It has no refresh token.")
        .says("add this line to [connections.acme]")
        .says("scripts/procore_token.json\"");
    assert_eq!(read(&tool)["access_token"], pair.access_token);

    exporting(&tool);
    fs::remove_file(tool.path(FILE)).expect("there");
    let document = tool.run(&["export", "--json"]).await.code_is(0).json();
    assert_eq!(document["kept_fresh"], true);
    assert_eq!(read(&tool)["access_token"], pair.access_token);
}

#[tokio::test]
async fn a_refresh_token_is_never_overwritten_nor_removed() {
    let (_rig, tool, _) = signed_in().await;
    let text = r#"{"access_token":"a","refresh_token":"precious"}"#;
    tool.write(FILE, text);
    let refused = tool.run(&["export", "--to", FILE]).await;
    refused
        .code_is(1)
        .says("export-not-replaced")
        .says("has a refresh token");
    exporting(&tool);
    tool.run(&["token"])
        .await
        .code_is(0)
        .says("export-not-replaced");
    tool.run(&["logout"]).await.code_is(0);
    assert_eq!(fs::read_to_string(tool.path(FILE)).expect("there"), text);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_told_and_harms_nothing() {
    let (rig, tool) = fresh().await;
    exporting(&tool);
    // A folder stands where the file goes: this holds for root too.
    fs::create_dir_all(tool.path(FILE)).expect("made");
    tool.log_in(&rig).await;
    let called = tool.run(&["call", "/rest/v1.0/me"]).await;
    called
        .code_is(0)
        .says("demo@example.com")
        .says("export-not-replaced");
    assert!(journal(&tool).contains("\"code\":\"export-not-replaced\""));
    fs::remove_dir(tool.path(FILE)).expect("empty");

    fs::remove_dir(tool.path("scripts")).expect("empty");
    tool.write("scripts", "a file in the folder's place");
    tool.run(&["token"]).await.code_is(0).says("export-failed");
    assert!(journal(&tool).contains("\"code\":\"export-failed\""));
    fs::remove_file(tool.path("scripts")).expect("there");

    tool.run(&["token"]).await.code_is(0);
    assert_eq!(read(&tool)["access_token"], tool.token().await);
}

#[tokio::test]
async fn an_older_token_never_replaces_a_newer_one() {
    let (rig, tool) = fresh().await;
    exporting(&tool);
    tool.log_in(&rig).await;
    let old = read(&tool);
    fs::remove_file(tool.path(FILE)).expect("there");
    // Somebody has the lock: a process with the old token waits for it.
    let lock = fs::File::create(tool.path("state/acme.export.lock")).expect("opened");
    set_mode(&tool.path("state/acme.export.lock"), 0o600);
    lock.lock().expect("locked");
    let mut slow = tool.start(&["token"]);
    slow.says(old["access_token"].as_str().expect("a token"))
        .await;
    // Meanwhile one that exports nothing gets a newer token; the first comes to write last.
    let other = without_export(&tool);
    let tick = ["tick", "--next-visit", "2h", "--config", &other];
    tool.run(&tick).await.code_is(0);
    drop(lock);
    slow.end().await.code_is(0);
    assert_ne!(read(&tool)["access_token"], old["access_token"]);
    assert_eq!(read(&tool)["access_token"], tool.token().await);
}

#[tokio::test]
async fn two_connections_do_not_share_a_file() {
    let (_rig, tool) = fresh().await;
    exporting(&tool);
    let text = fs::read_to_string(tool.path("config.toml")).expect("configured");
    let (_, table) = text.split_once("[connections.acme]").expect("a connection");
    tool.write(
        "config.toml",
        &format!("{text}\n[connections.other]{table}"),
    );
    let refused = tool.run(&["status"]).await;
    refused
        .code_is(3)
        .says("acme is exported to this file already")
        .says("^^^");
}
