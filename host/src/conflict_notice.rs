//! When people were told last that somebody writes a store without its lock.
//!
//! It stands in the store itself, so that processes know of each other's alerts. It is told before that is noted: a crash in between, or
//! a store that fails, costs one alert more and never the only one.

use crate::{Key, Severity, Store, StoreFailure};

/// The entry: the moment in milliseconds, as decimal digits.
const KEY: &str = "conflict-told";

/// After how long it is told again, in milliseconds.
const AGAIN: u64 = 24 * 3_600_000;

/// What is known of the last time.
#[derive(Debug, Default)]
pub(crate) struct ConflictNotice {
    told_at: Option<u64>,
    revision: Option<u64>,
}

impl ConflictNotice {
    /// Reads what stands in the store. What cannot be read was not told.
    pub(crate) async fn read(store: &dyn Store) -> Self {
        let Ok(Some(entry)) = Self::entry(store).await else {
            return Self::default();
        };
        let told_at = std::str::from_utf8(&entry.value).ok();
        Self {
            told_at: told_at.and_then(|digits| digits.parse().ok()),
            revision: Some(entry.revision),
        }
    }

    /// Returns how a conflict is to be told now: as an alert once a day, otherwise as a warning.
    pub(crate) fn severity(&self, now: u64) -> Severity {
        match self.told_at {
            Some(told_at) if now.abs_diff(told_at) < AGAIN => Severity::Warning,
            _ => Severity::Alert,
        }
    }

    /// Notes that it was told as an alert. Not to have noted it, or to have lost a race, costs one alert more.
    pub(crate) async fn note(self, store: &dyn Store, now: u64) {
        if let Ok(key) = Key::new(KEY) {
            let _ = store
                .put(&key, now.to_string().as_bytes(), self.revision)
                .await;
        }
    }

    async fn entry(store: &dyn Store) -> Result<Option<crate::Entry>, StoreFailure> {
        store.get(&Key::new(KEY)?).await
    }
}

#[cfg(test)]
mod tests {
    use super::{AGAIN, ConflictNotice, KEY};
    use crate::{Key, MemoryStore, Severity, Store as _};

    const NOW: u64 = 1_800_000_000_000;

    #[tokio::test]
    async fn a_conflict_is_an_alert_once_a_day_for_all_who_share_the_store() {
        let store = MemoryStore::new();
        for day in [NOW, NOW + AGAIN] {
            let untold = ConflictNotice::read(&store).await;
            assert_eq!(untold.severity(day), Severity::Alert);
            untold.note(&store, day).await;
            let told = ConflictNotice::read(&store).await;
            assert_eq!(told.severity(day + AGAIN - 1), Severity::Warning);
        }
    }

    #[tokio::test]
    async fn what_is_no_moment_was_not_told_and_is_replaced() {
        let store = MemoryStore::new();
        let key = Key::new(KEY).expect("valid");
        store.put(&key, b"\xff", None).await.expect("put");
        let unread = ConflictNotice::read(&store).await;
        assert_eq!(unread.severity(NOW), Severity::Alert);
        unread.note(&store, NOW).await;
        let told = ConflictNotice::read(&store).await;
        assert_eq!(told.severity(NOW), Severity::Warning);
    }
}
