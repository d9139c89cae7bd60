//! Requests that wait.

use fake_procore::Environment::Sandbox;
use fake_procore::{Answer, Fault, Reply, Target};
use procore_auth_tests::{Rig, Tool};

use crate::{expired, signed_in};

pub(crate) async fn park(tool: &Tool, name: &str) -> String {
    park_in_order(tool, name, &[]).await
}

async fn park_in_order(tool: &Tool, name: &str, order: &[&str]) -> String {
    park_with_code(tool, name, order, 10).await
}

/// Parks a request that may have been executed.
async fn park_in_doubt(tool: &Tool, name: &str, order: &[&str]) -> String {
    park_with_code(tool, name, order, 8).await
}

async fn park_with_code(tool: &Tool, name: &str, order: &[&str], code: i32) -> String {
    let body = format!(r#"{{"project":{{"name":"{name}"}}}}"#);
    let call = ["call", "/rest/v1.0/projects", "-d", &body];
    let call = [&call[..], &["--park", "--json"], order].concat();
    let parked = tool.run(&call).await;
    let id = parked.code_is(code).json()["parked"]["id"].clone();
    id.as_str().expect("an id").to_owned()
}

/// Three requests that wait because the refresh token is dead.
async fn dead() -> (Rig, Tool) {
    let (rig, tool, pair) = expired().await;
    assert!(rig.procore.kill_refresh_token(Sandbox, &pair.refresh_token));
    for name in ["one", "two", "three"] {
        park(&tool, name).await;
    }
    assert_eq!(rig.procore.token_posts(), 1, "a dead token is sent once");
    (rig, tool)
}

fn projects(rig: &Rig) -> Vec<String> {
    let all = rig.procore.projects().into_iter();
    all.map(|project| project.name).collect()
}

#[tokio::test]
async fn s35_requests_wait_while_a_person_must_sign_in() {
    let (_rig, tool) = dead().await;
    let list = tool.run(&["parked", "list"]).await;
    let lines: Vec<_> = list.code_is(0).out.lines().collect();
    assert_eq!(lines.len(), 3, "{list}");
    assert!(
        lines
            .iter()
            .all(|line| line.contains("queued  POST /rest/v1.0/projects"))
    );
    let list = tool
        .run(&["parked", "list", "--json"])
        .await
        .code_is(0)
        .json();
    assert_eq!(list["parked"].as_array().map(Vec::len), Some(3));
    let status = tool.run(&["status"]).await;
    status
        .code_is(4)
        .says("sign-in required")
        .says("procore-auth login");
    tool.run(&["parked", "replay"])
        .await
        .code_is(10)
        .says("3 still wait");
}

#[tokio::test]
async fn s56_the_queue_drains_in_order_after_a_login_each_exactly_once() {
    let (rig, tool) = dead().await;
    tool.log_in(&rig).await;
    let replay = tool.run(&["parked", "replay", "--json"]).await;
    let report = replay.code_is(0).json();
    assert_eq!(report["remaining"], 0, "{replay}");
    assert_eq!(projects(&rig), ["one", "two", "three"]);
    tool.run(&["parked", "replay"]).await.code_is(0);
    tool.run(&["parked", "list"])
        .await
        .code_is(0)
        .says("no request is parked");
    assert_eq!(projects(&rig).len(), 3);
}

#[tokio::test]
async fn s56_a_visit_drains_the_queue_by_itself() {
    let (rig, tool) = dead().await;
    tool.log_in(&rig).await;
    tool.run(&["tick"]).await.code_is(0);
    assert_eq!(projects(&rig), ["one", "two", "three"]);
}

#[tokio::test]
async fn s33_an_unknown_outcome_is_parked_and_sent_by_a_person_alone() {
    let (rig, tool, _) = signed_in().await;
    let call = Target::Call("POST".to_owned(), "/rest".to_owned());
    rig.procore
        .inject(call.clone(), Fault::committed(Answer::Close));
    let id = park_in_doubt(&tool, "perhaps", &[]).await;
    tool.run(&["parked", "list"])
        .await
        .code_is(0)
        .says("unknown outcome");
    tool.run(&["status"]).await.code_is(10).says("undecided");
    tool.run(&["parked", "replay"]).await.code_is(0);
    tool.run(&["tick"]).await.code_is(10);
    assert_eq!(projects(&rig), ["perhaps"], "not sent again");

    tool.run(&["parked", "replay", &id])
        .await
        .code_is(0)
        .says("status 201");
    assert_eq!(projects(&rig).len(), 2, "a person said so");

    rig.procore.inject(call, Fault::committed(Answer::Close));
    let id = park_in_doubt(&tool, "discarded", &[]).await;
    let discarded = tool.run(&["parked", "discard", &id, "--json"]).await;
    assert_eq!(discarded.code_is(0).json()["discarded"][0], id.as_str());
    tool.run(&["status"]).await.code_is(0);
    tool.run(&["parked", "discard", &id]).await.code_is(1);
}

#[tokio::test]
async fn without_park_an_unknown_outcome_has_its_exit_code() {
    let (rig, tool, _) = signed_in().await;
    rig.procore
        .inject(Target::Api, Fault::committed(Answer::Close));
    let call = [
        "call",
        "/rest/v1.0/projects",
        "-d",
        r#"{"project":{"name":"x"}}"#,
    ];
    tool.run(&call).await.code_is(8);
    tool.run(&["parked", "list"])
        .await
        .says("no request is parked");
    assert_eq!(projects(&rig).len(), 1);
}

/// Two requests of each of two order keys, and one of none, in turn.
async fn of_two_keys() -> (Rig, Tool) {
    let (rig, tool, pair) = expired().await;
    assert!(rig.procore.kill_refresh_token(Sandbox, &pair.refresh_token));
    for (name, key) in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b")] {
        park_in_order(&tool, name, &["--order-key", key]).await;
    }
    park(&tool, "alone").await;
    (rig, tool)
}

#[tokio::test]
async fn s61_those_of_an_order_key_are_discarded_together() {
    let (rig, tool) = of_two_keys().await;
    let discarded = tool.run(&["parked", "discard", "--order-key", "a"]).await;
    assert_eq!(discarded.code_is(0).out.lines().count(), 2, "{discarded}");
    let again = ["parked", "discard", "--order-key", "a"];
    tool.run(&again)
        .await
        .code_is(0)
        .says("no such request is parked");
    tool.log_in(&rig).await;
    tool.run(&["parked", "replay"]).await.code_is(0);
    assert_eq!(projects(&rig), ["b1", "b2", "alone"]);
}

#[tokio::test]
async fn s61_those_of_an_order_key_are_replayed_together() {
    let (rig, tool) = of_two_keys().await;
    tool.log_in(&rig).await;
    let replay = ["parked", "replay", "--order-key", "b", "--json"];
    let report = tool.run(&replay).await.code_is(0).json();
    assert_eq!(report["replayed"].as_array().map(Vec::len), Some(2));
    assert_eq!(report["remaining"], 3);
    assert_eq!(projects(&rig), ["b1", "b2"]);
}

#[tokio::test]
async fn s61_a_refused_request_holds_up_its_order_key_when_all_are_replayed() {
    let (rig, tool) = of_two_keys().await;
    tool.log_in(&rig).await;
    let refusal = Fault::uncommitted(Reply::json(422, &serde_json::json!({})));
    rig.procore.inject(Target::Api, refusal);
    tool.run(&["parked", "replay", "--all"]).await.code_is(22);
    assert_eq!(projects(&rig), ["b1", "b2", "alone"]);
    tool.run(&["parked", "replay", "--all"]).await.code_is(0);
    assert_eq!(projects(&rig), ["b1", "b2", "alone", "a1", "a2"]);
}

#[tokio::test]
async fn s62_a_damaged_request_keeps_nobody_from_seeing_sending_or_discarding_the_others() {
    let (rig, tool) = dead().await;
    let damaged = park(&tool, "damaged").await;
    let mut file = tool.path("state/acme");
    file.push(&damaged);
    std::fs::write(&file, "no entry").expect("damaged");
    let list = tool.run(&["parked", "list"]).await;
    list.code_is(0).says("cannot be read");
    tool.run(&["status"]).await.says("3 (+1 undecided)");
    let one = ["parked", "discard", &damaged];
    tool.run(&one).await.code_is(7).says("request-unreadable");

    tool.log_in(&rig).await;
    tool.run(&["parked", "replay"]).await.code_is(0);
    assert_eq!(projects(&rig), ["one", "two", "three"]);
    let status = tool.run(&["status", "--json"]).await.json();
    assert_eq!(status["connections"][0]["undecided"], 1);

    let all = ["parked", "discard", "--all"];
    tool.run(&all).await.code_is(7).says("request-unreadable");
    std::fs::remove_file(&file).expect("moved away");
    tool.run(&all).await.code_is(0);
    tool.run(&["status"]).await.code_is(0);
}

#[tokio::test]
async fn what_is_to_be_discarded_must_be_said_and_all_may_be() {
    let (_rig, tool) = of_two_keys().await;
    tool.run(&["parked", "discard"]).await.code_is(2);
    let both = ["parked", "discard", "--all", "--order-key", "a"];
    tool.run(&both).await.code_is(2);
    let all = tool.run(&["parked", "discard", "--all", "--json"]).await;
    let discarded = all.code_is(0).json();
    assert_eq!(discarded["discarded"].as_array().map(Vec::len), Some(5));
    tool.run(&["parked", "list"])
        .await
        .says("no request is parked");
    tool.run(&["parked", "replay", "--all"])
        .await
        .code_is(0)
        .says("0 still wait");
}

#[tokio::test]
async fn a_body_is_parked_up_to_what_the_policy_allows() {
    const SIZE: usize = 20 << 20;
    let (rig, tool, pair) = expired().await;
    assert!(rig.procore.kill_refresh_token(Sandbox, &pair.refresh_token));
    let body = format!(
        r#"{{"project":{{"name":"big"}},"pad":"{}"}}"#,
        "x".repeat(SIZE)
    );
    tool.write("body.json", &body);
    let file = tool.path("body.json");
    let file = file.to_str().expect("UTF-8");
    let call = ["call", "/rest/v1.0/projects", "--body-file", file, "--park"];
    tool.run(&call).await.code_is(10);
    tool.log_in(&rig).await;
    tool.run(&["tick"]).await.code_is(0);
    assert_eq!(projects(&rig), ["big"]);

    tool.reconfigure(
        "[connections.acme]\n",
        "[connections.acme.policy]\nparked_bytes = 1048576\n\n[connections.acme]\n",
    );
    let refused = tool.run(&call).await;
    refused.code_is(1).says("too-large-to-park").says("1048576");
}

/// Has the next call be carried out and not be answered.
fn doubt_next(rig: &Rig) {
    let call = Target::Call("POST".to_owned(), "/rest".to_owned());
    rig.procore.inject(call, Fault::committed(Answer::Close));
}

#[tokio::test]
async fn s33_what_may_have_been_executed_is_not_called_waiting_to_be_sent() {
    let (rig, tool, _) = signed_in().await;
    doubt_next(&rig);
    let call = [
        "call",
        "/rest/v1.0/projects",
        "-d",
        r#"{"project":{"name":"x"}}"#,
        "--park",
    ];
    let parked = tool.run(&call).await;
    parked
        .code_is(8)
        .says("may have been executed")
        .says("parked replay ")
        .says("parked discard ");
    assert!(!parked.err.contains("it will be sent"), "{parked}");
    doubt_next(&rig);
    let parked = tool.run(&[&call[..], &["--json"]].concat()).await;
    let parked = parked.code_is(8).json();
    assert_eq!(parked["parked"]["state"], "unknown-outcome");
    assert_eq!(parked["exit_code"], 8);
}

#[tokio::test]
async fn s61_a_replay_says_who_holds_the_others_up_and_what_to_do() {
    let (rig, tool, _) = signed_in().await;
    doubt_next(&rig);
    let key = ["--order-key", "a"];
    let holder = park_in_doubt(&tool, "first", &key).await;
    let behind = park_in_order(&tool, "second", &key).await;
    let replay = tool.run(&["parked", "replay"]).await;
    replay
        .code_is(10)
        .says("1 still wait")
        .says(&holder)
        .says("procore-auth parked replay ")
        .says("procore-auth parked discard ");
    let replay = tool.run(&["parked", "replay", "--json"]).await;
    let held = replay.code_is(10).json()["held"][0].clone();
    assert_eq!(held["id"], holder.as_str());
    assert_eq!(held["order_key"], "a");
    assert_eq!(held["waiting"], serde_json::json!([behind]));
    tool.run(&["parked", "discard", &holder]).await.code_is(0);
    tool.run(&["parked", "replay"]).await.code_is(0);
    assert_eq!(projects(&rig), ["first", "second"]);
}
