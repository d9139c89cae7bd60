//! A token from the plugin: a fresh instance, a call, a store in memory.

use std::time::{Duration, Instant};

use procore_auth_host::{Connection, Plugin};
use procore_auth_tests::{Rig, plugin};

use super::{Bench, builder};
use crate::{
    empty_component,
    table::{Aim, Row, Unit, seconds},
    timed,
};

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let rig = bench.rig();
    let (ours, baseline) = bench.runtime.block_on(connections(&rig))?;
    let turns = timed::in_turns(
        bench.rounds,
        &mut |times| asked(bench, &ours, times),
        &mut |times| asked(bench, &baseline, times),
    )?;
    Ok(vec![Row {
        what: "`access-token` through wasm, fresh instance, store in memory".to_owned(),
        ours: seconds(turns.ours().median()),
        baseline: format!("empty component: {}", seconds(turns.baseline().median())),
        result: turns.ratio(),
        unit: Unit::Times,
        aim: Some(Aim::AtMost(1.5)),
    }])
}

/// One with the plugin, and one with the component that does nothing.
async fn connections(rig: &Rig) -> anyhow::Result<(Connection, Connection)> {
    let ours = builder(plugin(), rig).build()?;
    rig.sign_in(&ours).await;
    let empty = Plugin::from_bytes(&empty_component::encoded())?;
    Ok((ours, builder(&empty, rig).build()?))
}

/// Never from the cache.
fn asked(bench: &Bench, connection: &Connection, times: u64) -> Duration {
    bench.runtime.block_on(async {
        let start = Instant::now();
        for _ in 0..times {
            let token = connection.stored_access_token().await;
            token.expect("a token");
        }
        start.elapsed()
    })
}
