//! The journal that all workers of a run share, read while they write.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use serde_json::Value;

use super::worker::{FAILED, READY};

/// The events so far.
pub struct Events {
    path: PathBuf,
    read: u64,
    /// How many alerts there were, by code.
    pub alerts: BTreeMap<String, usize>,
    /// How many errors workers met, by code.
    pub errors: BTreeMap<String, usize>,
    /// How many events of other kinds there were, by code.
    pub others: BTreeMap<String, usize>,
    /// Who has begun to work, and when by the run's clock.
    pub ready: HashMap<String, u64>,
}

impl Events {
    /// Follows a file, which need not be there yet.
    pub fn of(path: PathBuf) -> Self {
        Self {
            path,
            read: 0,
            alerts: BTreeMap::new(),
            errors: BTreeMap::new(),
            others: BTreeMap::new(),
            ready: HashMap::new(),
        }
    }

    /// Reads what is new. Fails where a line is torn: nobody writes meanwhile.
    pub fn read(&mut self) -> Result<(), String> {
        let Ok(mut file) = File::open(&self.path) else {
            return Ok(());
        };
        let mut text = String::new();
        file.seek(SeekFrom::Start(self.read))
            .and_then(|_| file.read_to_string(&mut text))
            .map_err(|error| error.to_string())?;
        self.read += text.len() as u64;
        for line in text.lines() {
            let event = serde_json::from_str(line)
                .map_err(|error| format!("a torn line in the journal: {error}: {line}"))?;
            self.take(&event);
        }
        Ok(())
    }

    fn take(&mut self, event: &Value) {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let code = text("code");
        if code == READY {
            let at = event["fields"]["at"].as_str().unwrap_or_default();
            self.ready
                .insert(text("connection"), at.parse().unwrap_or_default());
        } else if code == FAILED {
            let error = event["fields"]["code"].as_str().unwrap_or_default();
            *self.errors.entry(error.to_owned()).or_default() += 1;
        } else if text("severity") == "alert" {
            *self.alerts.entry(code).or_default() += 1;
        } else {
            *self.others.entry(code).or_default() += 1;
        }
    }
}
