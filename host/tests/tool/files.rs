//! The files that the program writes, and whom it trusts to have left them alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fake_procore::Environment::Sandbox;
use procore_auth_tests::{Tool, tool::set_mode};

use crate::{PROGRAM, rig, signed_in};

/// Lists a folder with everything below it.
pub(crate) fn tree(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("readable") {
            found.extend(tree(&entry.expect("an entry").path()));
        }
    }
    found
}

/// Signs in, refreshes and parks, so that every kind of file is there.
async fn used(program: &str) -> (procore_auth_tests::Rig, Tool) {
    let rig = rig().await;
    let tool = Tool::on_fake(program, &rig);
    let connection = "[connections.acme]\n";
    // A sink that takes nothing, so that alerts wait.
    let sink = format!("[alerts.ops]\ncommand = [\"false\"]\n\n{connection}");
    tool.reconfigure(connection, &sink);
    tool.log_in(&rig).await;
    tool.run(&["tick", "--next-visit", "2h"]).await.code_is(0);
    rig.procore
        .revoke_grant(Sandbox, "demo-client-sandbox", 101)
        .expect("registered");
    let call = [
        "call",
        "/rest/v1.0/projects",
        "-d",
        r#"{"project":{"name":"x"}}"#,
        "--park",
    ];
    tool.run(&call).await.code_is(10);
    (rig, tool)
}

#[tokio::test]
async fn s58_files_are_for_their_owner_alone_whatever_the_umask() {
    let wrapper = tempfile::tempdir().expect("a folder");
    let path = wrapper.path().join("open-handed");
    fs::write(
        &path,
        format!("#!/bin/sh\numask 000\nexec '{PROGRAM}' \"$@\"\n"),
    )
    .expect("written");
    set_mode(&path, 0o700);
    let (_rig, tool) = used(path.to_str().expect("UTF-8")).await;
    assert!(tool.path("state/.alerts/ops").is_dir(), "an alert waits");
    let all = tree(&tool.path("state"));
    assert!(all.len() > 6, "{all:?}");
    for path in all {
        let metadata = fs::symlink_metadata(&path).expect("there");
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(
            metadata.permissions().mode() & 0o777,
            expected,
            "{}",
            path.display()
        );
    }
}

#[tokio::test]
async fn s57_no_file_but_the_store_has_a_secret() {
    let (rig, tool) = used(PROGRAM).await;
    let secrets = rig.procore.secrets_issued();
    for path in tree(&tool.path("state"))
        .into_iter()
        .filter(|path| path.is_file())
    {
        let text = String::from_utf8_lossy(&fs::read(&path).expect("readable")).into_owned();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let found = secrets.iter().any(|secret| text.contains(secret));
        let is_store = ["session", "login"]
            .iter()
            .any(|entry| name.trim_start_matches('.').starts_with(entry));
        assert!(!found || is_store, "{name}");
        let secret =
            &fake_procore::Options::demo_client_secret(fake_procore::CredentialPair::Sandbox);
        assert!(
            !text.contains(secret),
            "{name}: the client secret is kept nowhere"
        );
    }
}

#[tokio::test]
async fn s58_a_store_that_others_can_read_is_refused() {
    let (_rig, tool, _) = signed_in().await;
    set_mode(&tool.path("state/acme"), 0o755);
    tool.run(&["token"])
        .await
        .code_is(7)
        .says("insecure-permissions")
        .says("700");
    tool.run(&["status"]).await.code_is(7);
    set_mode(&tool.path("state/acme"), 0o700);
    tool.run(&["token"]).await.code_is(0);
}

#[tokio::test]
async fn s58_a_connection_that_is_a_link_is_refused() {
    let (_rig, tool, _) = signed_in().await;
    let folder = tool.path("state/acme");
    let elsewhere = tool.path("elsewhere/acme");
    fs::create_dir(tool.path("elsewhere")).expect("made");
    fs::rename(&folder, &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, &folder).expect("linked");
    tool.run(&["token"])
        .await
        .code_is(7)
        .says("insecure-permissions");
}

#[tokio::test]
async fn what_sends_nothing_needs_no_trusted_roots_and_what_stays_wants_them_at_once() {
    let rig = rig().await;
    let tool = Tool::on_fake(PROGRAM, &rig)
        .with("SSL_CERT_FILE", "/nonexistent")
        .with("SSL_CERT_DIR", "/nonexistent");
    let pair = tool.signed_in(&rig.procore, Duration::ZERO).await;
    tool.reconfigure("extra_ca = \"ca.pem\"\n", "");
    let token = tool.run(&["token"]).await;
    token.code_is(0).says(&pair.access_token);
    for verb in ["tick", "run", "doctor"] {
        tool.run(&[verb])
            .await
            .code_is(3)
            .says("cannot verify servers");
    }
    assert_eq!(rig.procore.token_posts(), 0);
}
