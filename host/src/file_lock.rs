//! Exclusive locks on files, owned by the kernel: the death of a holder frees its lock at once, and there is nothing to steal
//! and nothing to clean up.
//!
//! [`hold_briefly`] is for a moment. [`FileLock`] is for a refresh: waiters of one process queue up in order and in memory, and
//! only the first of them waits in the kernel, so that a lock which changes hands between processes does so at once.

use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
    thread,
    time::Duration,
};

use tokio::{
    sync::{OwnedMutexGuard, oneshot},
    task::spawn_blocking,
    time::{Instant, timeout, timeout_at},
};

use crate::{LockGuard, StoreFailure, private_file};

/// Who holds a lock briefly needs it for a few small files. Whoever takes longer than this is stopped, or the disk does not answer.
const BRIEFLY: Duration = Duration::from_secs(20);

/// The pauses between two looks at a lock that is held briefly: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A file with its lock, until it is dropped.
///
/// Unlocks instead of just closing: a child process that was forked in between shares the open file.
#[derive(Debug)]
pub struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // Where this fails, closing frees the lock.
        let _ = self.0.unlock();
    }
}

/// Takes a lock that everybody holds for a moment only. Blocks the thread.
///
/// Errors: `busy` where it did not come free; it may well be that it never does.
pub fn hold_briefly(path: &Path) -> Result<Held, StoreFailure> {
    hold_within(path, BRIEFLY)
}

fn hold_within(path: &Path, wait: Duration) -> Result<Held, StoreFailure> {
    let begun = std::time::Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(held) = try_hold(path)? {
            return Ok(held);
        }
        if begun.elapsed() >= wait {
            return Err(kept(path, wait));
        }
        // The kernel has no wait for a file's lock that ends by itself.
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn kept(path: &Path, wait: Duration) -> StoreFailure {
    let message = format!(
        "{}: somebody has kept it locked for {} seconds",
        path.display(),
        wait.as_secs()
    );
    StoreFailure::new("busy", message)
}

/// Waits for the lock on a file, without a limit. Blocks the thread.
fn hold(path: &Path) -> Result<Held, StoreFailure> {
    loop {
        let file = private_file::open_lock_file(path)?;
        lock_uninterrupted(&file).map_err(|error| lock_failure(&error, path))?;
        let held = Held(file);
        if is_current(&held.0, path) {
            return Ok(held);
        }
    }
}

/// Takes the lock on a file if it is free. Does not wait.
fn try_hold(path: &Path) -> Result<Option<Held>, StoreFailure> {
    loop {
        let file = private_file::open_lock_file(path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(lock_failure(&error, path)),
            Ok(()) => {}
        }
        let held = Held(file);
        if is_current(&held.0, path) {
            return Ok(Some(held));
        }
    }
}

/// Checks that locks exclude here, and waits for none. Some network file systems grant every lock to everybody.
pub(crate) fn check_support(path: &Path) -> Result<(), StoreFailure> {
    let Some(_held) = try_hold(path)? else {
        // Somebody else holds it, and that keeps this process out.
        return Ok(());
    };
    match try_hold(path)? {
        None => Ok(()),
        Some(_) => Err(unsupported(path, "two holders were granted one lock")),
    }
}

/// A lock on a file that somebody removed excludes nobody who comes later.
fn is_current(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(named)) => private_file::is_same(&ours, &named),
        _ => false,
    }
}

fn lock_uninterrupted(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn lock_failure(error: &io::Error, path: &Path) -> StoreFailure {
    if is_unsupported(error) {
        unsupported(path, &error.to_string())
    } else {
        private_file::failure(error, path)
    }
}

#[cfg(unix)]
fn is_unsupported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.kind() == ErrorKind::Unsupported
        || matches!(
            Errno::from_io_error(error),
            Some(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)
        )
}

#[cfg(not(unix))]
fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Unsupported
}

fn unsupported(path: &Path, why: &str) -> StoreFailure {
    let message = format!(
        "{}: the file system does not support locks ({why}); keep the store on a local disk",
        path.display()
    );
    StoreFailure::new("locks-unsupported", message)
}

/// The lock of one file, shared by everybody in this process who locks that file.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    queue: Arc<tokio::sync::Mutex<()>>,
    /// Whom to hand the lock to when the kernel grants it. There is a thread waiting for that exactly while this is `Some`.
    waiter: Mutex<Option<oneshot::Sender<Result<Held, StoreFailure>>>>,
}

/// What a caller holds. The fields are dropped in this order: the file first, so that the next in the queue finds it free.
struct Turn {
    _held: Held,
    _turn: OwnedMutexGuard<()>,
}

impl FileLock {
    /// Returns the lock of the file at `path`: the same one for the same path. The path is canonical.
    pub(crate) fn of(path: PathBuf) -> Arc<Self> {
        static LOCKS: LazyLock<Mutex<HashMap<PathBuf, Weak<FileLock>>>> =
            LazyLock::new(Mutex::default);
        let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(&path).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(Self {
            path: path.clone(),
            queue: Arc::default(),
            waiter: Mutex::default(),
        });
        locks.insert(path, Arc::downgrade(&lock));
        lock
    }

    /// Takes the lock; `None` where it was not free within `wait`. A wait of zero takes it if it is free.
    pub(crate) async fn lock(
        self: &Arc<Self>,
        wait: Duration,
    ) -> Result<Option<LockGuard>, StoreFailure> {
        let deadline = Instant::now().checked_add(wait);
        let Ok(turn) = timeout(wait, Arc::clone(&self.queue).lock_owned()).await else {
            return Ok(None);
        };
        let held = match self.try_hold().await? {
            Some(held) => Some(held),
            None => match deadline {
                Some(deadline) => timeout_at(deadline, self.wait_for_kernel()).await.ok(),
                None => Some(self.wait_for_kernel().await),
            }
            .transpose()?,
        };
        Ok(held.map(|held| {
            LockGuard::new(Turn {
                _held: held,
                _turn: turn,
            })
        }))
    }

    async fn try_hold(&self) -> Result<Option<Held>, StoreFailure> {
        let path = self.path.clone();
        let tried = spawn_blocking(move || try_hold(&path)).await;
        tried.unwrap_or_else(|error| Err(private_file::failure(&error.into(), &self.path)))
    }

    /// Waits until the kernel grants the lock. Only the head of the queue calls this.
    ///
    /// A thread that waits in the kernel cannot be called back. So it is a thread of its own, which keeps neither the
    /// runtime's pool busy nor its end waiting; there is one at most; the next caller takes over the one that an earlier
    /// caller gave up on; and where nobody waits any more when the lock is granted, it is freed at once.
    async fn wait_for_kernel(self: &Arc<Self>) -> Result<Held, StoreFailure> {
        let (give, granted) = oneshot::channel();
        if self.set_waiter(Some(give)).is_none() {
            let lock = Arc::clone(self);
            let spawned = thread::Builder::new()
                .name("procore-auth-lock".to_owned())
                .spawn(move || lock.grant(hold(&lock.path)));
            if let Err(error) = spawned {
                self.set_waiter(None);
                return Err(private_file::failure(&error, &self.path));
            }
        }
        granted.await.unwrap_or_else(|error| {
            Err(private_file::failure(&io::Error::other(error), &self.path))
        })
    }

    fn set_waiter(
        &self,
        waiter: Option<oneshot::Sender<Result<Held, StoreFailure>>>,
    ) -> Option<oneshot::Sender<Result<Held, StoreFailure>>> {
        let mut current = self.waiter.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut current, waiter)
    }

    fn grant(&self, held: Result<Held, StoreFailure>) {
        if let Some(waiter) = self.set_waiter(None) {
            // A waiter that gave up sends it back, and dropping it frees the lock.
            let _ = waiter.send(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{FileLock, check_support, hold, hold_within, lock_failure, try_hold};

    const LONG: Duration = Duration::from_secs(60);

    #[cfg(unix)]
    #[test]
    fn tells_that_locks_are_unsupported() {
        use rustix::io::Errno;
        for errno in [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS] {
            let error = std::io::Error::from_raw_os_error(errno.raw_os_error());
            let failure = lock_failure(&error, "/mnt/.lock".as_ref());
            assert_eq!(failure.code, "locks-unsupported");
        }
    }

    #[test]
    fn a_local_disk_supports_locks() {
        let folder = tempfile::tempdir().expect("folder");
        assert_eq!(check_support(&folder.path().join(".lock")), Ok(()));
    }

    #[tokio::test]
    async fn hands_over_when_the_holder_lets_go() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join(".lock");
        // An open file of its own, as another process would have it.
        let other = hold(&path).expect("free");
        let lock = FileLock::of(path);
        let waiting = tokio::spawn({
            let lock = Arc::clone(&lock);
            async move { lock.lock(LONG).await }
        });
        while lock.waiter.lock().expect("not poisoned").is_none() {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        drop(other);
        let granted = waiting.await.expect("no panic").expect("works");
        assert!(granted.is_some());
    }

    #[tokio::test]
    async fn a_waiter_that_gave_up_does_not_keep_the_lock() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join(".lock");
        let other = hold(&path).expect("free");
        let lock = FileLock::of(path.clone());
        let short = Duration::from_millis(20);
        for _ in 0..3 {
            assert!(lock.lock(short).await.expect("works").is_none());
        }
        assert!(
            lock.waiter.lock().expect("not poisoned").is_some(),
            "a thread still waits"
        );
        drop(other);
        // The thread takes the lock and frees it again: another process gets it.
        let held = tokio::task::spawn_blocking(move || hold(&path));
        let held = tokio::time::timeout(LONG, held).await.expect("in time");
        drop(held.expect("no panic").expect("free"));
        assert!(lock.lock(LONG).await.expect("works").is_some());
    }

    #[tokio::test]
    async fn a_later_waiter_takes_over_the_thread_of_one_that_gave_up() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join(".lock");
        let other = hold(&path).expect("free");
        let lock = FileLock::of(path.clone());
        let short = Duration::from_millis(20);
        assert!(lock.lock(short).await.expect("works").is_none());
        let waiting = tokio::spawn({
            let lock = Arc::clone(&lock);
            async move { lock.lock(LONG).await }
        });
        while lock.queue.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        drop(other);
        let granted = waiting.await.expect("no panic").expect("works");
        assert!(granted.is_some());
        assert!(try_hold(&path).expect("works").is_none());
        drop(granted);
        assert!(try_hold(&path).expect("works").is_some());
    }

    #[tokio::test]
    async fn a_dropped_wait_leaves_the_queue() {
        let folder = tempfile::tempdir().expect("folder");
        let lock = FileLock::of(folder.path().join(".lock"));
        let held = lock.lock(Duration::ZERO).await.expect("works");
        assert!(held.is_some());
        let waiting = tokio::spawn({
            let lock = Arc::clone(&lock);
            async move { lock.lock(LONG).await }
        });
        tokio::task::yield_now().await;
        waiting.abort();
        assert!(waiting.await.is_err());
        drop(held);
        assert!(lock.lock(Duration::ZERO).await.expect("works").is_some());
    }

    #[test]
    fn a_lock_that_is_kept_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join(".guard");
        let kept = hold(&path).expect("free");
        let failure = hold_within(&path, Duration::from_millis(20)).expect_err("kept");
        assert_eq!(failure.code, "busy");
        drop(kept);
        assert!(hold_within(&path, LONG).is_ok());
    }

    #[test]
    fn a_lock_on_a_removed_file_does_not_count() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join(".lock");
        let stale = hold(&path).expect("free");
        std::fs::remove_file(&path).expect("removed");
        assert!(!super::is_current(&stale.0, &path));
        assert!(try_hold(&path).expect("works").is_some());
    }
}
