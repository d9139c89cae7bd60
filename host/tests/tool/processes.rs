//! Several processes on one store, and processes that are ended in the middle.

use std::time::{Duration, Instant};

use fake_procore::{Fault, Rotation};
use procore_auth_tests::tool::wait_for_lock;

use crate::{arrived, expired, hold_next_refresh};

/// Far less than what a lock with a timeout would take, far more than a process needs.
const AT_ONCE: Duration = Duration::from_secs(15);

async fn refresh_together(processes: usize) {
    let (rig, tool, _) = expired().await;
    let gate = hold_next_refresh(&rig.procore, Fault::hold_after);
    let running: Vec<_> = (0..processes).map(|_| tool.start(&["token"])).collect();
    arrived(&gate).await;
    wait_for_lock(&running, processes - 1).await;
    gate.open();
    let mut tokens = Vec::new();
    for process in running {
        tokens.push(process.end().await.code_is(0).out.clone());
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "all end with the new token");
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s1_two_processes_at_the_refresh_moment_make_one_post() {
    refresh_together(2).await;
}

#[tokio::test]
async fn s1_eight_processes_at_the_refresh_moment_make_one_post() {
    refresh_together(8).await;
}

#[tokio::test]
async fn s9_a_killed_holder_of_the_lock_keeps_nobody_waiting() {
    let (rig, tool, _) = expired().await;
    let gate = hold_next_refresh(&rig.procore, Fault::hold_before);
    let holder = tool.start(&["token"]);
    arrived(&gate).await;
    let next = [tool.start(&["token"])];
    wait_for_lock(&next, 1).await;
    holder.signal("KILL").await;
    let killed = Instant::now();
    let [next] = next;
    next.end().await.code_is(0);
    assert!(killed.elapsed() < AT_ONCE, "{:?}", killed.elapsed());
    assert_eq!(holder.end().await.code, None);
    assert_eq!(rig.procore.token_posts(), 2);
}

#[tokio::test]
async fn s12_all_spellings_of_the_state_folder_share_one_lock() {
    let (rig, tool, _) = expired().await;
    std::os::unix::fs::symlink("state", tool.path("link")).expect("linked");
    let config = std::fs::read_to_string(tool.path("config.toml")).expect("configured");
    let absolute = tool.path("state");
    let spellings = [
        "link",
        "./state/../state/",
        "state/acme/..",
        absolute.to_str().expect("UTF-8"),
    ];
    let gate = hold_next_refresh(&rig.procore, Fault::hold_after);
    let mut running = vec![tool.start(&["token"])];
    arrived(&gate).await;
    for (number, spelling) in spellings.iter().enumerate() {
        let state = format!("state = {spelling:?}");
        let path = tool.write(
            &format!("{number}.toml"),
            &config.replace("state = \"state\"", &state),
        );
        running.push(tool.start(&["token", "--config", &path]));
    }
    wait_for_lock(&running, spellings.len()).await;
    gate.open();
    for process in running {
        process.end().await.code_is(0);
    }
    assert_eq!(rig.procore.token_posts(), 1);
}

/// The server rotated, and the process that asked is gone.
async fn killed_after_the_rotation(
    rotation: Rotation,
) -> (procore_auth_tests::Rig, procore_auth_tests::Tool) {
    let (rig, tool, _) = expired().await;
    rig.procore.set_policy(|policy| policy.rotation = rotation);
    let gate = hold_next_refresh(&rig.procore, Fault::hold_after);
    let holder = tool.start(&["token"]);
    arrived(&gate).await;
    holder.signal("KILL").await;
    assert_eq!(holder.end().await.code, None);
    assert_eq!(rig.procore.rotations(), 1);
    (rig, tool)
}

#[tokio::test]
async fn s15_a_reply_lost_with_its_process_is_fetched_again_where_procore_has_grace() {
    let (rig, tool) = killed_after_the_rotation(Rotation::Grace).await;
    tool.run(&["token"]).await.code_is(0);
    assert_eq!(rig.procore.token_posts(), 2);
}

#[tokio::test]
async fn s15_a_reply_lost_with_its_process_is_asked_for_once_and_then_told() {
    let (rig, tool) = killed_after_the_rotation(Rotation::Strict).await;
    for _ in 0..3 {
        tool.run(&["token"])
            .await
            .code_is(4)
            .says("procore-auth login");
    }
    assert_eq!(rig.procore.token_posts(), 2, "one replay, then silence");
}

#[tokio::test]
async fn s23_sigterm_during_a_refresh_waits_for_the_save() {
    let (rig, tool, _) = expired().await;
    let gate = hold_next_refresh(&rig.procore, Fault::hold_after);
    let mut keeper = tool.start(&["run"]);
    arrived(&gate).await;
    keeper.signal("TERM").await;
    keeper.says("stopping").await;
    assert!(keeper.is_running());
    gate.open();
    keeper.end().await.code_is(0);
    tool.run(&["token"]).await.code_is(0);
    assert_eq!(rig.procore.token_posts(), 1, "the new pair was saved");
}

#[tokio::test]
async fn s23_sigterm_during_a_refresh_of_any_verb_waits_for_the_save() {
    let (rig, tool, _) = expired().await;
    let gate = hold_next_refresh(&rig.procore, Fault::hold_after);
    let mut process = tool.start(&["tick"]);
    arrived(&gate).await;
    process.signal("TERM").await;
    process.says("stopping").await;
    gate.open();
    process.end().await;
    tool.run(&["token"]).await.code_is(0);
    assert_eq!(rig.procore.token_posts(), 1, "the new pair was saved");
}

#[tokio::test]
async fn the_second_signal_ends_the_process_at_once() {
    let (rig, tool, _) = expired().await;
    let gate = hold_next_refresh(&rig.procore, Fault::hold_after);
    let mut keeper = tool.start(&["run"]);
    arrived(&gate).await;
    keeper.signal("INT").await;
    keeper.says("stopping").await;
    keeper.signal("INT").await;
    keeper.end().await.code_is(130);
}

#[tokio::test]
async fn s56_a_keeper_resumes_after_a_login_without_a_restart() {
    let (rig, tool, pair) = expired().await;
    rig.procore
        .kill_refresh_token(fake_procore::Environment::Sandbox, &pair.refresh_token);
    let mut keeper = tool.start(&["run"]);
    keeper.says("sign-in required").await;
    tool.log_in(&rig).await;
    tool.run(&["status"]).await.code_is(0);
    assert!(keeper.is_running());
    keeper.signal("TERM").await;
    keeper.end().await.code_is(0);
}
