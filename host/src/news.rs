//! Which of the plugin's alerts are news.
//!
//! The plugin notes in the store what it has told. Where the store cannot be written it tells it at every call: within an hour, and
//! until a write or the connection works again, the same alert is no news.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// For how long an alert that comes again is no news.
const NEWS: Duration = Duration::from_secs(3600);

/// The alerts of late: what they told, and when on the scale of the elapsed time.
#[derive(Debug, Default)]
pub(crate) struct News(Mutex<BTreeMap<String, Duration>>);

impl News {
    /// Tells whether no such alert of the present incident was told of late; from now on it was. A worse stage is news of its own,
    /// and so is everything that is no incident.
    pub(crate) fn is_news(&self, code: &str, fields: &[(String, String)], now: Duration) -> bool {
        let Some((_, stage)) = fields.iter().find(|(name, _)| name == "stage") else {
            return true;
        };
        let mut told = self.told();
        told.retain(|_, at| now.saturating_sub(*at) < NEWS);
        match told.entry(format!("{code} {stage}")) {
            Entry::Occupied(_) => false,
            Entry::Vacant(untold) => {
                untold.insert(now);
                true
            }
        }
    }

    /// Forgets what was told: whatever comes now is news.
    pub(crate) fn forget(&self) {
        self.told().clear();
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<String, Duration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::News;

    const NOW: Duration = Duration::from_secs(17);

    fn incident(stage: &str) -> Vec<(String, String)> {
        vec![("stage".to_owned(), stage.to_owned())]
    }

    #[test]
    fn an_alert_that_comes_again_is_none_for_an_hour() {
        let news = News::default();
        let after = |minutes: u64| NOW + Duration::from_secs(60 * minutes);
        assert!(news.is_news("dns", &incident("working"), NOW));
        assert!(!news.is_news("dns", &incident("working"), after(59)));
        assert!(news.is_news("connect", &incident("working"), after(59)));
        assert!(news.is_news("dns", &incident("working"), after(60)));
    }

    #[test]
    fn a_worse_stage_is_told_too() {
        let news = News::default();
        for stage in ["working", "urgent", "dark"] {
            assert!(news.is_news("dns", &incident(stage), NOW));
            assert!(!news.is_news("dns", &incident(stage), NOW));
        }
    }

    #[test]
    fn what_works_again_and_what_is_no_incident_are_always_told() {
        let news = News::default();
        assert!(news.is_news("dns", &incident("dark"), NOW));
        news.forget();
        assert!(news.is_news("dns", &incident("dark"), NOW));
        for _ in 0..2 {
            assert!(news.is_news("request-dead-letter", &[], NOW));
        }
    }
}
