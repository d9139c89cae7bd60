//! Waits, deadlines, and calls that callers share: a call that goes wrong harms nobody else.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use procore_auth_host::{Policy, Random, Secret, Severity};

use crate::{
    hostile::{TOKEN, plugin},
    world::{builder, connect, quick},
};

#[tokio::test]
async fn waiting_for_the_host_is_not_computing() {
    let body = "(call $clock.sleep (i64.const 900)) (i32.const 1024)";
    let plugin = plugin(&[("auth.status", body)]);
    let (connection, _) = connect(&plugin, quick());
    connection.status().await.expect("in time");
}

#[tokio::test]
async fn a_sleep_ends_with_the_deadline() {
    let body = "(call $clock.sleep (i64.const 3600000)) (i32.const 1024)";
    let plugin = plugin(&[("auth.status", body)]);
    let mut limits = quick();
    limits.deadline = Duration::from_millis(200);
    let (connection, _) = connect(&plugin, limits);
    let ended = tokio::time::timeout(Duration::from_secs(5), connection.status()).await;
    ended.expect("in time").expect("no error");
}

#[tokio::test]
async fn s3_all_callers_share_one_call_and_then_the_cached_token() {
    let body = format!("(call $clock.sleep (i64.const 100)) {TOKEN}");
    let plugin = plugin(&[("auth.access-token", &body)]);
    let (connection, world) = connect(&plugin, quick());
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let connection = connection.clone();
        callers.spawn(async move { connection.access_token().await });
    }
    for token in callers.join_all().await {
        token.expect("a token");
    }
    connection.access_token().await.expect("the cached token");
    assert_eq!(world.slept.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn s22_a_caller_that_gives_up_cuts_nothing_in_half() {
    let body = format!("(call $clock.sleep (i64.const 200)) {TOKEN}");
    let plugin = plugin(&[("auth.access-token", &body)]);
    let (connection, world) = connect(&plugin, quick());
    let asking = connection.access_token();
    let given_up = tokio::time::timeout(Duration::from_millis(50), asking).await;
    assert!(given_up.is_err());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.slept.load(Ordering::SeqCst), 1, "the call went on");
    connection.access_token().await.expect("the cached token");
    assert_eq!(world.slept.load(Ordering::SeqCst), 1, "its token was kept");
}

#[tokio::test]
async fn a_rejected_token_is_not_handed_out_again() {
    let renewed = format!("(call $clock.sleep (i64.const 20)) {TOKEN}");
    let plugin = plugin(&[
        ("auth.access-token", TOKEN),
        ("auth.renew-rejected", &renewed),
    ]);
    let (connection, world) = connect(&plugin, quick());
    let rejected = connection.access_token().await.expect("a token");
    let (one, two) = tokio::join!(
        connection.renew_rejected(rejected.bearer()),
        connection.renew_rejected(rejected.bearer()),
    );
    one.and(two).expect("a token");
    assert_eq!(world.slept.load(Ordering::SeqCst), 1, "one call for both");
}

/// A fetch of a token and a renewal that take so many milliseconds, both begun on an empty cache; `renewed` ends the
/// renewal. Returns whether the plugin is asked for the next token.
async fn asks_anew_after(fetch: u32, renewal: u32, renewed: &str) -> bool {
    let fetched = format!("(call $clock.sleep (i64.const {fetch})) {TOKEN}");
    let renewed = format!("(call $clock.sleep (i64.const {renewal})) {renewed}");
    let plugin = plugin(&[
        ("auth.access-token", &fetched),
        ("auth.renew-rejected", &renewed),
    ]);
    let (connection, world) = connect(&plugin, quick());
    let rejected = Secret::new("");
    let (fetched, _) = tokio::join!(
        connection.access_token(),
        connection.renew_rejected(&rejected)
    );
    assert_eq!(fetched.expect("a token").bearer(), &rejected);
    let before = world.slept.load(Ordering::SeqCst);
    connection.access_token().await.expect("a token");
    world.slept.load(Ordering::SeqCst) > before
}

#[tokio::test]
async fn a_rejected_token_that_another_call_read_is_not_kept() {
    let other = format!("(i32.store (i32.const 1036) (i32.const 1)) {TOKEN}");
    assert!(asks_anew_after(20, 200, &other).await);
    // The renewal's token is kept, and what was read before it is not.
    assert!(!asks_anew_after(200, 20, &other).await);
}

#[tokio::test]
async fn a_renewal_that_fails_keeps_no_rejected_token_either() {
    assert!(asks_anew_after(20, 200, "unreachable").await);
    assert!(asks_anew_after(200, 20, "unreachable").await);
}

struct Panicking;

impl Random for Panicking {
    fn fill(&self, _: &mut [u8]) {
        panic!("no randomness");
    }
}

#[tokio::test]
async fn a_panic_of_the_host_while_a_token_is_fetched_is_an_alert() {
    let body = "(call $random.bytes (i32.const 8) (i32.const 0)) unreachable";
    let plugin = plugin(&[("auth.access-token", body)]);
    let (builder, world) = builder(&plugin, quick(), Policy::default());
    let connection = builder.random(Arc::new(Panicking)).build();
    let connection = connection.expect("complete");
    let error = connection.access_token().await.expect_err("panicked");
    assert_eq!(error.code(), "host-panicked");
    let journal = world.journal.lock().expect("unpoisoned");
    let events: Vec<_> = journal.iter().map(|e| (e.severity, &*e.code)).collect();
    assert_eq!(events, [(Severity::Alert, "host-panicked")]);
}

#[tokio::test]
async fn a_fault_that_lasts_is_one_alert() {
    let plugin = plugin(&[]);
    let (connection, world) = connect(&plugin, quick());
    for _ in 0..3 {
        connection.status().await.expect_err("stopped");
    }
    let journal = world.journal.lock().expect("unpoisoned");
    let alerts = journal
        .iter()
        .filter(|event| event.severity == Severity::Alert);
    assert_eq!((journal.len(), alerts.count()), (3, 1));
}
