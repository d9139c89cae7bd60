//! The host for Node, `examples/node`, in processes of its own.
//!
//! `cargo xtask test` installs its packages and builds its plugin; where that was not possible, the tests say so and are skipped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use fake_procore::{CredentialPair, Options};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    Rig, Tool, plugin,
    rig::REDIRECT_URI,
    tool::{CONNECTION, Running},
};

/// Returns the folder of the package.
pub fn folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("workspace").join("examples/node")
}

/// Tells whether the host for Node can be run here; otherwise says why not.
pub fn can_run() -> bool {
    let Err(why) = ready() else { return true };
    println!("skipped: {why}");
    false
}

fn ready() -> Result<(), String> {
    let script = folder().join("scripts/new-enough.js");
    match Command::new("node").arg(script).status() {
        Err(error) => return Err(format!("no Node: {error}")),
        Ok(status) if !status.success() => {
            return Err("Node is older than examples/node/package.json asks for".to_owned());
        }
        Ok(_) => {}
    }
    if !folder().join("node_modules/undici").is_dir() {
        return Err(
            "the packages of examples/node are not installed; run: cargo xtask test".to_owned(),
        );
    }
    assert_plugin_is_current();
    Ok(())
}

/// A plugin that was made from an older component would say nothing.
fn assert_plugin_is_current() {
    let _ = plugin();
    let component = folder().join("../../dist/procore-auth.wasm");
    let digest = Sha256::digest(fs::read(component).expect("built"));
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let manifest = fs::read_to_string(folder().join("plugin/manifest.json"));
    assert!(
        manifest.is_ok_and(|manifest| manifest.contains(&digest)),
        "examples/node/plugin is older than the component; run: cargo xtask test"
    );
}

/// Node in a home of its own, with settings for one connection to the fake.
pub struct NodeHost {
    /// The home, and what starts Node in it.
    pub tool: Tool,
    settings: String,
}

impl NodeHost {
    /// Prepares it. `state` is the folder of the store, relative to the home or not.
    pub fn on_fake(rig: &Rig, state: &str) -> Self {
        let procore = Arc::clone(&rig.procore);
        let tool = Tool::new("node", move || procore.secrets_issued()).with(
            "PROCORE_CLIENT_SECRET",
            Options::demo_client_secret(CredentialPair::Sandbox),
        );
        tool.write("ca.pem", rig.procore.ca_pem());
        let connect_to = rig.connect_to();
        let document = json!({
            "state": state,
            "extraCa": ["ca.pem"],
            "connectTo": connect_to,
            "name": CONNECTION,
            "environment": "sandbox",
            "clientId": Options::demo_client_id(CredentialPair::Sandbox),
            "redirectUri": REDIRECT_URI,
            "companyId": Options::DEMO_COMPANY,
            "policy": { "refreshJitter": 0 },
        });
        let settings = tool.write("settings.json", &document.to_string());
        Self { tool, settings }
    }

    /// Starts the package as a command.
    pub fn start(&self, words: &[&str]) -> Running {
        let cli = folder().join("cli.js");
        let cli = cli.to_str().expect("UTF-8");
        let arguments = [&[cli, "--settings", &self.settings], words].concat();
        self.tool.start(&arguments)
    }
}

/// Whether a process has a file open.
pub fn has_open(pid: u32, wanted: &Path) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let mut paths = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    paths.any(|path| path == wanted)
}
