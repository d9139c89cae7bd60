//! The connection's storage and its lock.

use super::CallState;
use crate::{
    Entry, Key, Provenance, StoreFailure, Write,
    bindings::procore::auth::store::{self as contract, Failure, Host},
    stopped::Stopped,
    time::from_millis,
};

impl Host for CallState {
    async fn get(
        &mut self,
        key: String,
    ) -> wasmtime::Result<Result<Option<contract::Entry>, Failure>> {
        let _pause = self.enter()?;
        let read = async { self.lent.store.get(&Key::new(key)?).await };
        Ok(answer(read.await.map(|entry| entry.map(Into::into))))
    }

    async fn put(
        &mut self,
        key: String,
        value: Vec<u8>,
        expected: Option<u64>,
    ) -> wasmtime::Result<Result<contract::Write, Failure>> {
        let _pause = self.enter()?;
        let write = async { self.lent.store.put(&Key::new(key)?, &value, expected).await };
        let written = write.await;
        if matches!(written, Ok(Write::Stored(_))) {
            // The plugin can note again what it has told.
            self.lent.recorder.forget();
            self.unsaved_reply = None;
        }
        Ok(answer(written.map(Into::into)))
    }

    async fn hold(
        &mut self,
        key: String,
        value: Vec<u8>,
        expected: Option<u64>,
    ) -> wasmtime::Result<u64> {
        let _pause = self.enter()?;
        let key = Key::new(key).map_err(|_| Stopped::Misuse("it held an invalid key"))?;
        if self.lock.is_none() {
            return Err(Stopped::Misuse("it held an entry without the lock").into());
        }
        if self.lent.store.held_size().saturating_add(value.len()) > self.lent.limits.memory {
            return Err(Stopped::OutOfMemory.into());
        }
        self.unsaved_reply = None;
        Ok(self.lent.store.hold(key, value, expected))
    }

    async fn delete(
        &mut self,
        key: String,
        expected: u64,
    ) -> wasmtime::Result<Result<contract::Write, Failure>> {
        let _pause = self.enter()?;
        let write = async { self.lent.store.delete(&Key::new(key)?, expected).await };
        Ok(answer(write.await.map(Into::into)))
    }

    async fn list(&mut self, prefix: String) -> wasmtime::Result<Result<Vec<String>, Failure>> {
        let _pause = self.enter()?;
        let keys = self.lent.store.list(&prefix).await;
        let texts = |keys: Vec<Key>| keys.iter().map(|key| key.as_str().to_owned()).collect();
        Ok(answer(keys.map(texts)))
    }

    async fn lock(&mut self, wait: u64) -> wasmtime::Result<Result<bool, Failure>> {
        let _pause = self.enter()?;
        if self.lock.is_some() {
            return Err(Stopped::Misuse("it locked twice").into());
        }
        let wait = from_millis(wait).min(self.time_left());
        let locked = self.lent.store.lock(wait).await;
        Ok(answer(locked.map(|guard| {
            self.lock = guard;
            self.lock.is_some()
        })))
    }

    async fn unlock(&mut self) -> wasmtime::Result<()> {
        let _pause = self.enter()?;
        self.lock = None;
        Ok(())
    }
}

fn answer<T>(result: Result<T, StoreFailure>) -> Result<T, Failure> {
    result.map_err(|failure| Failure {
        code: failure.code.to_owned(),
        message: failure.message,
    })
}

impl From<Entry> for contract::Entry {
    fn from(entry: Entry) -> Self {
        Self {
            value: entry.value,
            revision: entry.revision,
            provenance: match entry.provenance {
                Provenance::Newest => contract::Provenance::Newest,
                Provenance::Previous => contract::Provenance::Previous,
                Provenance::Copied => contract::Provenance::Copied,
            },
        }
    }
}

impl From<Write> for contract::Write {
    fn from(write: Write) -> Self {
        match write {
            Write::Stored(revision) => Self::Stored(revision),
            Write::Conflict(entry) => Self::Conflict(entry.map(Into::into)),
        }
    }
}
