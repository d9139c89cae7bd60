//! Metrics and probes of the keeper, as Prometheus and an orchestrator see them.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use procore_auth_tests::Tool;
use procore_auth_tests::tool::{free_port, visit};
use prometheus_parse::{Scrape, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{fresh, signed_in};

const DEADLINE: Duration = Duration::from_secs(60);

/// Has the keeper tell on a port and in a file; returns the port.
fn tell(tool: &Tool) -> u16 {
    let port = free_port();
    tool.reconfigure(
        "[network]",
        &format!("[metrics]\nfile = \"procore.prom\"\nlisten = \"127.0.0.1:{port}\"\n\n[network]"),
    );
    port
}

fn parse(text: &str) -> Scrape {
    Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).expect("metrics")
}

/// Returns the state that the connection is in.
fn state(scrape: &Scrape) -> Option<&str> {
    let mut samples = scrape.samples.iter();
    let found = samples.find(|sample| {
        sample.metric == "procore_auth_health" && matches!(sample.value, Value::Gauge(1.0))
    });
    found?.labels.get("state")
}

/// Reads the file once it tells a state.
async fn file_tells(tool: &Tool, wanted: &str) -> String {
    let read = async {
        loop {
            let text = std::fs::read_to_string(tool.path("procore.prom")).unwrap_or_default();
            if state(&parse(&text)) == Some(wanted) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, read).await.expect("it is written")
}

async fn raw(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("connected");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut reply = String::new();
    let read = timeout(DEADLINE, stream.read_to_string(&mut reply)).await;
    read.expect("it closes").expect("read");
    reply
}

#[tokio::test]
async fn the_keeper_tells_prometheus_in_a_file_and_on_a_port() {
    let (rig, tool, _) = signed_in().await;
    let port = tell(&tool);
    let mut keeper = tool.start(&["run"]);
    keeper.says("metrics are served").await;
    let in_file = file_tells(&tool, "healthy").await;
    let mode = tool
        .path("procore.prom")
        .metadata()
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644, "node_exporter is another user");

    let reply = raw(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let (head, body) = reply.split_once("\r\n\r\n").expect("a reply");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(state(&parse(body)), Some("healthy"));
    for secret in rig.procore.secrets_issued() {
        assert!(!body.contains(&secret) && !in_file.contains(&secret));
    }

    let (code, health) = visit(&format!("http://127.0.0.1:{port}/healthz")).await;
    let health: serde_json::Value = serde_json::from_str(&health).expect("JSON");
    assert_eq!((code, health["status"].as_str()), (200, Some("ok")));
    assert_eq!(health["connections"][0]["health"], "healthy");
    assert_eq!(
        visit(&format!("http://127.0.0.1:{port}/readyz")).await.0,
        200
    );
    assert_eq!(visit(&format!("http://127.0.0.1:{port}/x")).await.0, 404);
    let refused = raw(port, "POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 405"), "{refused}");

    keeper.signal("TERM").await;
    keeper.end().await.code_is(0);
    assert!(!tool.path("procore.prom").exists(), "nobody keeps it up");
}

#[tokio::test]
async fn s40_a_keeper_without_a_sign_in_is_alive_and_not_ready() {
    let (_rig, tool) = fresh().await;
    let port = tell(&tool);
    let keeper = tool.start(&["run"]);
    file_tells(&tool, "sign-in-required").await;
    assert_eq!(
        visit(&format!("http://127.0.0.1:{port}/healthz")).await.0,
        200
    );
    let (code, ready) = visit(&format!("http://127.0.0.1:{port}/readyz")).await;
    assert_eq!(code, 503);
    assert!(ready.contains("acme: no token that lives"), "{ready}");
    keeper.signal("TERM").await;
    keeper.end().await.code_is(0);
}

#[tokio::test]
async fn a_connection_that_is_taken_out_of_the_file_is_no_longer_told_of() {
    let (_rig, tool, _) = signed_in().await;
    let port = tell(&tool);
    let config = std::fs::read_to_string(tool.path("config.toml")).expect("configured");
    let (head, table) = config.split_once("[connections.acme]").expect("a table");
    let two = format!("{head}[connections.acme]{table}\n[connections.second]{table}");
    std::fs::write(tool.path("config.toml"), two).expect("written");
    let health = format!("http://127.0.0.1:{port}/healthz");
    let names = async || {
        let (_, body) = visit(&health).await;
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let connections = body["connections"].as_array().expect("a list").clone();
        let name = |connection: &serde_json::Value| connection["connection"].clone();
        connections.iter().map(name).collect::<Vec<_>>()
    };
    let mut keeper = tool.start(&["run"]);
    keeper.says("metrics are served").await;
    assert_eq!(names().await, ["acme", "second"]);
    std::fs::write(tool.path("config.toml"), config).expect("written");
    keeper.says("no longer kept").await;
    keeper.says("refreshed=false").await;
    assert_eq!(names().await, ["acme"]);
    keeper.signal("TERM").await;
    keeper.end().await.code_is(0);
}

#[tokio::test]
async fn clients_that_say_nothing_do_not_keep_others_out() {
    let (_rig, tool, _) = signed_in().await;
    let port = tell(&tool);
    let keeper = tool.start(&["run"]);
    file_tells(&tool, "healthy").await;
    let mut silent = Vec::new();
    for _ in 0..60 {
        let mut client = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("connected");
        client.write_all(b"GET /hea").await.expect("sent");
        silent.push(client);
    }
    let asked = std::time::Instant::now();
    let reply = raw(port, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    // Far less than they would take one after the other.
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    keeper.signal("TERM").await;
    keeper.end().await.code_is(0);
}

#[tokio::test]
async fn a_busy_port_does_not_keep_the_keeper_from_its_work() {
    let (_rig, tool, _) = signed_in().await;
    let port = tell(&tool);
    let _other = std::net::TcpListener::bind(("127.0.0.1", port)).expect("free");
    let mut keeper = tool.start(&["run"]);
    keeper.says("metrics cannot be served").await;
    file_tells(&tool, "healthy").await;
    keeper.signal("TERM").await;
    keeper.end().await.code_is(0);
}

#[tokio::test]
async fn a_tick_writes_the_file_and_it_stays() {
    let (_rig, tool, _) = signed_in().await;
    tell(&tool);
    tool.run(&["tick"]).await.code_is(0);
    file_tells(&tool, "healthy").await;
    tool.run(&["logout", "--local"]).await.code_is(0);
    tool.run(&["tick"]).await.code_is(4);
    file_tells(&tool, "sign-in-required").await;
}

#[tokio::test]
async fn a_place_for_metrics_that_is_none_is_shown_at_its_line() {
    for (place, says, cure) in [
        ("listen = \"127.0.0.1:0\"", "no port", "127.0.0.1:9464"),
        ("file = \"\"", "names no file", "file = "),
    ] {
        let (_rig, tool, _) = signed_in().await;
        tool.reconfigure("[network]", &format!("[metrics]\n{place}\n\n[network]"));
        let refused = tool.run(&["status"]).await;
        refused.code_is(3).says(says).says(cure).says("^");
    }
}
