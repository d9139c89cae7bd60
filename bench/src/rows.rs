//! The rows of the table, one file for each thing that is measured.

mod api_call;
mod cached_token;
mod component_size;
mod first_token;
mod hand_over;
mod keeper;
mod token_from_wasm;
mod whole_process;

use std::{path::PathBuf, sync::Arc};

use fake_procore::{Options, Policy, RateLimit, VirtualClock};
use procore_auth_host::{Connection, ConnectionBuilder, MemoryStore, Plugin};
use procore_auth_tests::{Rig, rig::SANDBOX};
use tokio::runtime::Runtime;

use crate::table::Row;

/// What the rows are measured with.
pub(crate) struct Bench {
    /// The `procore-auth` program.
    pub(crate) program: PathBuf,
    /// The interpreter of an environment in which `requests` is installed.
    pub(crate) python: PathBuf,
    /// How often ours and the baseline take turns.
    pub(crate) rounds: usize,
    /// Two threads, as the machine that is aimed at has cores.
    pub(crate) runtime: Runtime,
}

type Measure = fn(&Bench) -> anyhow::Result<Vec<Row>>;

/// All rows, by the name that `--only` takes.
pub(crate) const ALL: [(&str, Measure); 8] = [
    ("cached-token", cached_token::measure),
    ("token-from-wasm", token_from_wasm::measure),
    ("first-token", first_token::measure),
    ("api-call", api_call::measure),
    ("whole-process", whole_process::measure),
    ("component-size", component_size::measure),
    ("hand-over", hand_over::measure),
    ("keeper", keeper::measure),
];

impl Bench {
    /// Starts the stand-in for Procore, with the machine's time and no rate limit.
    fn rig(&self) -> Rig {
        let unlimited = RateLimit {
            hourly: u32::MAX,
            ten_seconds: u32::MAX,
        };
        let options = Options {
            policy: Policy {
                rate_limit: unlimited,
                ..Policy::default()
            },
            ..Options::demo()
        };
        self.runtime
            .block_on(Rig::with(options, VirtualClock::at(0)))
    }
}

/// Begins a connection to the stand-in, with the machine's time and a store in memory.
fn builder(plugin: &Plugin, rig: &Rig) -> ConnectionBuilder {
    Connection::builder(plugin, Rig::settings(SANDBOX))
        .http(Arc::new(rig.http.clone()))
        .store(Arc::new(MemoryStore::new()))
}
