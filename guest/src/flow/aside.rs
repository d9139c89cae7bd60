//! What may hold the only copy of a token is kept under a key of its own, and people are told.

use super::{
    notice::{WRITE_WITHOUT_LOCK, tell_once},
    stored::{conflict, storage},
};
use crate::{
    capabilities::{Capabilities, Write},
    diagnosis::Result,
    event::{Event, Severity},
    secret::Digest,
};

/// Why something is kept aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aside {
    /// Another sign-in took the session's place.
    Replaced,
    /// The server's reply cannot be read.
    Unread,
    /// Two wrote the session at once: the lock excludes nobody, or somebody does not take it.
    Conflict,
}

impl Aside {
    /// What its keys begin with.
    fn label(self) -> &'static str {
        match self {
            Self::Replaced => "session-aside",
            Self::Unread => "unread-reply",
            Self::Conflict => "session-conflict",
        }
    }

    fn event(self, key: &str) -> Event {
        let alert = |code, message: String| Event::new(Severity::Alert, code, &message);
        let kept = || format!("Something that may hold tokens was kept aside as `{key}`.");
        let delete_later = "Look at it before it is deleted: `logout` deletes it, too.";
        match self {
            Self::Replaced => alert("kept-aside", kept())
                .explained("Another sign-in took its place.", delete_later),
            Self::Unread => alert("kept-aside", kept())
                .explained("The server's reply could not be read.", delete_later),
            Self::Conflict => alert(
                WRITE_WITHOUT_LOCK,
                format!("Two wrote the stored tokens at once: one version was kept aside as `{key}`."),
            )
            .explained(
                "The store's lock excludes nobody, as on some network folders, or a program writes the store without taking it.",
                "Move the store to a local disk, and let only procore-auth write it. Look at what was kept before it is deleted: `logout` deletes it, too.",
            ),
        }
    }
}

/// Something that is kept, of which nobody was told yet.
#[must_use]
pub(super) struct Kept {
    why: Aside,
    key: String,
}

impl Kept {
    /// Tells of it: of conflicts once a day, since where locks do not work there are many.
    pub(super) fn tell(self, host: &dyn Capabilities) {
        let event = self.why.event(&self.key);
        match self.why {
            Aside::Conflict => tell_once(host, event),
            Aside::Replaced | Aside::Unread => host.record(&event),
        }
    }
}

/// Keeps bytes under a key that they name themselves; `None` where they are kept already. Where something else took the key, it
/// fails and replaces nothing.
pub(super) fn keep(host: &dyn Capabilities, why: Aside, bytes: &[u8]) -> Result<Option<Kept>> {
    let mut key = format!("{}-{}", why.label(), Digest::of(bytes).short());
    key.make_ascii_lowercase();
    key.retain(|character| character != '_');
    match host
        .put(&key, bytes, None)
        .map_err(|failure| storage(&failure))?
    {
        Write::Stored(_) => Ok(Some(Kept { why, key })),
        Write::Conflict(Some(kept)) if kept.value == bytes => Ok(None),
        Write::Conflict(_) => Err(conflict()),
    }
}

/// Keeps bytes, and tells so. What is kept already was told.
pub(super) fn keep_and_tell(host: &dyn Capabilities, why: Aside, bytes: &[u8]) -> Result<()> {
    if let Some(kept) = keep(host, why, bytes)? {
        kept.tell(host);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        collections::BTreeMap,
        result,
    };

    use super::*;
    use crate::{
        capabilities::{Entry, Provenance, StoreFailure},
        http::{Failure, Request, Response},
        settings::Settings,
    };

    /// A host that stores and listens, and lends nothing else.
    #[derive(Default)]
    struct Shelf {
        entries: RefCell<BTreeMap<String, Vec<u8>>>,
        told: RefCell<Vec<Event>>,
        now: Cell<u64>,
    }

    impl Shelf {
        fn keys(&self) -> Vec<String> {
            self.entries.borrow().keys().cloned().collect()
        }
    }

    impl Capabilities for Shelf {
        fn put(
            &self,
            key: &str,
            value: &[u8],
            expected: Option<u64>,
        ) -> result::Result<Write, StoreFailure> {
            let mut entries = self.entries.borrow_mut();
            if expected.is_none()
                && let Some(value) = entries.get(key).cloned()
            {
                return Ok(Write::Conflict(Some(Entry {
                    value,
                    revision: 1,
                    provenance: Provenance::Newest,
                })));
            }
            entries.insert(key.to_owned(), value.to_owned());
            Ok(Write::Stored(1))
        }

        fn record(&self, event: &Event) {
            self.told.borrow_mut().push(event.clone());
        }

        fn settings(&self) -> Settings {
            unimplemented!()
        }
        fn send(&self, _: &mut Request) -> result::Result<Response, Failure> {
            unimplemented!()
        }
        fn now(&self) -> u64 {
            self.now.get()
        }
        fn elapsed(&self) -> u64 {
            unimplemented!()
        }
        fn sleep(&self, _: u64) {
            unimplemented!()
        }
        fn random(&self, _: u32) -> Vec<u8> {
            unimplemented!()
        }
        fn get(&self, key: &str) -> result::Result<Option<Entry>, StoreFailure> {
            let found = self.entries.borrow().get(key).cloned();
            Ok(found.map(|value| Entry {
                value,
                revision: 1,
                provenance: Provenance::Newest,
            }))
        }
        fn hold(&self, _: &str, _: &[u8], _: Option<u64>) -> u64 {
            unimplemented!()
        }
        fn delete(&self, _: &str, _: u64) -> result::Result<Write, StoreFailure> {
            unimplemented!()
        }
        fn list(&self, _: &str) -> result::Result<Vec<String>, StoreFailure> {
            unimplemented!()
        }
        fn lock(&self, _: u64) -> result::Result<bool, StoreFailure> {
            unimplemented!()
        }
        fn unlock(&self) {
            unimplemented!()
        }
    }

    #[test]
    fn what_was_kept_aside_once_is_not_told_again() {
        let host = Shelf::default();
        for _ in 0..2 {
            keep_and_tell(&host, Aside::Unread, b"reply").expect("kept");
        }
        assert_eq!((host.keys().len(), host.told.borrow().len()), (1, 1));
    }

    #[test]
    fn what_differs_in_bytes_that_are_no_text_has_a_key_of_its_own() {
        let host = Shelf::default();
        for reply in [b"\xff", b"\xfe"] {
            keep_and_tell(&host, Aside::Unread, reply).expect("kept");
        }
        assert_eq!(host.keys().len(), 2);
    }

    #[test]
    fn what_finds_its_key_taken_is_not_taken_for_kept() {
        let host = Shelf::default();
        keep_and_tell(&host, Aside::Unread, b"reply").expect("kept");
        let key = host.keys().remove(0);
        host.entries.borrow_mut().insert(key, b"other".to_vec());
        let error = keep_and_tell(&host, Aside::Unread, b"reply").expect_err("taken");
        assert_eq!(error.diagnosis.code, "lost-race");
        assert_eq!(host.told.borrow().len(), 1);
    }

    #[test]
    fn conflicts_are_one_alert_a_day_and_a_warning_each() {
        let host = Shelf::default();
        let clash = |at: u64| {
            host.now.set(at);
            keep_and_tell(&host, Aside::Conflict, &at.to_be_bytes()).expect("kept");
            let told = host.told.borrow();
            let last = told.last().expect("told");
            assert_eq!(last.code, WRITE_WITHOUT_LOCK);
            last.severity
        };
        let day = 24 * 3_600_000;
        let told = [day, day + 1, 2 * day - 1, 2 * day].map(clash);
        let quiet = Severity::Warning;
        assert_eq!(told, [Severity::Alert, quiet, quiet, Severity::Alert]);
        assert_eq!(host.told.borrow().len(), told.len());
    }
}
