//! Secrets in the operating system's keyring: a real GNOME Keyring on a session bus of its own, and none at all.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fake_procore::{CredentialPair, Options};
use procore_auth_tests::{Rig, Tool};
use tempfile::TempDir;

use crate::{PROGRAM, fresh, rig};

/// What a person would not call hanging, on a busy machine.
const SOON: Duration = Duration::from_secs(20);

const SECRET: &str = "client_secret = { env = \"PROCORE_CLIENT_SECRET\" }";

/// A session bus with a keyring. Both end with it.
struct Keyring {
    bus: Child,
    daemon: Child,
    home: TempDir,
    address: String,
}

impl Keyring {
    /// `None`, with a word why, where there is no such software.
    fn start() -> Option<Self> {
        let home = tempfile::tempdir().expect("a folder");
        let bus = Command::new("dbus-daemon")
            .args(["--nofork", "--print-address"])
            .arg(format!("--config-file={}", bus_config(&home)))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut bus) = bus else {
            eprintln!("skipped: there is no dbus-daemon");
            return None;
        };
        let mut address = String::new();
        let mut out = BufReader::new(bus.stdout.take().expect("piped"));
        out.read_line(&mut address).expect("an address");
        let address = address.trim().to_owned();
        let Some(daemon) = unlocked(&home, &address) else {
            eprintln!("skipped: there is no gnome-keyring-daemon");
            bus.kill().expect("ended");
            bus.wait().expect("ended");
            return None;
        };
        Some(Self {
            bus,
            daemon,
            home,
            address,
        })
    }

    /// Starts the daemon anew, locked: nobody gave the password.
    fn lock(&mut self) {
        self.daemon.kill().expect("ended");
        self.daemon.wait().expect("ended");
        let mut daemon = command(&self.home, &self.address);
        self.daemon = daemon.stdin(Stdio::null()).spawn().expect("started");
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        for process in [&mut self.daemon, &mut self.bus] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A bus that starts no service by itself: not the keyring of this machine in place of ours.
fn bus_config(home: &TempDir) -> String {
    let path = home.path().join("bus.conf");
    let config = format!(
        "<busconfig><type>session</type><listen>unix:dir={}</listen><policy context=\"default\">\
         <allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
        home.path().display()
    );
    fs::write(&path, config).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

fn command(home: &TempDir, address: &str) -> Command {
    let mut command = Command::new("gnome-keyring-daemon");
    command
        .args(["--foreground", "--components=secrets"])
        .env("DBUS_SESSION_BUS_ADDRESS", address)
        .env("HOME", home.path())
        .env("XDG_DATA_HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Starts the daemon with the password of the login keyring, which it makes.
fn unlocked(home: &TempDir, address: &str) -> Option<Child> {
    let mut command = command(home, address);
    let command = command.arg("--unlock").stdin(Stdio::piped());
    let mut daemon = command.spawn().ok()?;
    let mut password = daemon.stdin.take().expect("piped");
    password.write_all(b"of the keyring").expect("read");
    Some(daemon)
}

/// The fake, and the program with a keyring. Its client secret is in the keyring.
async fn with_keyring() -> Option<(Keyring, Rig, Tool)> {
    let keyring = Keyring::start()?;
    let rig = rig().await;
    let tool = Tool::on_fake(PROGRAM, &rig).with("DBUS_SESSION_BUS_ADDRESS", &keyring.address);
    let secret = Options::demo_client_secret(CredentialPair::Sandbox);
    let deadline = Instant::now() + SOON;
    // The daemon takes a moment to be there.
    loop {
        let set = tool
            .run_with_input(&["keyring", "set", "acme"], secret)
            .await;
        match set.code {
            Some(0) => break,
            _ if Instant::now() > deadline => panic!("no keyring\n{set}"),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    tool.reconfigure(SECRET, "client_secret = { keyring = \"acme\" }");
    Some((keyring, rig, tool.with("PROCORE_CLIENT_SECRET", "")))
}

#[tokio::test]
async fn s60_the_client_secret_and_the_key_come_from_the_keyring() {
    let Some((keyring, rig, tool)) = with_keyring().await else {
        return;
    };
    let key = ["key", "generate", "--keyring", "store"];
    tool.run(&key).await.code_is(0);
    tool.run(&key).await.code_is(1).says("keyring-entry-exists");
    let config = fs::read_to_string(tool.path("config.toml")).expect("configured");
    let table = "\n[encryption]\nkey = { keyring = \"store\" }\n";
    fs::write(tool.path("config.toml"), config + table).expect("written");
    tool.log_in(&rig).await;
    tool.run(&["tick", "--next-visit", "2h"]).await.code_is(0);
    let stored = fs::read(tool.path("state/acme/session")).expect("there");
    assert!(!String::from_utf8_lossy(&stored).contains("token"));
    drop(keyring);
}

#[tokio::test]
async fn s60_a_locked_keyring_is_told_at_once_and_asks_nobody() {
    let Some((mut keyring, _rig, tool)) = with_keyring().await else {
        return;
    };
    keyring.lock();
    let begun = Instant::now();
    loop {
        let status = tool.run(&["status"]).await;
        status.code_is(3).says("or = { file = ");
        if format!("{status}").contains("is locked") {
            break;
        }
        assert!(begun.elapsed() < SOON, "{status}");
    }
    let begun = Instant::now();
    tool.run(&["status"]).await.code_is(3).says("is locked");
    let set = tool.run_with_input(&["keyring", "set", "new"], "x").await;
    set.code_is(1).says("is locked");
    assert!(begun.elapsed() < SOON);
}

#[tokio::test]
async fn s60_a_keyring_that_locks_later_stops_no_refresh() {
    let Some((mut keyring, rig, tool)) = with_keyring().await else {
        return;
    };
    let key = ["key", "generate", "--keyring", "store"];
    tool.run(&key).await.code_is(0);
    let config = fs::read_to_string(tool.path("config.toml")).expect("configured");
    let table = "\n[encryption]\nkey = { keyring = \"store\" }\n";
    fs::write(tool.path("config.toml"), config + table).expect("written");
    tool.signed_in(&rig.procore, crate::LONG_AGO).await;
    let gate = crate::hold_next_refresh(&rig.procore, fake_procore::Fault::hold_after);
    let mut keeper = tool.start(&["run"]);
    crate::arrived(&gate).await;
    // What is rotated by now can still be saved.
    keyring.lock();
    gate.open();
    keeper.says("token-refreshed").await;
    keeper.signal("TERM").await;
    keeper.end().await.code_is(0);
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s60_without_a_keyring_the_cure_is_told_at_once() {
    let (_rig, tool) = fresh().await;
    tool.reconfigure(SECRET, "client_secret = { keyring = \"acme\" }");
    let begun = Instant::now();
    tool.run(&["status"])
        .await
        .code_is(3)
        .says("config.toml:")
        .says("the keyring cannot be used")
        .says("or = { file = ");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn s60_without_a_keyring_the_configured_fallback_is_used() {
    let (rig, tool) = fresh().await;
    let secret = Options::demo_client_secret(CredentialPair::Sandbox);
    tool.write("acme.secret", secret);
    let reference = "client_secret = { keyring = \"acme\", or = { file = \"acme.secret\" } }";
    tool.reconfigure(SECRET, reference);
    let tool = tool.with("PROCORE_CLIENT_SECRET", "");
    tool.log_in(&rig).await;
    tool.run(&["status"]).await.code_is(0);
}

#[tokio::test]
async fn s60_a_keyring_that_never_answers_is_given_up() {
    let (_rig, tool) = fresh().await;
    tool.reconfigure(SECRET, "client_secret = { keyring = \"acme\" }");
    // Whoever connects is never answered.
    let socket = tool.path("bus");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let tool = tool.with(
        "DBUS_SESSION_BUS_ADDRESS",
        &format!("unix:path={}", socket.display()),
    );
    let begun = Instant::now();
    tool.run(&["status"])
        .await
        .code_is(3)
        .says("does not answer");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn init_puts_the_secret_into_the_keyring() {
    let Some((_keyring, _rig, tool)) = with_keyring().await else {
        return;
    };
    crate::init::without_connection(&tool);
    let client_id = Options::demo_client_id(CredentialPair::Sandbox);
    let secret = Options::demo_client_secret(CredentialPair::Sandbox);
    let init = [
        "init",
        "--environment",
        "sandbox",
        "--grant",
        "client-credentials",
    ];
    let place = ["--client-secret", "-", "--secret-in", "keyring"];
    let rest = ["--client-id", client_id, "--company", "4001"];
    let init = [&init[..], &place, &rest].concat();
    tool.run_with_input(&init, secret)
        .await
        .code_is(0)
        .says("Service Account");
    let text = fs::read_to_string(tool.path("config.toml")).expect("there");
    assert!(
        text.contains("client_secret = { keyring = \"default\" }"),
        "{text}"
    );
    assert!(!tool.path("default.secret").exists());
    tool.run(&["tick", "--next-visit", "2h"]).await.code_is(0);

    // With that entry taken by another secret, another connection of the name is refused, and the entry stays.
    crate::init::without_connection(&tool);
    let set = tool.run_with_input(&["keyring", "set", "default", "--replace"], "another");
    set.await.code_is(0);
    let refused = tool.run_with_input(&init, secret).await;
    refused.code_is(1).says("keyring-entry-exists");
}
