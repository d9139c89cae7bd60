//! The host for Node (`examples/node`) as its users run it: processes that share a store with the Rust host.
//!
//! `cargo xtask test` installs its packages and builds its plugin. Where there is no Node, or an older one than it needs, these tests
//! say so and end.
#![cfg(target_os = "linux")]

use std::{
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use fake_procore::{Fault, Gate, Options, Recorded, Reply, Target, TokenPair, VirtualClock};
use procore_auth_host::{
    ApiRequest, Connection, FileStore, Key, Provenance, Settings, Store, Write,
};
use procore_auth_tests::{
    Rig, Tool,
    node::{NodeHost, can_run, folder, has_open},
    plugin,
    rig::{SANDBOX, answered, fake},
    stored,
    tool::{CONNECTION, Finished, Running, issue},
};
use serde_json::{Value, json};

/// How many Node processes share a store.
const PROCESSES: usize = 3;
/// How many moments of refresh they share.
const ROUNDS: usize = 20;

/// Longer ago than an access token lives.
const LONG_AGO: Duration = Duration::from_secs(6000);
/// For one step; a busy machine is slow.
const DEADLINE: Duration = Duration::from_secs(60);
/// Far less than what a lock with a timeout would take.
const AT_ONCE: Duration = Duration::from_secs(15);

const ME: &str = "/rest/v1.0/me";

/// The fake, a Rust host and any number of Node processes, all on one store and the system's clock.
struct Setting {
    rig: Rig,
    node: NodeHost,
    rust: Connection,
}

impl Setting {
    async fn start() -> Self {
        let rig = Rig::with(Options::demo(), VirtualClock::at(0)).await;
        let node = NodeHost::on_fake(&rig, "state");
        let rust = rust_host(&rig, &node.tool.path("state"), Rig::settings(SANDBOX));
        Self { rig, node, rust }
    }

    /// As above, and the demo user has signed in with the Rust host.
    async fn signed_in() -> Self {
        let setting = Self::start().await;
        setting.rig.sign_in(&setting.rust).await;
        setting.rig.procore.clear_requests();
        setting
    }

    /// As above, with a pair that expired long ago.
    async fn expired() -> Self {
        let setting = Self::start().await;
        setting.put_expired_pair().await;
        setting
    }

    /// Has the Rust host put a pair into the store whose access token has expired.
    async fn put_expired_pair(&self) -> TokenPair {
        let pair = issue(&self.rig.procore);
        self.rig
            .procore
            .expire_access_token(fake(SANDBOX), &pair.access_token);
        let mut reply = pair.to_json();
        reply["created_at"] = Value::from(pair.created_at - LONG_AGO.as_secs());
        let adopted = self.rust.adopt(reply.to_string().into_bytes(), true).await;
        adopted.expect("taken over");
        self.rig.procore.clear_requests();
        pair
    }

    fn start_node(&self, words: &[&str]) -> Running {
        self.node.start(words)
    }

    async fn node(&self, words: &[&str]) -> Finished {
        self.start_node(words).end().await
    }

    /// Runs a script in Node, and returns the JSON that it prints.
    async fn node_script(&self, script: &str) -> Value {
        let running = self.node.tool.start(&["--input-type=module", "-e", script]);
        running.end().await.code_is(0).json()
    }

    /// Has Node print the access token.
    async fn token_of_node(&self) -> String {
        let token = self.node(&["token"]).await;
        bearer(&token.code_is(0).json())
    }

    async fn token_of_rust(&self) -> String {
        let token = self.rust.stored_access_token().await.expect("a token");
        token.bearer().expose().to_owned()
    }

    fn store(&self) -> FileStore {
        store(&self.node.tool.path("state"))
    }

    /// Waits until this many of the processes have opened the file of the lock.
    async fn wait_for_lock(&self, processes: &[u32]) {
        let lock = self.node.tool.path("state").canonicalize().expect("there");
        let lock = lock.join("acme/.lock");
        let waiting = tokio::time::timeout(DEADLINE, async {
            while !processes.iter().all(|pid| has_open(*pid, &lock)) {
                tokio::task::yield_now().await;
            }
        });
        assert!(waiting.await.is_ok(), "they never wait");
    }

    fn hold_next_refresh(&self, hold: fn(&Gate) -> Fault) -> Gate {
        let gate = Gate::closed();
        self.rig.procore.inject(Target::Token, hold(&gate));
        gate
    }
}

fn store(root: &Path) -> FileStore {
    FileStore::open(root, &Rig::settings(SANDBOX).name).expect("a store")
}

/// The Rust host on the system's clock.
fn rust_host(rig: &Rig, root: &Path, settings: Settings) -> Connection {
    Connection::builder(plugin(), settings)
        .http(Arc::new(rig.another_client()))
        .store(Arc::new(store(root)))
        .build()
        .expect("complete")
}

fn bearer(token: &Value) -> String {
    token["bearer"].as_str().expect("a token").to_owned()
}

async fn arrived(gate: &Gate) {
    let arrived = tokio::time::timeout(DEADLINE, gate.arrived(1)).await;
    assert!(arrived.is_ok(), "nothing arrives");
}

/// The bearer tokens of the answered API calls.
fn bearers(requests: &[Recorded]) -> Vec<String> {
    let calls = requests.iter().filter(|request| request.path == ME);
    let headers = calls.filter_map(|call| call.header("authorization"));
    headers.map(str::to_owned).collect()
}

#[test]
fn the_parts_do_what_they_promise() {
    if !can_run() {
        return;
    }
    let output = Command::new("node")
        .args(["--test", "--test-reporter=spec"])
        .current_dir(folder())
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("tests 0\n"), "{said}");
}

#[tokio::test]
async fn a_token_of_the_rust_host_is_read_and_used_without_a_refresh() {
    if !can_run() {
        return;
    }
    let setting = Setting::signed_in().await;
    assert_eq!(setting.token_of_node().await, setting.token_of_rust().await);
    let call = setting.node(&["call", "GET", ME]).await;
    assert_eq!(call.code_is(0).json()["status"], 200);
    assert!(
        call.json()["body"]
            .as_str()
            .expect("text")
            .contains("login")
    );
    let status = setting.node(&["status"]).await.json();
    assert_eq!(status["apiOrigin"], "https://sandbox.procore.com");
    assert_eq!(setting.rig.procore.token_posts(), 0);
    let requests = setting.rig.procore.requests();
    let call = requests.last().expect("a call");
    assert_eq!(call.host, "sandbox.procore.com");
    let company = Options::DEMO_COMPANY.to_string();
    assert_eq!(call.header("procore-company-id"), Some(&*company));
}

#[tokio::test]
async fn what_node_refreshes_the_rust_host_uses_and_the_other_way_round() {
    if !can_run() {
        return;
    }
    let setting = Setting::expired().await;
    let procore = &setting.rig.procore;
    let first = setting.token_of_node().await;
    assert_eq!(procore.token_posts(), 1);
    assert_eq!(setting.token_of_rust().await, first);
    // The Rust host spends the refresh token that Node received.
    procore.expire_access_token(fake(SANDBOX), &first);
    let reply = answered(setting.rust.send(ApiRequest::get(ME)).await);
    assert_eq!((reply.status, procore.rotations()), (200, 2));
    // And Node the one that the Rust host received: once for its 401.
    let second = setting.token_of_rust().await;
    procore.expire_access_token(fake(SANDBOX), &second);
    let call = setting.node(&["call", "GET", ME]).await.json();
    assert_eq!(
        (&call["status"], &call["attempts"]),
        (&json!(200), &json!(2))
    );
    assert_eq!(procore.token_posts(), 3);
    let entry = setting
        .store()
        .get(&Key::new("session").expect("a key"))
        .await;
    let entry = entry.expect("readable").expect("there");
    assert_eq!(entry.provenance, Provenance::Newest);
    let journal =
        fs::read_to_string(setting.node.tool.path("state/journal.jsonl")).expect("written");
    assert!(
        journal.contains("\"code\":\"token-refreshed\""),
        "{journal}"
    );
    for secret in procore.secrets_issued() {
        assert!(!journal.contains(&secret), "a secret in the journal");
    }
}

#[tokio::test]
async fn s1_node_processes_and_the_rust_host_at_the_refresh_moment_make_one_post_each_round() {
    if !can_run() {
        return;
    }
    let setting = Setting::start().await;
    let procore = &setting.rig.procore;
    let sessions = || setting.start_node(&["session", "call"]);
    let mut nodes: Vec<_> = (0..PROCESSES).map(|_| sessions()).collect();
    let mut pids: Vec<_> = nodes.iter().map(Running::pid).collect();
    pids.push(std::process::id());
    for round in 0..ROUNDS {
        setting.put_expired_pair().await;
        let gate = setting.hold_next_refresh(Fault::hold_before);
        for node in &mut nodes {
            node.write(&format!("call GET {ME}\n")).await;
        }
        let rust = tokio::spawn({
            let rust = setting.rust.clone();
            async move { answered(rust.send(ApiRequest::get(ME)).await) }
        });
        arrived(&gate).await;
        // One has the lock and is at the token endpoint; all others are there to take it.
        setting.wait_for_lock(&pids).await;
        gate.open();
        assert_eq!(rust.await.expect("no panic").status, 200);
        for node in &mut nodes {
            let answer = node.says(&format!("{{\"line\":{},", round + 1)).await;
            assert!(answer.contains("\"status\":200,\"attempts\":1"), "{answer}");
        }
        assert_eq!(procore.token_posts(), 1, "round {round}");
        let mut used = bearers(&procore.requests());
        assert_eq!(used.len(), PROCESSES + 1);
        used.dedup();
        assert_eq!(used.len(), 1, "all use the new token");
    }
    for node in nodes {
        node.end().await.code_is(0);
    }
}

#[tokio::test]
async fn a_lock_of_the_rust_host_keeps_node_out() {
    if !can_run() {
        return;
    }
    let setting = Setting::expired().await;
    let held = setting.store().lock(DEADLINE).await.expect("works");
    let node = setting.start_node(&["token"]);
    setting.wait_for_lock(&[node.pid()]).await;
    assert_eq!(setting.rig.procore.token_posts(), 0);
    drop(held.expect("free"));
    node.end().await.code_is(0);
    assert_eq!(setting.rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s9_a_lock_of_node_keeps_the_rust_host_out_until_node_is_killed() {
    if !can_run() {
        return;
    }
    let setting = Setting::expired().await;
    let gate = setting.hold_next_refresh(Fault::hold_before);
    let node = setting.start_node(&["token"]);
    arrived(&gate).await;
    let taken = setting.store().lock(Duration::from_millis(50)).await;
    assert!(taken.expect("works").is_none(), "both hold the lock");
    node.signal("KILL").await;
    let killed = Instant::now();
    setting.token_of_rust().await;
    assert!(killed.elapsed() < AT_ONCE, "{:?}", killed.elapsed());
    node.end().await;
}

#[tokio::test]
async fn sigterm_during_a_refresh_waits_for_the_save() {
    if !can_run() {
        return;
    }
    let setting = Setting::expired().await;
    let gate = setting.hold_next_refresh(Fault::hold_after);
    let mut node = setting.start_node(&["token"]);
    arrived(&gate).await;
    node.signal("TERM").await;
    node.says("stopping").await;
    assert!(node.is_running());
    gate.open();
    node.end().await.code_is(143);
    setting.token_of_rust().await;
    let posts = setting.rig.procore.token_posts();
    assert_eq!(posts, 1, "the new pair was saved");
}

#[tokio::test]
async fn a_session_that_waits_for_input_ends_at_a_signal() {
    if !can_run() {
        return;
    }
    let setting = Setting::signed_in().await;
    let mut node = setting.start_node(&["session", "status"]);
    node.write("status\n").await;
    node.says("{\"line\":1,").await;
    node.signal("INT").await;
    // Its input is still open.
    let ended = tokio::time::timeout(DEADLINE, async {
        while node.is_running() {
            tokio::task::yield_now().await;
        }
    });
    assert!(ended.await.is_ok(), "it never ends");
    node.end().await.code_is(130);
}

#[tokio::test]
async fn the_configuration_of_the_tool_serves_node_too() {
    if !can_run() {
        return;
    }
    let rig = Rig::with(Options::demo(), VirtualClock::at(0)).await;
    let tool = Tool::on_fake("node", &rig);
    let cli = folder().join("cli.js");
    let (cli, config) = (cli.to_str().expect("UTF-8"), tool.path("config.toml"));
    let config = config.to_str().expect("UTF-8");
    let words = [cli, "--config", config, "--connection", CONNECTION];
    let mut login = tool.start(&[&words[..], &["login"]].concat());
    let callback = rig.browse(&login.link().await).await;
    login.write(&format!("{callback}\n")).await;
    login.end().await.code_is(0);
    let rust = rust_host(&rig, &tool.path("state"), Rig::settings(SANDBOX));
    let token = rust.stored_access_token().await.expect("a token");
    let node = tool.start(&[&words[..], &["token"]].concat()).end().await;
    assert_eq!(bearer(&node.code_is(0).json()), token.bearer().expose());
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    if !can_run() {
        return;
    }
    let setting = Setting::signed_in().await;
    let elsewhere = Reply::redirect(302, "https://api.procore.com/rest/v1.0/me");
    setting
        .rig
        .procore
        .inject(Target::Api, Fault::early(elsewhere));
    let call = setting.node(&["call", "GET", ME]).await;
    assert_eq!(call.json()["status"], 302);
    assert_eq!(setting.rig.procore.requests().len(), 1);
}

#[tokio::test]
async fn a_call_cannot_leave_the_api_host() {
    if !can_run() {
        return;
    }
    let setting = Setting::signed_in().await;
    for target in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
    ] {
        let call = setting.node(&["call", "GET", target]).await;
        call.code_is(1).says("invalid-request");
    }
    assert_eq!(setting.rig.procore.requests(), []);
}

#[tokio::test]
async fn a_reply_that_is_too_large_is_not_read() {
    if !can_run() {
        return;
    }
    let setting = Setting::signed_in().await;
    let procore = &setting.rig.procore;
    procore.inject(Target::Api, Fault::early(Reply::giant(64 << 20)));
    let call = ["call", "POST", "/rest/v1.0/projects"];
    setting.node(&call).await.code_is(8).says("reply-too-large");
    procore.inject(Target::Api, Fault::early(Reply::giant(64 << 20)));
    let connect_to = format!("sandbox.procore.com:443={}", procore.address());
    let script = format!(
        "const {{ HttpsClient, parseConnectTo }} = await import({:?});
         const {{ readFileSync }} = await import('node:fs');
         const client = new HttpsClient({{ extraCa: [readFileSync('ca.pem')], connectTo: parseConnectTo([{connect_to:?}]) }});
         const request = {{ method: 'GET', url: new URL('https://sandbox.procore.com/'), headers: [], body: new Uint8Array() }};
         const {{ code, message, sent }} = await client.send(request, {{ timeout: 60000, replySize: 1000 }}).catch((error) => error);
         console.log(JSON.stringify([code, message, sent]));
         await client.close();",
        folder().join("src/index.js"),
    );
    let failure = setting.node_script(&script).await;
    let message = "sandbox.procore.com: the reply is longer than 1000 bytes";
    assert_eq!(failure, json!(["reply-too-large", message, true]));
}

#[tokio::test]
async fn an_error_says_what_to_do() {
    if !can_run() {
        return;
    }
    let setting = Setting::start().await;
    let token = setting.node(&["token"]).await;
    token.code_is(4).says("\"kind\":\"sign-in-required\"");
    token.says("procore-auth login --connection acme");
}

#[tokio::test]
async fn a_person_signs_in_with_node_and_the_rust_host_has_the_token() {
    if !can_run() {
        return;
    }
    let setting = Setting::start().await;
    let mut login = setting.start_node(&["login"]);
    let callback = setting.rig.browse(&login.link().await).await;
    login.write(&format!("{callback}\n")).await;
    login.end().await.code_is(0);
    assert_eq!(setting.token_of_rust().await, setting.token_of_node().await);
}

#[tokio::test]
async fn both_hosts_read_what_the_other_writes() {
    if !can_run() {
        return;
    }
    let setting = Setting::start().await;
    let store = setting.store();
    let key = Key::new("session-conflict-1").expect("a key");
    let Write::Stored(first) = store.put(&key, b"one", None).await.expect("put") else {
        panic!("a conflict");
    };
    let script = format!(
        "const {{ FileStore }} = await import({:?});
         const store = await FileStore.open({:?}, 'acme');
         const {{ value, revision, provenance }} = await store.get('session-conflict-1');
         const write = await store.put('session-conflict-1', Buffer.from(value + 'two'), revision);
         console.log(JSON.stringify([revision, provenance, write.stored, await store.list('session')]));",
        folder().join("src/index.js"),
        setting.node.tool.path("state"),
    );
    let written = setting.node_script(&script).await;
    let [revision, provenance, second, keys]: [Value; 4] =
        serde_json::from_value(written).expect("four");
    assert_eq!(revision, json!(first));
    assert_eq!(provenance, "newest");
    assert_eq!(keys, json!(["session-conflict-1"]));
    let entry = store.get(&key).await.expect("readable").expect("there");
    assert_eq!(entry.value, b"onetwo");
    assert_eq!(
        (json!(entry.revision), entry.provenance),
        (second, Provenance::Newest)
    );
    assert!(entry.revision > first);
    assert_eq!(stored::keys(&store, "session").await.len(), 1);
}
