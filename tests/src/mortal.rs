//! A process that dies at a chosen moment: from then on nothing that it does has an effect.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use procore_auth_host::{
    Entry, HttpClient, HttpFailure, Key, LockGuard, RequestLimits, Store, StoreFailure, Write,
};

/// How long a process lives, in uses of its store and its network. Clones share it.
///
/// A use has two moments: before and after its effect.
#[derive(Debug, Clone)]
pub struct Life {
    left: Arc<AtomicUsize>,
}

struct Dead;

impl Life {
    /// Ends at the moment with this number; the first is 0.
    pub fn until(moment: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(moment + 1)),
        }
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn pass(&self) -> Result<(), Dead> {
        let one_less = |left: usize| Some(left.saturating_sub(1));
        match self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
        {
            Ok(left) if left > 1 => Ok(()),
            _ => Err(Dead),
        }
    }

    async fn around<T>(&self, effect: impl Future<Output = T>) -> Result<T, Dead> {
        self.pass()?;
        let result = effect.await;
        self.pass()?;
        Ok(result)
    }
}

/// What a mortal process is lent: a store, or a network.
#[derive(Debug)]
pub struct Mortal<T> {
    inner: T,
    life: Life,
}

impl<T> Mortal<T> {
    /// Lends it for this life.
    pub fn new(inner: T, life: &Life) -> Self {
        Self {
            inner,
            life: life.clone(),
        }
    }
}

impl From<Dead> for StoreFailure {
    fn from(_: Dead) -> Self {
        Self::new("io", "the process is dead")
    }
}

#[async_trait::async_trait]
impl<S: Store> Store for Mortal<S> {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        self.life.around(self.inner.get(key)).await?
    }

    async fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        self.life
            .around(self.inner.put(key, value, expected))
            .await?
    }

    async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        self.life.around(self.inner.delete(key, expected)).await?
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        self.life.around(self.inner.list(prefix)).await?
    }

    async fn lock(&self, wait: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        self.life.around(self.inner.lock(wait)).await?
    }
}

#[async_trait::async_trait]
impl<H: HttpClient> HttpClient for Mortal<H> {
    async fn send(
        &self,
        request: http::Request<Vec<u8>>,
        limits: RequestLimits,
    ) -> Result<http::Response<Vec<u8>>, HttpFailure> {
        let reply = self.life.around(self.inner.send(request, limits)).await;
        reply.unwrap_or_else(|Dead| Err(HttpFailure::new("connect", "the process is dead", true)))
    }
}
