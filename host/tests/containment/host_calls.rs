//! Calls of the host: too many, too much, and against the contract.

use procore_auth_host::Policy;

use crate::{
    hostile::{FORGET, Hostile, OK, load, plugin},
    world::{connect, connect_with, is_stopped, quick, stops},
};

/// Calls of each import with nothing in hand, the locks apart.
const CALLS: [(&str, &str); 13] = [
    ("clock.now", "(drop (call $clock.now))"),
    ("clock.elapsed", "(drop (call $clock.elapsed))"),
    ("clock.sleep", "(call $clock.sleep (i64.const 0))"),
    (
        "random.bytes",
        "(call $random.bytes (i32.const 1024) (i32.const 2048))",
    ),
    (
        "connection.settings",
        "(call $connection.settings (i32.const 2048))",
    ),
    (
        "store.get",
        "(call $store.get (i32.const 8192) (i32.const 1) (i32.const 2048))",
    ),
    (
        "store.put",
        "(call $store.put (i32.const 8192) (i32.const 1) (i32.const 0) (i32.const 9) (i32.const 0) (i64.const 0) (i32.const 2048))",
    ),
    (
        "store.delete",
        "(call $store.delete (i32.const 8192) (i32.const 1) (i64.const 0) (i32.const 2048))",
    ),
    (
        "store.list",
        "(call $store.list (i32.const 8192) (i32.const 1) (i32.const 2048))",
    ),
    (
        "store.lock",
        "(call $store.lock (i64.const 0) (i32.const 2048)) (call $store.unlock)",
    ),
    ("store.unlock", "(call $store.unlock)"),
    (
        "journal.record",
        "(call $journal.record (i32.const 3) (i32.const 8192) (i32.const 1) (i32.const 8192) (i32.const 1) (i32.const 0) (i32.const 0))",
    ),
    (
        "http.send",
        "(call $http.send (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 1000) (i32.const 2048))",
    ),
];

/// A key's text, for the calls that need one.
const KEY: &str = r#"(data (i32.const 8192) "k")"#;

#[tokio::test]
async fn s63_a_flood_of_calls_of_any_import_is_stopped() {
    for (import, call) in CALLS {
        let body = format!("(loop {call} {FORGET} (br 0)) unreachable");
        let hostile = Hostile {
            fields: KEY,
            ..Hostile::new(&[("auth.status", &body), ("auth.forget", OK)])
        };
        let world = stops(&load(&hostile), "too-many-host-calls").await;
        let events = world.codes().len();
        assert!(events <= 251, "{import}: {events} events");
        assert!(
            world.sent.lock().expect("unpoisoned").is_empty(),
            "{import}"
        );
    }
}

/// Sends an empty request, expects it to fail with a code of this length, unsent, and goes on.
fn sends_in_vain(code: &str) -> String {
    let zeros = "(i32.const 0) ".repeat(9);
    let length = code.len();
    format!(
        "(call $http.send {zeros} (i64.const 1000) (i32.const 2048))
        (if (i32.ne (i32.load (i32.const 2056)) (i32.const {length})) (then unreachable))
        (if (i32.load8_u (i32.const 2068)) (then unreachable))"
    )
}

/// Calls the host so many times.
fn host_calls(count: u32) -> String {
    format!(
        "(i32.store (i32.const 4096) (i32.const {count}))
        (loop
            (drop (call $clock.now))
            (i32.store (i32.const 4096) (i32.sub (i32.load (i32.const 4096)) (i32.const 1)))
            (br_if 0 (i32.load (i32.const 4096))))"
    )
}

#[tokio::test]
async fn what_is_sent_leaves_enough_host_calls_to_save_what_came_of_it() {
    let body = [
        host_calls(700),
        sends_in_vain("invalid-request"),
        host_calls(200),
        sends_in_vain("too-many-host-calls"),
        host_calls(90),
        OK.to_owned(),
    ]
    .concat();
    let plugin = plugin(&[("auth.status", &body)]);
    let (connection, _) = connect(&plugin, quick());
    connection.status().await.expect("enough calls are left");
}

#[tokio::test]
async fn every_parked_request_has_its_host_calls() {
    let body = host_calls(30_000) + OK;
    let plugin = plugin(&[("auth.status", &body)]);
    let mut policy = Policy::default();
    policy.parked_count = 1000;
    let (connection, _) = connect_with(&plugin, quick(), policy);
    connection.status().await.expect("enough calls");
}

#[tokio::test]
async fn s63_a_request_for_too_much_randomness_traps() {
    is_stopped(
        "(call $random.bytes (i32.const 1025) (i32.const 0)) unreachable",
        "plugin-trapped",
    )
    .await;
}

#[tokio::test]
async fn s63_locking_twice_traps_and_frees_the_lock() {
    is_stopped(
        "(call $store.lock (i64.const 1) (i32.const 0)) (call $store.lock (i64.const 1) (i32.const 0)) unreachable",
        "plugin-trapped",
    )
    .await;
}

#[tokio::test]
async fn s63_a_garbage_string_is_one_error() {
    // A token whose text is not UTF-8.
    let body =
        "(i32.store (i32.const 1032) (i32.const 2048)) (i32.store (i32.const 1036) (i32.const 4))
        (i32.store (i32.const 2048) (i32.const -1)) (i32.const 1024)";
    let plugin = plugin(&[("auth.access-token", body)]);
    let (connection, _) = connect(&plugin, quick());
    let error = connection.access_token().await.expect_err("no text");
    assert_eq!(error.code(), "plugin-trapped");
}
