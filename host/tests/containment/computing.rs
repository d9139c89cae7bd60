//! What a component computes and takes by itself: time, memory, tables, stack, instances.

use std::time::Duration;

use procore_auth_host::{LoadError, Plugin};

use crate::{
    hostile::{Hostile, OK, load, plugin},
    world::{connect, is_stopped, quick, stops},
};

#[tokio::test]
async fn s63_an_endless_loop_is_stopped() {
    is_stopped("(loop (br 0)) unreachable", "plugin-out-of-time").await;
}

#[tokio::test]
async fn s63_an_endless_loop_starves_nobody() {
    let plugin = plugin(&[("auth.status", "(loop (br 0)) unreachable")]);
    let (connection, _) = connect(&plugin, quick());
    // On the single thread of this test, the timer can only win if the loop yields.
    let looping = connection.status();
    let timer = tokio::time::timeout(Duration::from_millis(150), looping).await;
    assert!(timer.is_err());
}

#[tokio::test]
async fn s63_an_endless_loop_of_many_small_host_calls_is_computing_too() {
    // Whoever calls the host now and then computes between the calls all the same.
    let body = "(loop
        (call $store.unlock)
        (i32.store (i32.const 4096) (i32.const 0x7fffffff))
        (loop
            (i32.store (i32.const 4096) (i32.sub (i32.load (i32.const 4096)) (i32.const 1)))
            (br_if 0 (i32.load (i32.const 4096))))
        (br 0)) unreachable";
    is_stopped(body, "plugin-out-of-time").await;
}

#[tokio::test]
async fn s63_an_endless_loop_at_the_start_is_stopped() {
    let bodies = [("auth.status", OK)];
    let hostile = Hostile {
        fields: "(func $start (loop (br 0))) (start $start)",
        ..Hostile::new(&bodies)
    };
    let (connection, _) = connect(&load(&hostile), quick());
    let error = connection.status().await.expect_err("stopped");
    assert_eq!(error.code(), "plugin-out-of-time");
}

#[tokio::test]
async fn s63_a_memory_bomb_is_stopped() {
    is_stopped(
        "(loop (drop (memory.grow (i32.const 16))) (br 0)) unreachable",
        "plugin-out-of-memory",
    )
    .await;
}

#[tokio::test]
async fn s63_a_memory_that_is_too_large_from_the_start_is_refused() {
    let bodies = [("auth.status", OK)];
    let of_pages = |pages| Hostile {
        pages,
        ..Hostile::new(&bodies)
    };
    // More than a call may have, and less than the engine could give.
    let (connection, _) = connect(&load(&of_pages(2000)), quick());
    let error = connection.status().await.expect_err("stopped");
    assert_eq!(error.code(), "plugin-out-of-memory");
    // More than the engine could give: refused when it is loaded, or called where there is no pool.
    match Plugin::from_bytes(&of_pages(60_000).encoded()) {
        Err(LoadError::Invalid { reason }) => assert!(reason.contains("memory"), "{reason}"),
        Err(other) => panic!("{other:?}"),
        Ok(plugin) => {
            let (connection, _) = connect(&plugin, quick());
            connection.status().await.expect_err("stopped");
        }
    }
}

#[tokio::test]
async fn s63_a_table_bomb_is_stopped() {
    let body =
        "(loop (drop (table.grow $bomb (ref.null func) (i32.const 1000))) (br 0)) unreachable";
    let hostile = Hostile {
        fields: "(table $bomb 0 funcref)",
        ..Hostile::new(&[("auth.status", body), ("auth.forget", OK)])
    };
    stops(&load(&hostile), "plugin-out-of-memory").await;
}

#[tokio::test]
async fn s63_an_endless_recursion_is_a_trap() {
    let hostile = Hostile {
        fields: "(func $deep (call $deep))",
        ..Hostile::new(&[
            ("auth.status", "(call $deep) unreachable"),
            ("auth.forget", OK),
        ])
    };
    stops(&load(&hostile), "plugin-trapped").await;
}

#[tokio::test]
async fn s63_a_trap_is_one_error() {
    is_stopped("unreachable", "plugin-trapped").await;
}

#[tokio::test]
async fn s63_accesses_beyond_the_memory_are_a_trap() {
    for body in [
        "(i32.load (i32.const -4))",
        "(drop (i32.load (i32.const 0x10000000))) (i32.const 1024)",
        // A result, and what a call of the host hands over or asks for, beyond the memory.
        "(i32.const -8)",
        "(call $connection.settings (i32.const -8)) (i32.const 1024)",
        "(call $store.get (i32.const -8) (i32.const 64) (i32.const 2048)) (i32.const 1024)",
        "(call $store.get (i32.const 0) (i32.const -1) (i32.const 2048)) (i32.const 1024)",
        "(call $journal.record (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 1024)",
    ] {
        is_stopped(body, "plugin-trapped").await;
    }
}

/// A component with so many modules, tables or memories: instances, beside what the contract asks for.
fn crowded(modules: usize, module: &str) -> Vec<u8> {
    let parts: String = (0..modules)
        .map(|n| format!("(core module $m{n} {module}) (core instance (instantiate $m{n}))"))
        .collect();
    wat::parse_str(format!("(component {parts})")).expect("a component")
}

#[test]
fn s63_a_crowd_of_instances_tables_or_memories_is_refused() {
    for (modules, module, what) in [
        (900, "", "core module instances"),
        (1, &*"(table 1 funcref)".repeat(60), "tables"),
        (2, "(memory 1)", "memor"),
    ] {
        match Plugin::from_bytes(&crowded(modules, module)) {
            Err(LoadError::Invalid { reason }) => assert!(reason.contains(what), "{reason}"),
            // Without a pool, what is missing is told first.
            Err(LoadError::Contract { .. }) => {}
            other => panic!("{what}: {other:?}"),
        }
    }
}
