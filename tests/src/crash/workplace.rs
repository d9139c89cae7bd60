//! What all workers of a run have in common, and how they hear of it.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use procore_auth_host::{FileStore, HttpsClient, Plugin, internals};
use serde::{Deserialize, Serialize};

use crate::{Rig, fast_clock::Pace, rig::SANDBOX};

/// What all workers of a run have in common. It is in a file of the driver's.
#[derive(Debug, Serialize, Deserialize)]
pub struct Workplace {
    /// The root of the store.
    pub store: PathBuf,
    /// What [`Plugin::precompile`] made: to compile it takes longer than many a worker lives.
    pub plugin: PathBuf,
    /// The journal, shared by all.
    pub journal: PathBuf,
    /// Whom to trust.
    ca_pem: String,
    /// Where the hosts are, as `host:port=address:port`.
    connect_to: Vec<String>,
    /// The time.
    pub pace: Pace,
}

impl Workplace {
    /// Prepares a private folder for workers. Returns what they have in common, and the file in which they find it.
    pub fn prepare(home: &Path, rig: &Rig, pace: Pace) -> (Self, PathBuf) {
        let overrides = rig.procore.connect_to().into_iter();
        let workplace = Self {
            store: home.join("store"),
            plugin: home.join("plugin"),
            journal: home.join("journal.jsonl"),
            ca_pem: rig.procore.ca_pem().to_owned(),
            connect_to: overrides.map(|(from, to)| format!("{from}={to}")).collect(),
            pace,
        };
        let plugin = Plugin::precompile().expect("compiles");
        write_private(&workplace.plugin, &plugin);
        let file = home.join("workplace.json");
        let text = serde_json::to_vec(&workplace).expect("JSON");
        write_private(&file, &text);
        (workplace, file)
    }

    /// Reads what the driver prepared.
    pub fn read(file: &Path) -> Self {
        let text = fs::read(file).expect("readable");
        serde_json::from_slice(&text).expect("a workplace")
    }

    /// Makes the client that knows the way to the server.
    pub fn client(&self) -> HttpsClient {
        let overrides = self.connect_to.iter();
        HttpsClient::builder()
            .extra_ca_pem(self.ca_pem.clone().into_bytes())
            .connect_to(overrides.map(|text| text.parse().expect("an override")))
            .build()
            .expect("a client")
    }

    /// Opens the store.
    pub fn open_store(&self) -> FileStore {
        let name = Rig::settings(SANDBOX).name;
        FileStore::open(&self.store, &name).expect("a store")
    }
}

fn write_private(path: &Path, bytes: &[u8]) {
    let mut file = internals::create_new(path).expect("a file");
    file.write_all(bytes).expect("written");
}
