//! Requests that wait.

use fake_procore::Environment::Sandbox;
use fake_procore::{Answer, Fault, Target};
use procore_auth_tests::{Rig, Tool};

use crate::{expired, signed_in};

pub(crate) async fn park(tool: &Tool, name: &str) -> String {
    let body = format!(r#"{{"project":{{"name":"{name}"}}}}"#);
    let call = [
        "call",
        "/rest/v1.0/projects",
        "-d",
        &body,
        "--park",
        "--json",
    ];
    let parked = tool.run(&call).await;
    let id = parked.code_is(10).json()["parked"]["id"].clone();
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
    let id = park(&tool, "perhaps").await;
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
    let id = park(&tool, "discarded").await;
    let discarded = tool.run(&["parked", "discard", &id, "--json"]).await;
    assert_eq!(discarded.code_is(0).json()["discarded"], id.as_str());
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
