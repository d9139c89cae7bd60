//! What the store's files hold at one moment, read without any lock and without the product's own code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use base64::Engine as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The entries that a connection without parked requests has.
const ENTRIES: [&str; 3] = ["session", "spent", "login"];

/// A look at the files. Nobody writes meanwhile.
pub struct Look {
    session: Value,
    /// The sessions of writes that were cut short after their last byte.
    unfinished: Vec<Value>,
    /// How many files of writes that were cut short there are.
    pub leftovers: usize,
}

impl Look {
    /// Reads the folder of a connection. Fails with what is wrong with the files.
    pub fn at(folder: &Path) -> Result<Self, String> {
        let names = names(folder)?;
        let session = fs::read(folder.join("session")).map_err(|error| error.to_string())?;
        let leftovers: Vec<_> = names.iter().filter(|name| is_leftover(name)).collect();
        let unfinished = leftovers
            .iter()
            .filter(|name| name.starts_with(".session."))
            .filter_map(|name| decode(&fs::read(folder.join(name)).ok()?).ok())
            .collect();
        Ok(Self {
            session: decode(&session).map_err(|why| format!("session: {why}"))?,
            unfinished,
            leftovers: leftovers.len(),
        })
    }

    #[cfg(test)]
    pub(super) fn of(session: Value) -> Self {
        Self {
            session,
            unfinished: Vec::new(),
            leftovers: 0,
        }
    }

    /// Whether the refresh token is there: in the tokens, or in a reply that waits to be read.
    pub fn holds(&self, refresh_token: &str) -> bool {
        holds(&self.session, refresh_token)
    }

    /// Whether a write that was cut short after its last byte holds a reply to this refresh token: whoever comes next finishes it.
    pub fn will_leave(&self, refresh_token: &str) -> bool {
        let mut unfinished = self.unfinished.iter();
        unfinished
            .any(|it| !it["reply"].is_null() && it["tokens"]["refresh_token"] == refresh_token)
    }

    /// Whether the store stands where it stood before this refresh token was sent, and nothing has come since.
    pub fn stands_before(&self, refresh_token: &str) -> bool {
        self.is_at(refresh_token) && !self.has_reply() && !self.will_leave(refresh_token)
    }

    /// Returns the current refresh token.
    pub fn refresh_token(&self) -> Option<&str> {
        self.session["tokens"]["refresh_token"].as_str()
    }

    /// Whether the current refresh token is this one.
    pub fn is_at(&self, refresh_token: &str) -> bool {
        self.refresh_token() == Some(refresh_token)
    }

    /// Whether a reply waits to be read.
    pub fn has_reply(&self) -> bool {
        !self.session["reply"].is_null()
    }

    /// Who wrote the intent, if there is one.
    pub fn intent_by(&self) -> Option<&str> {
        self.session["intent"]["by"].as_str()
    }

    /// Whether an intent names this refresh token as about to be spent.
    pub fn intends(&self, refresh_token: &str) -> bool {
        self.session["intent"]["spends"] == name(refresh_token)
    }

    /// Whether the server's last word about this refresh token is known, and that its reply was probably lost.
    pub fn has_given_up(&self, refresh_token: &str) -> bool {
        let verdict = &self.session["verdict"];
        let cause = verdict["diagnosis"]["cause"].as_str().unwrap_or_default();
        verdict["about"] == name(refresh_token) && cause.contains("no known outcome")
    }

    /// Whether the server has refused these credentials for good: a person must sign in.
    pub fn has_verdict(&self) -> bool {
        !self.session["verdict"].is_null()
    }

    /// Shows what may be shown: no secrets.
    pub fn outline(&self) -> String {
        let Value::Object(fields) = &self.session else {
            return "no object".to_owned();
        };
        let shown = ["intent", "verdict", "backoff", "incident", "refreshes"];
        let shown: BTreeMap<_, _> = fields
            .iter()
            .filter(|(name, _)| shown.contains(&name.as_str()))
            .collect();
        let reply = if self.has_reply() {
            "a reply"
        } else {
            "no reply"
        };
        format!("{reply}, {}", serde_json::json!(shown))
    }
}

/// How the session writes down a refresh token that it does not hold: `guest/src/secret.rs`.
fn name(refresh_token: &str) -> String {
    let digest = Sha256::digest(refresh_token);
    let digest = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
    format!("refresh-token:{digest}")
}

fn holds(session: &Value, refresh_token: &str) -> bool {
    let reply = session["reply"]["body"].as_str().unwrap_or_default();
    session["tokens"]["refresh_token"] == refresh_token || reply.contains(refresh_token)
}

/// Lists the files, each of which must be known and its owner's alone.
fn names(folder: &Path) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    for file in fs::read_dir(folder).map_err(|error| error.to_string())? {
        let file = file.map_err(|error| error.to_string())?;
        let name = file.file_name().to_string_lossy().into_owned();
        if !is_known(&name) {
            return Err(format!("an unknown file: {name}"));
        }
        let mode = file
            .metadata()
            .map(|data| data.permissions().mode() & 0o7777);
        if mode.as_ref().is_ok_and(|mode| *mode != 0o600) {
            return Err(format!("{name}: mode {mode:?}"));
        }
        names.insert(name);
    }
    Ok(names)
}

fn is_known(name: &str) -> bool {
    let entry = name.strip_suffix(".previous").unwrap_or(name);
    [".guard", ".install", ".lock"].contains(&name) || ENTRIES.contains(&entry) || is_leftover(name)
}

fn is_leftover(name: &str) -> bool {
    let parts: Vec<_> = name.split('.').collect();
    matches!(parts.as_slice(), ["", key, _, _] if ENTRIES.contains(key))
}

/// Reads an entry's file by the format that `host/src/file_store.rs` documents.
fn decode(file: &[u8]) -> Result<Value, String> {
    let end = file.iter().position(|byte| *byte == b'\n');
    let (header, value) = file.split_at(end.ok_or("no header")?);
    let value = &value[1..];
    let header: Value = serde_json::from_slice(header).map_err(|error| error.to_string())?;
    let digest: String = Sha256::digest(value)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if header["sha256"] != digest {
        return Err("the digest does not match".to_owned());
    }
    serde_json::from_slice(value).map_err(|error| error.to_string())
}
