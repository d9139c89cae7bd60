//! The `procore-auth` program as its users run it: processes, files, signals, and what it says.
#![cfg(unix)]

mod alerts;
mod browser;
mod doctor;
mod documents;
mod doorkeeper;
mod encryption;
mod export;
mod fallback;
mod files;
mod import;
mod init;
mod init_by_flags;
mod keeper;
#[cfg(feature = "keyring")]
mod keyring;
mod login;
mod login_terminal;
mod metrics;
mod never_dark;
mod packaging;
mod parked;
mod person;
mod pinned;
mod processes;
mod runbook;
mod streams;
mod surface;
mod watch;
mod webhook;

use std::time::Duration;

use fake_procore::{FakeProcore, Fault, Gate, Options, Target, TokenPair, VirtualClock};
use procore_auth_tests::{Rig, Tool};

/// The program; cargo builds it before these tests.
const PROGRAM: &str = env!("CARGO_BIN_EXE_procore-auth");

/// Longer ago than an access token lives.
const LONG_AGO: Duration = Duration::from_secs(6000);

/// The fake on the system's clock, which the program has too.
async fn rig() -> Rig {
    Rig::with(Options::demo(), VirtualClock::at(0)).await
}

/// The fake, and the program on which nobody has signed in.
async fn fresh() -> (Rig, Tool) {
    let rig = rig().await;
    let tool = Tool::on_fake(PROGRAM, &rig);
    (rig, tool)
}

/// The fake, and the program with a good access token.
async fn signed_in() -> (Rig, Tool, TokenPair) {
    let (rig, tool) = fresh().await;
    let pair = tool.signed_in(&rig.procore, Duration::ZERO).await;
    (rig, tool, pair)
}

/// The fake, and the program with an access token that has expired.
async fn expired() -> (Rig, Tool, TokenPair) {
    let (rig, tool) = fresh().await;
    let pair = tool.signed_in(&rig.procore, LONG_AGO).await;
    assert_eq!(rig.procore.token_posts(), 0, "importing spends nothing");
    (rig, tool, pair)
}

/// Has the next request for tokens wait, once it is committed or before.
fn hold_next_refresh(procore: &FakeProcore, hold: fn(&Gate) -> Fault) -> Gate {
    let gate = Gate::closed();
    procore.inject(Target::Token, hold(&gate));
    gate
}

/// Waits until a request has come to the gate.
async fn arrived(gate: &Gate) {
    let arrived = tokio::time::timeout(Duration::from_secs(60), gate.arrived(1));
    arrived.await.expect("a request comes");
}
