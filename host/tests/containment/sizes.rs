//! Strings, lists and replies of any size: what the host keeps of a component's is bounded.

use procore_auth_host::{Limits, Plugin};

use crate::{
    hostile::{Hostile, OK, load, plugin},
    world::{World, connect, quick, stops},
};

/// Grows the memory to 48 MiB, which a call may have.
const LARGE: &str = "(drop (memory.grow (i32.const 764)))";
const SIZE: usize = 48 << 20;

/// A long text, and a list of a thousand pieces whose words all name it: the text's address and its length in turn.
fn thousandfold(words: &str) -> String {
    format!(
        "{LARGE}
        (memory.fill (i32.const 1048576) (i32.const 97) (i32.const 41943040))
        (i32.store (i32.const 4096) (i32.const 131072))
        (loop
            {words}
            (br_if 0 (i32.lt_u (i32.load (i32.const 4096)) (i32.const 163840))))"
    )
}

/// Writes a string's address and its length where the counter says, and moves it on.
const LONG: &str = "(i32.store (i32.load (i32.const 4096)) (i32.const 1048576))
    (i32.store offset=4 (i32.load (i32.const 4096)) (i32.const 41943040))
    (i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (i32.const 8)))";

/// A list of a thousand pairs of strings, 40 MiB each, that all lie in the same place.
const LIST: &str = "(i32.const 131072) (i32.const 1000)";
const TEXT: &str = "(i32.const 1048576) (i32.const 41943040)";
const NONE: &str = "(i32.const 0) (i32.const 0)";

#[tokio::test]
async fn s63_a_list_that_names_one_long_string_a_thousand_times_is_stopped() {
    let send = |headers: &str, body: &str| {
        format!(
            "(call $http.send {NONE} {NONE} {headers} {body} (i64.const 1000) (i32.const 2048))"
        )
    };
    for call in [
        send(LIST, "(i32.const 0) (i32.const 0) (i32.const 0)"),
        send(NONE, "(i32.const 2) (i32.const 131072) (i32.const 1000)"),
        format!("(call $journal.record (i32.const 1) {NONE} {NONE} {LIST})"),
        format!("(call $journal.record (i32.const 1) {TEXT} {TEXT} {NONE})"),
    ] {
        let body = thousandfold(LONG) + &call + " unreachable";
        let plugin = plugin(&[("auth.status", &body), ("auth.forget", OK)]);
        stops(&plugin, "plugin-trapped").await;
    }
}

#[tokio::test]
async fn s63_a_result_that_names_one_long_string_again_and_again_is_stopped() {
    // An error whose code, summary, cause and remedy are the same 40 MiB.
    let body = thousandfold(LONG)
        + "(i32.store8 (i32.const 1024) (i32.const 1))
        (memory.copy (i32.const 1036) (i32.const 131072) (i32.const 32))
        (i32.const 1024)";
    let plugin = plugin(&[("auth.status", &body), ("auth.forget", OK)]);
    stops(&plugin, "plugin-trapped").await;
}

/// Calls `status` with a body, and expects no fault of it.
async fn is_endured(body: &str) -> std::sync::Arc<World> {
    let body = format!("{LARGE} {body} {OK}");
    let plugin = plugin(&[("auth.status", &body)]);
    let (connection, world) = connect(&plugin, quick());
    connection.status().await.expect("no fault");
    world
}

#[tokio::test]
async fn s63_a_giant_string_is_one_failure() {
    // A failure's discriminant is 1.
    let fails = "(if (i32.ne (i32.load8_u (i32.const 2048)) (i32.const 1)) (then unreachable))";
    for call in [
        format!("(call $store.get {TEXT} (i32.const 2048))"),
        format!("(call $store.put {TEXT} {TEXT} (i32.const 0) (i64.const 0) (i32.const 2048))")
            .replacen(TEXT, "(i32.const 1048576) (i32.const 65)", 1),
        format!("(call $store.delete {TEXT} (i64.const 0) (i32.const 2048))"),
        format!(
            "(call $http.send {NONE} {TEXT} {NONE} (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 1000) (i32.const 2048))"
        ),
        format!(
            "(call $http.send {TEXT} {NONE} {NONE} (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 1000) (i32.const 2048))"
        ),
    ] {
        let fill = "(memory.fill (i32.const 1048576) (i32.const 97) (i32.const 41943040))";
        let world = is_endured(&format!("{fill} {call} {fails}")).await;
        assert!(world.sent.lock().expect("unpoisoned").is_empty());
    }
}

#[tokio::test]
async fn s63_a_giant_event_is_shortened() {
    let fill = "(memory.fill (i32.const 1048576) (i32.const 97) (i32.const 20971520))";
    let half = "(i32.const 1048576) (i32.const 20971520)";
    let world = is_endured(&format!(
        "{fill} (call $journal.record (i32.const 3) {half} {half} {NONE})"
    ))
    .await;
    let journal = world.journal.lock().expect("unpoisoned");
    assert_eq!(
        (journal[0].code.len(), journal[0].message.len()),
        (64, 2048)
    );
}

#[tokio::test]
async fn s63_a_journal_full_of_large_events_is_stopped() {
    // 32 fields of 2 KiB each.
    let fields = "(i32.store (i32.load (i32.const 4096)) (i32.const 1048576))
        (i32.store offset=4 (i32.load (i32.const 4096)) (i32.const 2048))
        (i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (i32.const 8)))";
    let body = thousandfold(fields)
        + "(loop
            (call $journal.record (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 131072) (i32.const 32))
            (br 0)) unreachable";
    let plugin = plugin(&[("auth.status", &body), ("auth.forget", OK)]);
    let world = stops(&plugin, "too-many-host-calls").await;
    let journal = world.journal.lock().expect("unpoisoned");
    let size = |event: &procore_auth_host::Event| -> usize {
        event
            .fields
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum()
    };
    let written: usize = journal.iter().map(size).sum();
    assert!((400_000..=512_000).contains(&written), "{written} bytes");
}

#[tokio::test]
async fn s63_holding_more_than_memory_has_room_for_is_stopped() {
    // A thousand keys, each with 8 MiB.
    let hostile = Hostile {
        fields: r#"(data (i32.const 8192) "k000")"#,
        ..Hostile::new(&[
            (
                "auth.status",
                "(drop (memory.grow (i32.const 200)))
                (call $store.lock (i64.const 0) (i32.const 2048))
                (loop
                    (drop (call $store.hold (i32.const 8192) (i32.const 4) (i32.const 1048576) (i32.const 8388608) (i32.const 0) (i64.const 0)))
                    (i32.store8 (i32.const 8195) (i32.add (i32.load8_u (i32.const 8195)) (i32.const 1)))
                    (br 0)) unreachable",
            ),
            ("auth.forget", OK),
        ])
    };
    let (connection, world) = connect(&load(&hostile), quick());
    let error = connection.status().await.expect_err("stopped");
    assert_eq!(error.code(), "plugin-out-of-memory");
    connection.forget().await.expect("the next call works");
    assert!(world.codes().contains(&"plugin-out-of-memory".to_owned()));
}

/// Sends one request to the API, and returns.
fn asking() -> (String, &'static str) {
    let body = "(call $http.send (i32.const 8192) (i32.const 3) (i32.const 8195) (i32.const 40) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 1000) (i32.const 2048))
        (call $journal.record (i32.const 1)
            (i32.load (i32.const 2052)) (i32.load (i32.const 2056))
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))";
    (
        format!("{body} {OK}"),
        r#"(data (i32.const 8192) "GEThttps://sandbox.procore.com/rest/v1.0/me")"#,
    )
}

#[tokio::test]
async fn s63_a_giant_reply_is_one_failure_whatever_the_client_does() {
    let (body, fields) = asking();
    let hostile = Hostile {
        fields,
        ..Hostile::new(&[("auth.status", &body)])
    };
    let plugin: Plugin = load(&hostile);
    let limits: Limits = quick();
    let (connection, world) = connect(&plugin, limits.clone());
    // A client that keeps to no limit.
    *world.reply.lock().expect("unpoisoned") =
        http::Response::new(vec![b'a'; limits.reply_size + 1]);
    connection
        .status()
        .await
        .expect("the component's to deal with");
    assert_eq!(world.codes(), ["reply-too-large"]);
}

#[test]
fn the_large_memory_is_within_the_limit() {
    assert!(SIZE < Limits::default().memory);
}
