//! `run` and `tick` as services: what they notice, what they tell, and who misses them.

use std::{
    fs,
    time::{Duration, Instant},
};

use fake_procore::{Environment::Sandbox, Fault, Reply, Target};
use procore_auth_tests::{
    Rig, Tool,
    tool::{Running, free_port},
};
use serde_json::{Value, json};
use tokio::net::UnixDatagram;

use crate::{expired, parked::park, signed_in};

/// What a step of a process may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Well before a connection that needs a person is visited anyway, once a minute.
const AT_ONCE: Duration = Duration::from_secs(20);

async fn stop(keeper: Running) {
    keeper.signal("TERM").await;
    keeper.end().await.code_is(0);
}

#[tokio::test]
async fn s56_a_running_keeper_drains_the_queue_after_a_login_in_another_process() {
    let (rig, tool, pair) = expired().await;
    assert!(rig.procore.kill_refresh_token(Sandbox, &pair.refresh_token));
    for name in ["one", "two", "three"] {
        park(&tool, name).await;
    }
    let mut keeper = tool.start(&["run"]);
    keeper.says("sign-in required").await;
    tool.log_in(&rig).await;
    let signed_in = Instant::now();
    keeper.says("replayed=3").await;
    assert!(signed_in.elapsed() < AT_ONCE, "{:?}", signed_in.elapsed());
    let names: Vec<_> = rig.procore.projects().into_iter().map(|p| p.name).collect();
    assert_eq!(names, ["one", "two", "three"]);
    tool.run(&["status"]).await.code_is(0);
    assert!(keeper.is_running());
    stop(keeper).await;
    assert_eq!(rig.procore.projects().len(), 3);
}

/// A server that fails so many tries in a row.
fn api_is_down(rig: &Rig, calls: usize) {
    let down = Fault::uncommitted(Reply::json(503, &json!({})));
    rig.procore.inject_times(calls, &Target::Api, &down);
}

fn projects(rig: &Rig) -> Vec<String> {
    let all = rig.procore.projects().into_iter();
    all.map(|project| project.name).collect()
}

#[tokio::test]
async fn what_an_agent_parks_does_not_wait_for_the_next_refresh() {
    let (rig, tool, _) = signed_in().await;
    let mut keeper = tool.start(&["run"]);
    keeper.says("refreshed=false").await;
    // An agent that does not reach the server.
    let config = fs::read_to_string(tool.path("config.toml")).expect("configured");
    let here = config.split_once("127.0.0.1:").expect("an address").1;
    let here = here.split(|letter: char| !letter.is_ascii_digit()).next();
    let here = format!("127.0.0.1:{}", here.expect("a port"));
    let nowhere = format!("127.0.0.1:{}", free_port());
    let agent = tool.write("agent.toml", &config.replace(&here, &nowhere));
    let body = r#"{"project":{"name":"one"}}"#;
    let call = ["call", "/rest/v1.0/projects", "-d", body, "--park"];
    tool.run(&[&["--config", &agent], &call[..]].concat())
        .await
        .code_is(10);
    let parked = Instant::now();
    keeper.says("replayed=1").await;
    assert!(parked.elapsed() < AT_ONCE, "{:?}", parked.elapsed());
    assert_eq!(projects(&rig), ["one"]);
    stop(keeper).await;
}

#[tokio::test]
async fn an_outage_that_lasts_wakes_the_keeper_once() {
    let (rig, tool, _) = signed_in().await;
    let mut keeper = tool.start(&["run"]);
    keeper.says("refreshed=false").await;
    api_is_down(&rig, 1000);
    park(&tool, "one").await;
    keeper.says("visited").await;
    park(&tool, "two").await;
    // What is noticed is dealt with in turn: when the second mistake is told, all that was parked before the first has been seen.
    let config = fs::read_to_string(tool.path("config.toml")).expect("configured");
    for mistake in ["nonsense", "more nonsense"] {
        fs::write(tool.path("config.toml"), format!("{config}\n{mistake}")).expect("written");
        keeper.says("nothing changes").await;
    }
    keeper.signal("TERM").await;
    let ended = keeper.end().await;
    ended.code_is(0);
    let visits = ended.err.matches("come_back_at=").count();
    assert_eq!(visits, 2, "the first, and one for all that waits\n{ended}");
    assert!(projects(&rig).is_empty());
}

#[tokio::test]
async fn a_connection_that_is_added_to_the_file_is_kept_without_a_restart() {
    let (rig, tool, _) = signed_in().await;
    let mut keeper = tool.start(&["run"]);
    keeper.says("refreshed=false").await;
    let config = fs::read_to_string(tool.path("config.toml")).expect("configured");
    let (head, table) = config.split_once("[connections.acme]").expect("a table");
    let broken = format!("{config}\nnonsense");
    fs::write(tool.path("config.toml"), broken).expect("written");
    keeper.says("nothing changes").await;
    let two = format!("{head}[connections.acme]{table}\n[connections.second]{table}");
    fs::write(tool.path("config.toml"), two).expect("written");
    keeper.says("connection=second").await;
    fs::write(tool.path("config.toml"), config).expect("written");
    keeper.says("no longer kept").await;
    assert_eq!(rig.procore.token_posts(), 0);
    stop(keeper).await;
}

#[tokio::test]
async fn ticks_and_a_keeper_at_once_refresh_once() {
    let (rig, tool, _) = expired().await;
    let mut keeper = tool.start(&["run"]);
    let ticks = [tool.start(&["tick"]), tool.start(&["tick"])];
    for tick in ticks {
        tick.end().await.code_is(0);
    }
    keeper.says("visited").await;
    stop(keeper).await;
    assert_eq!(rig.procore.token_posts(), 1);
}

/// What systemd hears.
struct Systemd(UnixDatagram);

impl Systemd {
    fn listen(tool: Tool) -> (Self, Tool) {
        let path = tool.path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let tool = tool.with("NOTIFY_SOCKET", path.to_str().expect("UTF-8"));
        (Self(socket), tool)
    }

    /// Waits for a message with this line, and returns the whole message.
    async fn hears(&self, line: &str) -> String {
        let heard = async {
            loop {
                let mut bytes = [0; 4096];
                let length = self.0.recv(&mut bytes).await.expect("received");
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                if text.lines().any(|heard| heard == line) {
                    return text;
                }
            }
        };
        let heard = tokio::time::timeout(DEADLINE, heard).await;
        heard.unwrap_or_else(|_| panic!("{line} is never said"))
    }
}

#[tokio::test]
async fn systemd_is_told_of_the_beginning_of_a_reload_and_of_the_end() {
    let (_rig, tool, _) = signed_in().await;
    let (systemd, tool) = Systemd::listen(tool);
    let mut keeper = tool.start(&["run"]);
    let ready = systemd.hears("READY=1").await;
    assert!(
        ready.contains("STATUS=keeping 1 connection alive"),
        "{ready}"
    );
    keeper.says("visited").await;
    keeper.signal("HUP").await;
    let reloading = systemd.hears("RELOADING=1").await;
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    systemd.hears("READY=1").await;
    keeper.says("the configuration was read again").await;
    assert!(keeper.is_running());
    keeper.signal("TERM").await;
    systemd.hears("STOPPING=1").await;
    keeper.end().await.code_is(0);
}

#[tokio::test]
async fn the_watchdog_is_fed_by_the_loop_and_only_where_there_is_one() {
    let (_rig, tool, _) = signed_in().await;
    let (systemd, tool) = Systemd::listen(tool);
    let tool = tool.with("WATCHDOG_USEC", "200000");
    let keeper = tool.start(&["run"]);
    systemd.hears("READY=1").await;
    for _ in 0..5 {
        systemd.hears("WATCHDOG=1").await;
    }
    stop(keeper).await;
}

/// Has the sign of life of the last keeper be hours old.
fn let_it_be_long_ago(tool: &Tool, file: &str) {
    let path = tool.path("state/.keeper").join(file);
    let mut beat: Value = serde_json::from_slice(&fs::read(&path).expect("written")).expect("JSON");
    for moment in ["at", "next_by"] {
        let then = beat[moment].as_u64().expect("a moment") - 5 * 3_600_000;
        beat[moment] = json!(then);
    }
    fs::write(path, beat.to_string()).expect("written");
}

async fn keeper_state(tool: &Tool) -> Value {
    let status = tool.run(&["status", "--json"]).await.json();
    status["connections"][0]["keeper"].clone()
}

/// Counts the alerts with this code that became known in the journal.
fn told(tool: &Tool, code: &str) -> usize {
    let journal = fs::read_to_string(tool.path("state/journal.jsonl")).expect("a journal");
    let lines = journal
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|event| event["code"] == code).count()
}

#[tokio::test]
async fn s43_where_no_keeper_was_ever_used_nothing_is_said() {
    let (_rig, tool, _) = signed_in().await;
    tool.run(&["status"]).await.code_is(0);
    tool.run(&["token"]).await.code_is(0);
    assert_eq!(keeper_state(&tool).await["state"], "never");
    assert_eq!(told(&tool, "keeper-missing"), 0);
}

#[tokio::test]
async fn s43_a_keeper_that_died_is_missed_once_until_it_is_back() {
    let (_rig, tool, _) = signed_in().await;
    let mut keeper = tool.start(&["run"]);
    keeper.says("visited").await;
    let alive = keeper_state(&tool).await;
    assert_eq!(
        (&alive["state"], &alive["kind"]),
        (&json!("alive"), &json!("run"))
    );
    keeper.signal("KILL").await;
    keeper.end().await;
    tool.run(&["status"]).await.code_is(0);

    let_it_be_long_ago(&tool, "run.json");
    let first = tool.run(&["token"]).await;
    first
        .code_is(0)
        .says("Nobody keeps this connection alive any more");
    tool.run(&["token"]).await.code_is(0);
    tool.run(&["call", "/rest/v1.0/me"]).await.code_is(0);
    tool.run(&["parked", "list"]).await.code_is(0);
    tool.run(&["status"]).await.code_is(11);
    assert_eq!(keeper_state(&tool).await["state"], "overdue");
    assert_eq!(told(&tool, "keeper-missing"), 1);

    let mut keeper = tool.start(&["run"]);
    keeper.says("Visits work again").await;
    assert_eq!(keeper_state(&tool).await["state"], "alive");
    stop(keeper).await;
    let stopped = keeper_state(&tool).await;
    assert_eq!(stopped["state"], "stopped");
    assert!(stopped["last_seen"].is_string());
    let_it_be_long_ago(&tool, "run.json");
    tool.run(&["token"]).await.code_is(0);
    tool.run(&["status"]).await.code_is(0);
    assert_eq!(
        told(&tool, "keeper-missing"),
        1,
        "it was stopped on purpose"
    );
    assert_eq!(told(&tool, "visits-recovered"), 1);
}

#[tokio::test]
async fn s43_a_cron_job_that_comes_no_more_is_missed_and_the_next_tick_ends_that() {
    let (rig, tool, _): (Rig, Tool, _) = signed_in().await;
    tool.run(&["tick", "--next-visit", "60m"]).await.code_is(0);
    let alive = keeper_state(&tool).await;
    assert_eq!(
        (&alive["state"], &alive["kind"]),
        (&json!("alive"), &json!("tick"))
    );
    let_it_be_long_ago(&tool, "tick.json");
    tool.run(&["token"]).await.code_is(0).says("crontab");
    tool.run(&["status"]).await.code_is(11);
    assert_eq!(told(&tool, "keeper-missing"), 1);
    tool.run(&["tick"])
        .await
        .code_is(0)
        .says("Visits work again");
    tool.run(&["status"]).await.code_is(0);
    drop(rig);
}

#[tokio::test]
async fn s43_a_sign_of_life_that_cannot_be_read_is_told() {
    let (_rig, tool, _) = signed_in().await;
    let mut keeper = tool.start(&["run"]);
    keeper.says("visited").await;
    keeper.signal("KILL").await;
    keeper.end().await;
    for torn in ["", "{\"kind\":"] {
        fs::write(tool.path("state/.keeper/run.json"), torn).expect("torn");
        tool.run(&["status"])
            .await
            .code_is(11)
            .says("cannot be read");
        let keeper = keeper_state(&tool).await;
        assert_eq!(
            (&keeper["state"], &keeper["kind"]),
            (&json!("unknown"), &json!("run"))
        );
    }
    // The first look has told people.
    tool.run(&["token"]).await.code_is(0);
    tool.run(&["doctor"]).await.says("cannot be read");
    assert_eq!(told(&tool, "keeper-missing"), 1);

    let mut keeper = tool.start(&["run"]);
    keeper.says("Visits work again").await;
    assert_eq!(keeper_state(&tool).await["state"], "alive");
    stop(keeper).await;
}

#[tokio::test]
async fn s43_a_tick_by_hand_does_not_stand_in_for_a_keeper_that_died() {
    let (_rig, tool, _) = signed_in().await;
    let mut keeper = tool.start(&["run"]);
    keeper.says("visited").await;
    keeper.signal("KILL").await;
    keeper.end().await;
    let_it_be_long_ago(&tool, "run.json");
    tool.run(&["token"]).await.code_is(0);
    for _ in 0..2 {
        tool.run(&["tick"]).await.code_is(11);
        tool.run(&["status"]).await.code_is(11).says("run");
        tool.run(&["token"]).await.code_is(0);
    }
    let state = keeper_state(&tool).await;
    assert_eq!(
        (&state["state"], &state["kind"]),
        (&json!("overdue"), &json!("run"))
    );
    assert_eq!(told(&tool, "keeper-missing"), 1, "told once");
    assert_eq!(told(&tool, "visits-recovered"), 0, "it is not back");

    // Whoever goes over to cron says so by taking the sign away.
    fs::remove_file(tool.path("state/.keeper/run.json")).expect("there");
    tool.run(&["tick"])
        .await
        .code_is(0)
        .says("Visits work again");
}
