//! The host in Python (`examples/python`) in real processes, against the fake, on one store with the host in Rust.
#![cfg(unix)]

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
    time::{Duration, Instant},
};

use fake_procore::{Fault, Gate, Options, Reply, Target, VirtualClock};
use procore_auth_host::{Connection, FileStore};
use procore_auth_tests::{
    Rig, Tool, plugin,
    python::{on_fake, start, start_program},
    rig::{SANDBOX, fake},
    tool::{Finished, Running, issue, wait_for_lock},
};
use sha2::{Digest as _, Sha256};

/// Longer than an access token lives.
const LONG_AGO: u64 = 6000;

/// Far less than what a lock with a timeout would take, far more than a process needs.
const AT_ONCE: Duration = Duration::from_secs(20);

/// The fake on the system's clock, which processes have too.
async fn rig() -> Rig {
    Rig::with(Options::demo(), VirtualClock::at(0)).await
}

/// A connection of the host in Rust, on the store of the host in Python.
fn in_rust(rig: &Rig, tool: &Tool) -> Connection {
    let settings = Rig::settings(SANDBOX);
    let store = FileStore::open(&tool.path("state"), &settings.name).expect("a store");
    Connection::builder(plugin(), settings)
        .http(Arc::new(rig.http.clone()))
        .store(Arc::new(store))
        .journal(rig.journal.clone())
        .build()
        .expect("complete")
}

/// Signs in with the host in Rust, by a pair whose access token has expired: a refresh is due.
async fn due(rig: &Rig, rust: &Connection) {
    let pair = issue(&rig.procore);
    rig.procore
        .expire_access_token(fake(SANDBOX), &pair.access_token);
    let mut reply = pair.to_json();
    reply["created_at"] = (pair.created_at - LONG_AGO).into();
    let reply = reply.to_string().into_bytes();
    rust.adopt(reply, true).await.expect("taken over");
}

async fn token_in_rust(rust: &Connection) -> String {
    let token = rust.access_token().await.expect("a token");
    token.bearer().expose().to_owned()
}

async fn run(tool: &Tool, arguments: &[&str]) -> Finished {
    start(tool, arguments).end().await
}

fn hold_next_refresh(rig: &Rig, hold: fn(&Gate) -> Fault) -> Gate {
    let gate = Gate::closed();
    rig.procore.inject(Target::Token, hold(&gate));
    gate
}

async fn arrived(gate: &Gate) {
    let arrived = tokio::time::timeout(Duration::from_secs(60), gate.arrived(1));
    arrived.await.expect("a request comes");
}

/// Everything in the connection's folder is for its owner alone, and no write was left unfinished.
fn assert_tidy(tool: &Tool) {
    for entry in fs::read_dir(tool.path("state/acme")).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        let mode = entry.metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        assert!(
            !name.starts_with('.') || [".guard", ".lock", ".install"].contains(&&*name),
            "{name} was left behind"
        );
    }
}

#[tokio::test]
async fn python_uses_the_sign_in_that_rust_made() {
    let rig = rig().await;
    let Some(tool) = on_fake(&rig) else { return };
    let rust = in_rust(&rig, &tool);
    rig.sign_in(&rust).await;
    let token = token_in_rust(&rust).await;
    rig.procore.clear_requests();
    let finished = run(&tool, &["token"]).await;
    assert_eq!(finished.code_is(0).out.trim(), token);
    assert_eq!(rig.procore.requests().len(), 0, "nothing was due");
    let me = run(&tool, &["call", "/rest/v1.0/me"]).await;
    assert!(me.code_is(0).json()["login"].is_string(), "{me}");
    assert_eq!(rig.procore.token_posts(), 0);
    run(&tool, &["call", "/rest/v1.0/no-such-thing"])
        .await
        .code_is(22);
    run(&tool, &["status"]).await.code_is(0).says("healthy");
    assert_tidy(&tool);
}

#[tokio::test]
async fn rust_uses_the_token_that_python_refreshed() {
    let rig = rig().await;
    let Some(tool) = on_fake(&rig) else { return };
    let rust = in_rust(&rig, &tool);
    due(&rig, &rust).await;
    let finished = run(&tool, &["token"]).await;
    assert_eq!(rig.procore.token_posts(), 1);
    let token = token_in_rust(&rust).await;
    assert_eq!(finished.code_is(0).out.trim(), token);
    assert!(rig.procore.access_token_is_live(fake(SANDBOX), &token));
    assert_eq!(rig.procore.token_posts(), 1);
    let journal = fs::read_to_string(tool.path("state/journal.jsonl")).expect("a journal");
    assert!(
        journal.contains("\"code\":\"token-refreshed\""),
        "{journal}"
    );
    assert_tidy(&tool);
    // And back: what Rust writes next, Python reads.
    due(&rig, &rust).await;
    let token = token_in_rust(&rust).await;
    assert_eq!(run(&tool, &["token"]).await.out.trim(), token);
    assert_eq!(rig.procore.token_posts(), 2);
}

#[tokio::test]
async fn a_rejected_token_is_renewed_once() {
    let rig = rig().await;
    let Some(tool) = on_fake(&rig) else { return };
    let rust = in_rust(&rig, &tool);
    rig.sign_in(&rust).await;
    let token = token_in_rust(&rust).await;
    rig.procore.revoke_access_token(fake(SANDBOX), &token);
    rig.procore.clear_requests();
    run(&tool, &["call", "/rest/v1.0/me"]).await.code_is(0);
    assert_eq!(rig.procore.token_posts(), 1);
    assert_ne!(run(&tool, &["token"]).await.out.trim(), token);
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn a_dead_sign_in_is_explained() {
    let rig = rig().await;
    let Some(tool) = on_fake(&rig) else { return };
    let rust = in_rust(&rig, &tool);
    due(&rig, &rust).await;
    let newest = rig.procore.newest_refresh_token(fake(SANDBOX));
    rig.procore
        .kill_refresh_token(fake(SANDBOX), &newest.expect("one"));
    for _ in 0..2 {
        let refused = run(&tool, &["token"]).await;
        refused.code_is(4).says("invalid_grant").says("remedy: ");
        assert_eq!(refused.out, "");
    }
    assert_eq!(rig.procore.token_posts(), 1, "a dead token is sent once");
}

const AGENTS: usize = 3;
const ROUNDS: usize = 20;

/// Starts Python agents that live through all rounds.
async fn agents(tool: &Tool) -> Vec<Running> {
    let mut agents: Vec<_> = (0..AGENTS)
        .map(|_| start_program(tool, "agent.py", &[]))
        .collect();
    for agent in &mut agents {
        agent.says("ready").await;
    }
    agents
}

#[tokio::test]
async fn s1_python_agents_and_rust_at_the_refresh_moment_make_one_post_each_round() {
    let rig = rig().await;
    let Some(tool) = on_fake(&rig) else { return };
    let mut agents = agents(&tool).await;
    for round in 1..=ROUNDS {
        due(&rig, &in_rust(&rig, &tool)).await;
        let gate = hold_next_refresh(&rig, Fault::hold_after);
        for agent in &mut agents {
            agent.write(&format!("{round}\n")).await;
        }
        let rust = in_rust(&rig, &tool);
        let rust = tokio::spawn(async move { token_in_rust(&rust).await });
        arrived(&gate).await;
        // One refreshes, be it in Rust or in Python; the other agents are kept out by the kernel.
        wait_for_lock(&agents, AGENTS - 1).await;
        gate.open();
        let digest = hex(&rust.await.expect("no panic"));
        for agent in &mut agents {
            let said = agent.says(&format!("round {round}: ")).await;
            assert!(said.contains(&digest), "{said} is not {digest}");
            assert!(said.contains("bearer=****"), "{said}");
        }
        assert_eq!(rig.procore.token_posts(), round);
        assert_eq!(rig.procore.rotations(), round);
    }
    for agent in agents {
        agent.end().await.code_is(0);
    }
    let mut alerts = rig.journal.alerts();
    // Each round's sign-in takes the place of the one before.
    alerts.retain(|alert| alert.code != "kept-aside");
    assert!(alerts.is_empty(), "{alerts:?}");
    assert_tidy(&tool);
}

fn hex(token: &str) -> String {
    let digest = Sha256::digest(token);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn s3_many_threads_of_one_python_make_one_post() {
    let rig = rig().await;
    let Some(tool) = on_fake(&rig) else { return };
    let rust = in_rust(&rig, &tool);
    due(&rig, &rust).await;
    let finished = start_program(&tool, "threads.py", &["16", "10"])
        .end()
        .await;
    assert_eq!(finished.code_is(0).out.trim(), "160 answers: 200");
    assert_eq!(rig.procore.token_posts(), 1);
    assert_eq!(rig.procore.executions("GET /rest/v1.0/me"), 160);
}

#[tokio::test]
async fn s9_a_killed_python_keeps_nobody_waiting() {
    let rig = rig().await;
    let Some(tool) = on_fake(&rig) else { return };
    let rust = in_rust(&rig, &tool);
    due(&rig, &rust).await;
    let gate = hold_next_refresh(&rig, Fault::hold_before);
    let holder = start(&tool, &["token"]);
    arrived(&gate).await;
    holder.signal("KILL").await;
    let killed = Instant::now();
    token_in_rust(&rust).await;
    assert!(killed.elapsed() < AT_ONCE, "{:?}", killed.elapsed());
    assert_eq!(holder.end().await.code, None);
    assert_eq!(rig.procore.token_posts(), 2);
}

#[tokio::test]
async fn s23_a_signal_during_a_refresh_of_pythons_waits_for_the_save() {
    let rig = rig().await;
    let Some(tool) = on_fake(&rig) else { return };
    let rust = in_rust(&rig, &tool);
    due(&rig, &rust).await;
    let gate = hold_next_refresh(&rig, Fault::hold_after);
    let mut process = start(&tool, &["token"]);
    arrived(&gate).await;
    process.signal("TERM").await;
    process.says("stopping").await;
    assert!(process.is_running());
    gate.open();
    process.end().await.code_is(143);
    token_in_rust(&rust).await;
    assert_eq!(rig.procore.token_posts(), 1, "the new pair was saved");
}

#[tokio::test]
async fn s59_what_the_policy_forbids_never_leaves_python() {
    let rig = rig().await;
    let Some(tool) = on_fake(&rig) else { return };
    let canary = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    canary.set_nonblocking(true).expect("set");
    let address = canary.local_addr().expect("an address").to_string();
    let finished = start_program(&tool, "egress.py", &[&address]).end().await;
    let answers: Vec<&str> = finished.code_is(0).out.lines().collect();
    assert!(answers.len() > 60, "{finished}");
    for answer in answers {
        let known = [
            "origin-not-permitted",
            "invalid-request",
            "secret-not-permitted",
        ];
        let refusals = known.map(|code| format!("err {code} False"));
        assert!(refusals.contains(&answer.to_owned()), "{answer}");
    }
    assert_eq!(rig.procore.requests().len(), 0);
    let connected = canary.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(connected, Err(std::io::ErrorKind::WouldBlock));
}

#[tokio::test]
async fn python_tells_what_became_of_a_request() {
    let rig = rig().await;
    let Some(tool) = on_fake(&rig) else { return };
    let canary = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    canary.set_nonblocking(true).expect("set");
    let elsewhere = format!("http://{}/", canary.local_addr().expect("an address"));
    let redirect = Reply::redirect(302, &elsewhere);
    let large = Reply::new(200, "text/plain", "x".repeat(5000));
    let never = Gate::closed();
    for (fault, timeout, said) in [
        (Fault::uncommitted(redirect), "50000", "ok 302"),
        (
            Fault::uncommitted(fake_procore::Answer::Close),
            "50000",
            "err connection-closed True",
        ),
        (Fault::hold_before(&never), "5000", "err timeout True"),
        (
            Fault::uncommitted(large),
            "50000",
            "err reply-too-large True",
        ),
    ] {
        rig.procore.inject(Target::Api, fault);
        let sent = ["GET", "/rest/v1.0/me", timeout, "4096"];
        let finished = start_program(&tool, "network.py", &sent).end().await;
        assert_eq!(finished.code_is(0).out.trim(), said);
    }
    rig.procore.refuse_connections(1);
    let sent = ["POST", "/rest/v1.0/me", "50000", "4096"];
    let finished = start_program(&tool, "network.py", &sent).end().await;
    assert_eq!(finished.code_is(0).out.trim(), "err tls False");
    assert_eq!(
        canary.accept().map(drop).map_err(|error| error.kind()),
        Err(std::io::ErrorKind::WouldBlock),
        "the redirect was not followed"
    );
}

#[tokio::test]
async fn all_that_a_connection_offers_works() {
    let rig = rig().await;
    let Some(tool) = on_fake(&rig) else { return };
    rig.sign_in(&in_rust(&rig, &tool)).await;
    let busy = Reply::unavailable(Some(3000));
    rig.procore.inject(Target::Api, Fault::uncommitted(busy));
    let finished = start_program(&tool, "everything.py", &[]).end().await;
    let said: Vec<&str> = finished.code_is(0).out.lines().collect();
    let expected = [
        "kept queued POST annex http-503",
        "parked [(True, 30)]",
        "status 1",
        "held up rate-limited",
        "replayed [(True, 201)] 0 None",
        "parked []",
        "verified demo@example.com",
        "diagnosed []",
        "visit False healthy True",
        "visit True 1",
        "refused sign-in-required not-signed-in None",
        "login True",
    ];
    assert_eq!(said, expected, "{finished}");
    assert_eq!(rig.procore.executions("POST /rest/v1.0/projects"), 1);
}

#[tokio::test]
async fn either_host_may_make_the_folder() {
    let rig = rig().await;
    let Some(tool) = on_fake(&rig) else { return };
    run(&tool, &["status"]).await.code_is(4);
    let mark = || fs::read_to_string(tool.path("state/acme/.install")).expect("a mark");
    let made = mark();
    assert!(made.contains("\"born\":"), "{made}");
    rig.sign_in(&in_rust(&rig, &tool)).await;
    assert_eq!(mark(), made, "Rust takes it for the original");
    run(&tool, &["status"]).await.code_is(0);
    assert_eq!(mark(), made);
    assert_tidy(&tool);
}

#[tokio::test]
async fn the_read_me_does_what_it_says() {
    let rig = rig().await;
    let Some(tool) = on_fake(&rig) else { return };
    due(&rig, &in_rust(&rig, &tool)).await;
    let text = include_str!("../../examples/python/README.md");
    let blocks: Vec<_> = text.split("```python\n").skip(1).collect();
    assert_eq!(blocks.len(), 3, "a new block?");
    for block in blocks {
        let (program, _) = block.split_once("```").expect("an end");
        let path = tool.write("block.py", program);
        let finished = tool.start(&[path]).end().await;
        finished.code_is(0);
        assert_ne!(finished.out, "", "{finished}");
    }
}

#[tokio::test]
async fn the_packages_own_tests_pass() {
    let rig = rig().await;
    let Some(tool) = on_fake(&rig) else { return };
    let package = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/python");
    let tests = format!("{package}/tests");
    let discover = ["-m", "unittest", "discover", "--start-directory", &tests];
    let unittest = [&discover[..], &["--top-level-directory", package]].concat();
    let finished = tool.start(&unittest).end().await;
    finished.code_is(0).says("OK");
}
