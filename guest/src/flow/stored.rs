//! The session in the store: read without the lock, written under it, never over what cannot be read.

use miniserde::{Deserialize, Serialize};

use super::aside::{Aside, Kept, keep, keep_and_tell};
use crate::{
    capabilities::{Capabilities, Entry, Provenance, StoreFailure, Write},
    diagnosis::{Diagnosis, Error, ErrorKind, Result},
    event::{Event, Severity},
    incident::Outlook,
    json,
    session::{FORMAT, Session},
    settings::Settings,
};

const SESSION: &str = "session";

/// Reads the session without the lock, unless it may not be the newest one: that is told and noted under the lock.
pub(super) fn read_session(host: &dyn Capabilities) -> Result<Option<Session>> {
    let read = || host.get(SESSION).map_err(|failure| storage(&failure));
    let mut entry = read()?;
    if entry
        .as_ref()
        .is_some_and(|entry| entry.provenance != Provenance::Newest)
    {
        drop(LockedSession::acquire(host, &host.settings())?);
        entry = read()?;
    }
    entry.map(|entry| parse_session(&entry)).transpose()
}

/// Reads a session. What an older version or a copy says of its tokens proves nothing.
fn parse_session(entry: &Entry) -> Result<Session> {
    let mut session: Session = parse(SESSION, entry)?;
    if session.format != FORMAT {
        return Err(unreadable(
            SESSION,
            &format!(
                "it has format {}, and this version reads {FORMAT}",
                session.format
            ),
        ));
    }
    if entry.provenance != Provenance::Newest {
        session.last_evidence = None;
        if let Some(tokens) = &mut session.tokens {
            tokens.confirmed = false;
        }
    }
    Ok(session)
}

/// The session while this call holds the connection's lock. Dropping it frees the lock.
pub(super) struct LockedSession<'h> {
    host: &'h dyn Capabilities,
    /// The session as last read or saved, with the changes made since.
    pub session: Session,
    revision: Option<u64>,
    /// What is told as soon as this session is the newest version: written, or held by the host.
    news: Option<Event>,
    /// The moment before which nobody may look again; 0 where that is at any time.
    pub looks_again: u64,
}

impl<'h> LockedSession<'h> {
    /// Takes the lock and reads the session anew; `None` where the lock is not to be had within the policy's wait. A session of another
    /// configuration is set aside under a key of its own as soon as this one is saved.
    pub(super) fn acquire(host: &'h dyn Capabilities, settings: &Settings) -> Result<Option<Self>> {
        if !host
            .lock(settings.policy.lock_wait)
            .map_err(|failure| storage(&failure))?
        {
            return Ok(None);
        }
        let mut locked = Self {
            host,
            session: Session::new(settings),
            revision: None,
            news: None,
            looks_again: 0,
        };
        if let Some(entry) = host.get(SESSION).map_err(|failure| storage(&failure))? {
            locked.session = parse_session(&entry)?;
            locked.revision = Some(entry.revision);
            locked.tell_provenance(entry.provenance);
        }
        Ok(Some(locked))
    }

    /// Says that an older version or a copy is in use, which may hold a spent token, and makes it this installation's newest, so
    /// that it is said once. While it cannot be written it stands in the journal, and nobody is alerted: every call would.
    fn tell_provenance(&mut self, provenance: Provenance) {
        let (code, message, cause, remedy) = match provenance {
            Provenance::Newest => return,
            Provenance::Previous => (
                "store-recovered",
                "An older version of the stored tokens is used.",
                "The newest one could not be read, or an older one was put in its place.",
                "Look at the disk. If the refresh token was spent since: `procore-auth login`.",
            ),
            Provenance::Copied => (
                "store-copied",
                "The stored tokens come from another installation.",
                "The folder was copied, or restored from a backup.",
                "Let one installation alone use them, and sign in on the other: where both refresh, one loses its sign-in.",
            ),
        };
        let event = Event::new(Severity::Warning, code, message).explained(cause, remedy);
        self.news = Some(event.clone());
        if self.save().is_err() {
            self.host.record(&event);
        }
    }

    /// Notes that this session is the newest version, and tells what waited for that.
    fn stored(&mut self, revision: u64) {
        self.revision = Some(revision);
        if let Some(news) = self.news.take() {
            self.host.record(&Event {
                severity: Severity::Alert,
                ..news
            });
        }
    }

    /// As [`acquire`](Self::acquire), where going on without the lock is an error.
    pub(super) fn require(host: &'h dyn Capabilities, settings: &Settings) -> Result<Self> {
        Self::acquire(host, settings)?.ok_or_else(|| busy(settings))
    }

    /// Returns what a trouble is judged by.
    pub(super) fn outlook(&self) -> Outlook {
        Outlook {
            now: self.host.now(),
            next: self.looks_again,
        }
    }

    /// Returns the session unless nothing was ever saved.
    pub(super) fn saved(&self) -> Option<&Session> {
        self.revision.map(|_| &self.session)
    }

    /// Starts over: what was stored is kept under a key of its own.
    pub(super) fn set_aside(&mut self, settings: &Settings) -> Result<()> {
        if self.session.tokens.is_some() || self.session.reply.is_some() {
            keep_and_tell(self.host, Aside::Replaced, &json::write(&self.session))?;
        }
        self.session = Session::new(settings);
        Ok(())
    }

    /// Saves the session: durable when it returns.
    ///
    /// Losing a race here means that someone wrote without the lock. What they wrote stays, and what we have is kept aside.
    pub(super) fn save(&mut self) -> Result<()> {
        let bytes = json::write(&self.session);
        match self
            .host
            .put(SESSION, &bytes, self.revision)
            .map_err(|failure| storage(&failure))?
        {
            Write::Stored(revision) => {
                self.stored(revision);
                Ok(())
            }
            // An earlier try did write, and could not say so.
            Write::Conflict(Some(entry)) if entry.value == bytes => {
                self.stored(entry.revision);
                Ok(())
            }
            Write::Conflict(_) => {
                keep_and_tell(self.host, Aside::Conflict, &bytes)?;
                Err(conflict())
            }
        }
    }

    /// Saves what was received, whatever the store says: where it fails, the host holds it until it can be stored. What someone
    /// wrote without the lock meanwhile is older than what the server just sent: it is kept aside, and told once the rest is safe.
    pub(super) fn save_received(&mut self) {
        let bytes = json::write(&self.session);
        let mut kept = Vec::new();
        let stored = self.put_over(&bytes, &mut kept);
        let revision = stored.unwrap_or_else(|| self.host.hold(SESSION, &bytes, self.revision));
        self.stored(revision);
        kept.into_iter().for_each(|kept| kept.tell(self.host));
    }

    /// Puts bytes in the place of whatever is there, which is kept aside; `None` where that fails.
    fn put_over(&mut self, bytes: &[u8], kept: &mut Vec<Kept>) -> Option<u64> {
        for _ in 0..3 {
            match self.host.put(SESSION, bytes, self.revision).ok()? {
                Write::Stored(revision) => return Some(revision),
                Write::Conflict(Some(theirs)) => {
                    if theirs.value != bytes {
                        kept.extend(keep(self.host, Aside::Conflict, &theirs.value).ok()?);
                    }
                    self.revision = Some(theirs.revision);
                }
                Write::Conflict(None) => self.revision = None,
            }
        }
        None
    }

    /// Deletes the session.
    pub(super) fn delete(&mut self) -> Result<()> {
        let Some(revision) = self.revision else {
            return Ok(());
        };
        match self
            .host
            .delete(SESSION, revision)
            .map_err(|failure| storage(&failure))?
        {
            Write::Stored(_) | Write::Conflict(None) => {
                self.revision = None;
                Ok(())
            }
            Write::Conflict(Some(_)) => Err(conflict()),
        }
    }

    /// Whether the store holds another session than the one that was read: someone wrote without the lock. Reads it.
    pub(super) fn reread(&mut self) -> Result<bool> {
        let entry = self
            .host
            .get(SESSION)
            .map_err(|failure| storage(&failure))?;
        let Some(entry) = entry.filter(|entry| Some(entry.revision) != self.revision) else {
            return Ok(false);
        };
        self.session = parse_session(&entry)?;
        self.revision = Some(entry.revision);
        // It told of a version that is not used any more.
        self.news = None;
        Ok(true)
    }
}

impl Drop for LockedSession<'_> {
    fn drop(&mut self) {
        self.host.unlock();
    }
}

/// Reads a JSON entry; `None` where there is none.
pub(super) fn read<T: Deserialize>(host: &dyn Capabilities, key: &str) -> Result<Option<(T, u64)>> {
    let Some(entry) = host.get(key).map_err(|failure| storage(&failure))? else {
        return Ok(None);
    };
    Ok(Some((parse(key, &entry)?, entry.revision)))
}

fn parse<T: Deserialize>(key: &str, entry: &Entry) -> Result<T> {
    json::read(&entry.value).ok_or_else(|| unreadable(key, "it is no JSON of the known shape"))
}

/// Writes a JSON entry over whatever version is there.
pub(super) fn overwrite(host: &dyn Capabilities, key: &str, value: &dyn Serialize) -> Result<()> {
    let current = host.get(key).map_err(|failure| storage(&failure))?;
    write(host, key, value, current.map(|entry| entry.revision))
}

/// Writes a JSON entry that was last seen at `expected` over whatever version is there by now.
pub(super) fn write(
    host: &dyn Capabilities,
    key: &str,
    value: &dyn Serialize,
    mut expected: Option<u64>,
) -> Result<()> {
    let bytes = json::write(value);
    for _ in 0..5 {
        match host
            .put(key, &bytes, expected)
            .map_err(|failure| storage(&failure))?
        {
            Write::Stored(_) => return Ok(()),
            Write::Conflict(current) => expected = current.map(|entry| entry.revision),
        }
    }
    Err(conflict())
}

/// Turns a store's failure into an error.
pub(super) fn storage(failure: &StoreFailure) -> Error {
    let remedy = match failure.code.as_str() {
        "full" => "Free some space on the disk that holds the store.",
        "read-only" => "Make the store's file system writable, or point `state` to one that is.",
        "permission-denied" => {
            "Run as the account that owns the store, or give that account the folder."
        }
        "insecure-permissions" => {
            "Make the store's folder 0700 and its files 0600, owned by the account that runs this."
        }
        "corrupt" => {
            "Move the damaged files out of the connection's folder and keep them, then run `procore-auth login`."
        }
        "newer-format" => "Use the version that wrote it.",
        "locks-unsupported" => "Keep the store on a local file system.",
        "busy" => "Look for a process that is stopped, or a disk that does not answer.",
        "wrong-key" => "Name the key that encrypted it as `encryption.key`, or among `old_keys`.",
        "key-unavailable" => {
            "Name the key as `encryption.key`, and restart what runs with an older configuration."
        }
        "not-encrypted" => {
            "Run `procore-auth store encrypt`, once. If that was done before, somebody put the file there."
        }
        "invalid-key" | "too-large" => "This is a defect: report it.",
        _ => "Look at the disk and the system's log.",
    };
    let diagnosis = Diagnosis::new(
        &failure.code,
        "The token store does not work.",
        &failure.message,
        remedy,
    );
    let kind = match failure.code.as_str() {
        "busy" => ErrorKind::Busy,
        _ => ErrorKind::Storage,
    };
    Error::new(kind, diagnosis)
}

fn unreadable(key: &str, why: &str) -> Error {
    Error::new(
        ErrorKind::Storage,
        Diagnosis::new(
            "session-unreadable",
            &format!("The stored entry `{key}` cannot be read: {why}."),
            "Another program or another version wrote it.",
            "Nothing was overwritten. Use the version that wrote it, or move the connection's folder away and run `procore-auth login`.",
        ),
    )
}

pub(super) fn conflict() -> Error {
    Error::new(
        ErrorKind::Storage,
        Diagnosis::new(
            "lost-race",
            "Another program changed the stored tokens while this one held the lock.",
            "A program writes the store without taking its lock, or the file system does not honour locks.",
            "Let only procore-auth write the store, on a file system with working locks. Nothing was lost: both versions are kept.",
        ),
    )
}

/// The lock was not to be had.
pub(super) fn busy(settings: &Settings) -> Error {
    Error::new(
        ErrorKind::Busy,
        Diagnosis::new(
            "lock-wait",
            "Another process holds the connection's lock.",
            &format!(
                "A refresh elsewhere takes longer than {} ms, or a process was stopped while it held the lock.",
                settings.policy.lock_wait
            ),
            "Try again. If it lasts, look for a stopped process that has the store open.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The codes of the contract, at `store.failure`.
    #[test]
    fn every_failure_of_a_store_has_a_cure_of_its_own() {
        let remedy = |code: &str| {
            let failure = StoreFailure {
                code: code.to_owned(),
                message: String::new(),
            };
            storage(&failure).diagnosis.remedy
        };
        let codes = [
            "too-large",
            "full",
            "read-only",
            "permission-denied",
            "insecure-permissions",
            "corrupt",
            "newer-format",
            "locks-unsupported",
            "busy",
            "wrong-key",
            "key-unavailable",
            "not-encrypted",
            "io",
        ];
        let remedies: BTreeSet<String> = codes.iter().map(|code| remedy(code)).collect();
        assert_eq!(remedies.len(), codes.len(), "{remedies:?}");
        assert_eq!(remedy("invalid-key"), remedy("too-large"));
    }
}
