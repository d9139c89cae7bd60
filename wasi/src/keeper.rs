//! Whether a native keeper keeps the connection alive: it leaves signs of life beside the store (the host's `heartbeat.rs`).

use procore_auth_lending::ConnectionName;
use serde::Deserialize;

use crate::folder::Folder;

const FOLDER: &str = ".keeper";

/// Longer than any sign.
const LONGEST: usize = 4096;

#[derive(Deserialize)]
struct Beat {
    who: String,
    at: u64,
    next_by: u64,
    #[serde(default)]
    stopped: bool,
}

impl Beat {
    /// A sign from further ahead than its own promise is the mark of a clock that was set back.
    fn is_alive(&self, now: u64) -> bool {
        let promise = self.next_by.saturating_sub(self.at);
        !self.stopped && now <= self.next_by && self.at <= now.saturating_add(promise)
    }
}

/// Returns who keeps the connection alive, if anybody does. `root` is the folder of the stores.
pub(crate) fn alive(root: &Folder, name: &ConnectionName, now: u64) -> Option<String> {
    let own = |kind: &str| format!("{FOLDER}/{name}.{kind}.json");
    let all = |kind: &str| format!("{FOLDER}/{kind}.json");
    let files = [all("run"), all("tick"), own("run"), own("tick")];
    files.iter().find_map(|file| {
        let bytes = root.read(file, LONGEST).ok()??;
        let beat: Beat = serde_json::from_slice(&bytes).ok()?;
        beat.is_alive(now).then_some(beat.who)
    })
}
