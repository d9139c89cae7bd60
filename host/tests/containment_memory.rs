//! What hostile components cost the host in memory: the process's peak, attack by attack. Alone in its process, since what runs
//! beside it would count too.
#![cfg(target_os = "linux")]

#[path = "containment/hostile.rs"]
#[expect(dead_code, reason = "the tests of containment use all of it")]
mod hostile;
#[path = "containment/world.rs"]
#[expect(dead_code, reason = "the tests of containment use all of it")]
mod world;

use std::{fs, time::Duration};

use hostile::{FORGET, OK, plugin};
use procore_auth_host::Limits;
use world::{connect, quick};

const MIB: u64 = 1 << 20;

/// Returns a figure of this process's memory, in bytes.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    figure.expect("a figure") * 1024
}

/// Forgets the peak so far; `false` where the kernel does not do that.
fn forget_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// 40 MiB of text, and a list of 4000 strings, each of which is all of it.
const ALL: &str = "(drop (memory.grow (i32.const 764)))
    (memory.fill (i32.const 1048576) (i32.const 97) (i32.const 41943040))
    (i32.store (i32.const 4096) (i32.const 131072))
    (loop
        (i32.store (i32.load (i32.const 4096)) (i32.const 1048576))
        (i32.store offset=4 (i32.load (i32.const 4096)) (i32.const 41943040))
        (i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (i32.const 8)))
        (br_if 0 (i32.lt_u (i32.load (i32.const 4096)) (i32.const 163840))))";

/// A flood of giants: which limit ends it depends on the machine.
const EITHER: &[&str] = &["too-many-host-calls", "plugin-out-of-time"];

/// What each does, and the codes that it can end with.
const ATTACKS: [(&str, &str, &[&str]); 8] = [
    (
        "memory bomb",
        "(loop
            (drop (memory.grow (i32.const 16)))
            (memory.fill (i32.shl (i32.sub (memory.size) (i32.const 16)) (i32.const 16)) (i32.const 1) (i32.const 1048576))
            (br 0)) unreachable",
        &["plugin-out-of-memory"],
    ),
    (
        "headers that name one text",
        "(call $http.send (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 131072) (i32.const 2000)
            (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 1000) (i32.const 2048)) unreachable",
        &["plugin-trapped"],
    ),
    (
        "fields that name one text",
        "(call $journal.record (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 131072) (i32.const 2000)) unreachable",
        &["plugin-trapped"],
    ),
    (
        "giant keys",
        "(loop (call $store.get (i32.const 1048576) (i32.const 41943040) (i32.const 2048)) (br 0)) unreachable",
        EITHER,
    ),
    (
        "giant entries",
        "(loop (call $store.put (i32.const 1048576) (i32.const 1) (i32.const 1048576) (i32.const 41943040)
            (i32.const 0) (i64.const 0) (i32.const 2048)) (br 0)) unreachable",
        EITHER,
    ),
    (
        "giant URLs",
        "(loop (call $http.send (i32.const 0) (i32.const 0) (i32.const 1048576) (i32.const 41943040)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 1000) (i32.const 2048))
            (br 0)) unreachable",
        EITHER,
    ),
    (
        "entries to be held",
        "(call $store.lock (i64.const 0) (i32.const 2048))
        (loop
            (i32.store8 (i32.const 8192) (i32.add (i32.const 97) (i32.rem_u (i32.load (i32.const 4100)) (i32.const 26))))
            (i32.store8 (i32.const 8193) (i32.add (i32.const 97) (i32.div_u (i32.load (i32.const 4100)) (i32.const 26))))
            (i32.store (i32.const 4100) (i32.add (i32.load (i32.const 4100)) (i32.const 1)))
            (drop (call $store.hold (i32.const 8192) (i32.const 2) (i32.const 1048576) (i32.const 4194304)
                (i32.const 0) (i64.const 0)))
            (br 0)) unreachable",
        &["plugin-out-of-memory"],
    ),
    (
        "events",
        "(loop (call $journal.record (i32.const 3) (i32.const 1048576) (i32.const 4096) (i32.const 1048576)
            (i32.const 4096) (i32.const 0) (i32.const 0)) (br 0)) unreachable",
        &["too-many-host-calls"],
    ),
];

#[test]
fn s63_no_attack_takes_more_than_a_few_times_what_a_call_may_have() {
    if !forget_peak() {
        #[expect(clippy::print_stderr, reason = "says what is not shown here")]
        {
            eprintln!("skipped: this kernel does not forget a process's peak");
        }
        return;
    }
    let limit = Limits::default().memory as u64;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut figures = Vec::new();
    for (attack, call, codes) in ATTACKS {
        let body = format!("{ALL} {FORGET} {call}");
        let plugin = plugin(&[("auth.status", &body), ("auth.forget", OK)]);
        let mut limits = quick();
        limits.compute = Duration::from_secs(1);
        let (connection, _) = connect(&plugin, limits);
        assert!(forget_peak());
        let before = memory("VmRSS:");
        let error = runtime
            .block_on(connection.status())
            .expect_err("it is stopped");
        let grown = memory("VmHWM:").saturating_sub(before);
        assert!(codes.contains(&error.code()), "{attack}: {error}");
        runtime
            .block_on(connection.forget())
            .expect("the next call works");
        figures.push(format!("{attack}: {} MiB", grown / MIB));
        assert!(
            grown < 3 * limit,
            "{attack} took {} MiB: {figures:?}",
            grown / MIB
        );
    }
    // The first is the measure's own: it fills all that a call may have.
    println!("{}", figures.join("\n"));
}
