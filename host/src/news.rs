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

/// What the plugin says of the state where calls fail; otherwise for how long they still work.
const DARK: &str = "calls do not work";

/// The alerts of late: what they told, and when on the scale of the elapsed time.
#[derive(Debug, Default)]
pub(crate) struct News(Mutex<BTreeMap<String, Duration>>);

impl News {
    /// Tells whether no such alert of the present incident was told of late; from now on it was. That calls work no more is news
    /// of its own, and so is everything that is no incident.
    pub(crate) fn is_news(&self, code: &str, fields: &[(String, String)], now: Duration) -> bool {
        let Some((_, state)) = fields.iter().find(|(name, _)| name == "state") else {
            return true;
        };
        let calls = if state == DARK { "fail" } else { "work" };
        let mut told = self.told();
        told.retain(|_, at| now.saturating_sub(*at) < NEWS);
        match told.entry(format!("{code}, calls {calls}")) {
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

    use super::{DARK, News};

    const NOW: Duration = Duration::from_secs(17);

    fn incident(state: &str) -> Vec<(String, String)> {
        vec![("state".to_owned(), state.to_owned())]
    }

    #[test]
    fn an_alert_that_comes_again_is_none_for_an_hour() {
        let news = News::default();
        let works = |minutes| incident(&format!("calls still work for {minutes} min"));
        let after = |minutes: u64| NOW + Duration::from_secs(60 * minutes);
        assert!(news.is_news("dns", &works(70), NOW));
        assert!(!news.is_news("dns", &works(11), after(59)));
        assert!(news.is_news("connect", &works(11), after(59)));
        assert!(news.is_news("dns", &works(10), after(60)));
    }

    #[test]
    fn that_calls_work_no_more_is_told_too() {
        let news = News::default();
        assert!(news.is_news("dns", &incident("calls still work for 1 min"), NOW));
        assert!(news.is_news("dns", &incident(DARK), NOW));
        assert!(!news.is_news("dns", &incident(DARK), NOW));
    }

    #[test]
    fn what_works_again_and_what_is_no_incident_are_always_told() {
        let news = News::default();
        assert!(news.is_news("dns", &incident(DARK), NOW));
        news.forget();
        assert!(news.is_news("dns", &incident(DARK), NOW));
        for _ in 0..2 {
            assert!(news.is_news("request-dead-letter", &[], NOW));
        }
    }
}
