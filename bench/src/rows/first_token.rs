//! The first token after the component was loaded from a file: what a program waits for that starts and asks.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use procore_auth_host::{MemoryStore, Plugin};
use procore_auth_tests::{Rig, component, plugin};

use super::{Bench, builder};
use crate::{
    empty_component,
    table::{Aim, Row, Unit, seconds},
    timed,
};

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let rig = bench.rig();
    let store = Arc::new(MemoryStore::new());
    bench.runtime.block_on(async {
        let connection = builder(plugin(), &rig).store(store.clone()).build()?;
        rig.sign_in(&connection).await;
        anyhow::Ok(())
    })?;
    let folder = tempfile::tempdir()?;
    let empty = folder.path().join("empty.wasm");
    std::fs::write(&empty, empty_component::encoded())?;
    let compiled = |file: &Path| Plugin::from_file(file).expect("a plugin");
    let loader = Plugin::loader().cached_in(folder.path().join("compiled"));
    let kept = |file: &Path| loader.load_file(file).expect("a plugin");
    let row = |how: &str, load: &dyn Fn(&Path) -> Plugin, aim| {
        let turns = timed::in_turns(
            bench.rounds,
            &mut |times| first_tokens(bench, &rig, &store, times, || load(&component::path())),
            &mut |times| first_tokens(bench, &rig, &store, times, || load(&empty)),
        )?;
        anyhow::Ok(Row {
            what: format!("first token after the component was loaded from a file, {how}"),
            ours: seconds(turns.ours().median()),
            baseline: format!("empty component: {}", seconds(turns.baseline().median())),
            result: turns.ratio(),
            unit: Unit::Times,
            aim,
        })
    };
    Ok(vec![
        row("compiled earlier", &kept, Some(Aim::AtMost(1.5)))?,
        row("compiled now", &compiled, None)?,
    ])
}

/// Loads and asks; what was loaded is dropped when the watch stands.
fn first_tokens(
    bench: &Bench,
    rig: &Rig,
    store: &Arc<MemoryStore>,
    times: u64,
    load: impl Fn() -> Plugin,
) -> Duration {
    let first_token = || {
        let start = Instant::now();
        let plugin = load();
        let connection = builder(&plugin, rig).store(store.clone()).build();
        let connection = connection.expect("complete");
        let token = bench.runtime.block_on(connection.access_token());
        token.expect("a token");
        start.elapsed()
    };
    (0..times).map(|_| first_token()).sum()
}
