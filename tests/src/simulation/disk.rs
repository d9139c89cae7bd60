//! What is durable: entries with two generations, as the host's `FileStore` keeps them.

use std::{collections::BTreeMap, sync::Arc};

use memchr::memmem;
use procore_auth_host::{Entry, Key, Provenance, Write};

/// The durable content of a connection's store.
///
/// Keeps the promises of a store: a write is whole or not at all, a revision is never used twice; where the newest generation is
/// torn, or an older file was put in its place, the generation before is served and said to be so; and a copy of everything that
/// was put back is known for one until it is written.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    slots: BTreeMap<Key, Slot>,
    last_revision: u64,
    backup: BTreeMap<Key, Slot>,
}

#[derive(Debug, Clone)]
struct Slot {
    /// `None` where it is torn.
    current: Option<Version>,
    previous: Option<Version>,
    /// Whether another installation wrote it.
    copied: bool,
}

#[derive(Debug, Clone)]
struct Version {
    revision: u64,
    value: Arc<[u8]>,
}

impl Slot {
    fn visible(&self) -> Option<&Version> {
        let revision = |version: &&Version| version.revision;
        let versions = [self.current.as_ref(), self.previous.as_ref()];
        versions.into_iter().flatten().max_by_key(revision)
    }

    fn provenance(&self, shown: &Version) -> Provenance {
        let is_current = |current: &Version| current.revision == shown.revision;
        match &self.current {
            Some(current) if is_current(current) && self.copied => Provenance::Copied,
            Some(current) if is_current(current) => Provenance::Newest,
            _ => Provenance::Previous,
        }
    }

    /// The one place in which an entry is made.
    fn entry(&self) -> Option<Entry> {
        self.visible().map(|version| Entry {
            value: version.value.to_vec(),
            revision: version.revision,
            provenance: self.provenance(version),
        })
    }
}

impl Disk {
    pub(crate) fn get(&self, key: &Key) -> Option<Entry> {
        self.slots.get(key)?.entry()
    }

    pub(crate) fn put(&mut self, key: &Key, value: &[u8], expected: Option<u64>) -> Write {
        let found = self.revision(key);
        if found != expected {
            return Write::Conflict(self.get(key));
        }
        let revision = self.reserve();
        self.write(key, value, revision);
        Write::Stored(revision)
    }

    /// Begins a write as [`Disk::put`] does, and leaves a torn file. Says whether it came that far.
    pub(crate) fn tear(&mut self, key: &Key, expected: Option<u64>) -> bool {
        if self.revision(key) != expected {
            return false;
        }
        self.reserve();
        let Some(slot) = self.slots.get_mut(key) else {
            return false;
        };
        slot.previous = slot.visible().cloned();
        slot.current = None;
        true
    }

    pub(crate) fn delete(&mut self, key: &Key, expected: u64) -> Write {
        if self.revision(key) != Some(expected) {
            return Write::Conflict(self.get(key));
        }
        self.slots.remove(key);
        Write::Stored(expected)
    }

    pub(crate) fn list(&self, prefix: &str) -> Vec<Key> {
        let keys = self.slots.keys();
        keys.filter(|key| key.as_str().starts_with(prefix))
            .cloned()
            .collect()
    }

    /// Returns a revision that no entry has had.
    pub(crate) fn reserve(&mut self) -> u64 {
        self.last_revision += 1;
        self.last_revision
    }

    /// Writes whatever is there.
    pub(crate) fn write(&mut self, key: &Key, value: &[u8], revision: u64) {
        let before = self.slots.remove(key);
        let slot = Slot {
            previous: before.and_then(|slot| slot.visible().cloned()),
            current: Some(Version {
                revision,
                value: value.into(),
            }),
            copied: false,
        };
        self.slots.insert(key.clone(), slot);
    }

    /// Returns the revision of what a read shows.
    pub(crate) fn revision(&self, key: &Key) -> Option<u64> {
        Some(self.slots.get(key)?.visible()?.revision)
    }

    /// Returns the text that a read of the key shows; empty where there is none.
    pub(crate) fn text(&self, key: &str) -> &str {
        let slot = self.slots.iter().find(|(name, _)| name.as_str() == key);
        slot.and_then(|(_, slot)| slot.visible())
            .map_or("", |version| text(&version.value))
    }

    /// Whether an entry that can be read holds the text.
    pub(crate) fn holds(&self, wanted: &str) -> bool {
        let wanted = memmem::Finder::new(wanted);
        self.slots
            .values()
            .filter_map(Slot::visible)
            .any(|version| wanted.find(&version.value).is_some())
    }

    /// Copies everything.
    pub(crate) fn back_up(&mut self) {
        self.backup = self.slots.clone();
    }

    /// Puts the copy of one entry's file back, with the revision that it had.
    pub(crate) fn restore_file(&mut self, key: &str) {
        let backup = &self.backup;
        let slot = self.slots.iter_mut().find(|(name, _)| name.as_str() == key);
        if let Some((name, slot)) = slot
            && let Some(copy) = backup.get(name)
        {
            slot.current.clone_from(&copy.current);
        }
    }

    /// Puts the copies of both generations of one entry back.
    pub(crate) fn restore(&mut self, key: &str) {
        let copy = self.backup.iter().find(|(name, _)| name.as_str() == key);
        if let Some((key, slot)) = copy {
            self.slots.insert(key.clone(), slot.clone());
        }
    }

    /// Puts the copy of everything back, as a folder that is made anew.
    pub(crate) fn restore_all(&mut self) {
        self.slots = self.backup.clone();
        for slot in self.slots.values_mut() {
            slot.copied = true;
        }
    }
}

fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use procore_auth_host::{Key, Provenance, Write};

    use super::Disk;

    #[test]
    fn the_generation_before_a_torn_one_is_served() {
        let key = Key::new("session").expect("a key");
        let mut disk = Disk::default();
        assert_eq!(disk.put(&key, b"one", None), Write::Stored(1));
        assert!(disk.tear(&key, Some(1)));
        let entry = disk.get(&key).expect("recovered");
        assert_eq!(
            (entry.revision, entry.provenance),
            (1, Provenance::Previous)
        );
        assert!(matches!(disk.put(&key, b"x", Some(2)), Write::Conflict(_)));
        assert_eq!(disk.put(&key, b"three", Some(1)), Write::Stored(3));
        let entry = disk.get(&key).expect("whole");
        assert_eq!(entry.provenance, Provenance::Newest);
    }

    #[test]
    fn a_backup_brings_back_what_was() {
        let key = Key::new("session").expect("a key");
        let mut disk = Disk::default();
        disk.put(&key, b"old", None);
        disk.back_up();
        disk.put(&key, b"new", Some(1));
        disk.restore("session");
        assert!(disk.holds("old") && !disk.holds("new"));
        assert_eq!(disk.put(&key, b"newer", Some(1)), Write::Stored(3));
        disk.restore_all();
        let provenance = |disk: &Disk| disk.get(&key).expect("there").provenance;
        assert_eq!(provenance(&disk), Provenance::Copied);
        assert_eq!(disk.put(&key, b"mine", Some(1)), Write::Stored(4));
        assert_eq!(provenance(&disk), Provenance::Newest);
    }

    #[test]
    fn an_older_file_does_not_hide_the_newer_generation_before() {
        let key = Key::new("session").expect("a key");
        let mut disk = Disk::default();
        disk.put(&key, b"one", None);
        disk.back_up();
        disk.put(&key, b"two", Some(1));
        disk.put(&key, b"three", Some(2));
        disk.restore_file("session");
        let entry = disk.get(&key).expect("there");
        assert_eq!(
            (&*entry.value, entry.provenance),
            (&b"two"[..], Provenance::Previous)
        );
    }
}
