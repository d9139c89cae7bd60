//! The hosts in Rust, Python and Node together: one store, one lock, one refresh.
#![cfg(target_os = "linux")]

use std::{sync::Arc, time::Duration};

use fake_procore::{Fault, Gate, Options, Target, VirtualClock};
use procore_auth_host::{Connection, FileStore};
use procore_auth_tests::{
    Rig,
    node::{self, NodeHost, has_open},
    plugin, python,
    rig::{SANDBOX, fake},
    tool::{CONNECTION, Running, issue},
};
use sha2::{Digest as _, Sha256};

/// How many moments of refresh they share.
const ROUNDS: usize = 20;
/// Longer ago than an access token lives, in seconds.
const LONG_AGO: u64 = 6000;
/// For one step; a busy machine is slow.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn s1_rust_python_and_node_at_the_refresh_moment_make_one_post_each_round() {
    let rig = Rig::with(Options::demo(), VirtualClock::at(0)).await;
    let Some(python) = python::on_fake(&rig) else {
        return;
    };
    if !node::can_run() {
        return;
    }
    let state = python.path("state");
    let rust = in_rust(&rig, &state);
    let node = NodeHost::on_fake(&rig, state.to_str().expect("UTF-8"));
    let mut in_python = python::start_program(&python, "agent.py", &[]);
    in_python.says("ready").await;
    let mut in_node = node.start(&["session", "call"]);
    for round in 1..=ROUNDS {
        put_expired_pair(&rig, &rust).await;
        let gate = Gate::closed();
        rig.procore.inject(Target::Token, Fault::hold_before(&gate));
        in_python.write(&format!("{round}\n")).await;
        in_node.write("call GET /rest/v1.0/me\n").await;
        let asked = tokio::spawn({
            let rust = rust.clone();
            async move { rust.access_token().await }
        });
        all_at_the_lock(&gate, &state, &[in_python.pid(), in_node.pid()]).await;
        gate.open();
        let token = asked.await.expect("no panic").expect("a token");
        let token = token.bearer().expose();
        let digest = hex(token);
        let python_says = in_python.says(&format!("round {round}: ")).await;
        assert!(
            python_says.contains(&digest),
            "round {round}: {python_says}"
        );
        let node_says = in_node.says(&format!("{{\"line\":{round},")).await;
        assert!(node_says.contains("\"status\":200"), "{node_says}");
        let requests = rig.procore.requests();
        let called = requests.iter().rfind(|it| it.path == "/rest/v1.0/me");
        let bearer = called.and_then(|call| call.header("authorization"));
        assert_eq!(bearer, Some(format!("Bearer {token}").as_str()));
        assert_eq!(rig.procore.token_posts(), round, "one POST a round");
        assert_eq!(rig.procore.rotations(), round);
    }
    end(in_python).await;
    end(in_node).await;
}

fn in_rust(rig: &Rig, state: &std::path::Path) -> Connection {
    let name = CONNECTION.parse().expect("a name");
    let store = FileStore::open(state, &name).expect("a store");
    Connection::builder(plugin(), Rig::settings(SANDBOX))
        .http(Arc::new(rig.another_client()))
        .store(Arc::new(store))
        .build()
        .expect("complete")
}

/// Signs in with a pair whose access token has expired.
async fn put_expired_pair(rig: &Rig, rust: &Connection) {
    let pair = issue(&rig.procore);
    rig.procore
        .expire_access_token(fake(SANDBOX), &pair.access_token);
    let mut reply = pair.to_json();
    reply["created_at"] = (pair.created_at - LONG_AGO).into();
    let adopted = rust.adopt(reply.to_string().into_bytes(), true).await;
    adopted.expect("taken over");
}

/// Waits until one is at the token endpoint, and the others are at the lock or on the way to the endpoint themselves.
async fn all_at_the_lock(gate: &Gate, state: &std::path::Path, processes: &[u32]) {
    let lock = state.canonicalize().expect("there");
    let lock = lock.join(CONNECTION).join(".lock");
    let all = tokio::time::timeout(DEADLINE, async {
        gate.arrived(1).await;
        while !processes.iter().all(|pid| has_open(*pid, &lock)) {
            tokio::task::yield_now().await;
        }
    });
    assert!(all.await.is_ok(), "they never wait");
}

fn hex(token: &str) -> String {
    let digest = Sha256::digest(token);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn end(process: Running) {
    process.end().await.code_is(0);
}
