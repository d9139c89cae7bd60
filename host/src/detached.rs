//! Work that goes on where its caller gives up.

use std::{
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use tokio::runtime::Handle;

use crate::{Error, lent::Lent};

/// How long after its deadline a call's caller gets an answer at the latest. The time between is for saving.
const GRACE: Duration = Duration::from_secs(10);

/// How long a caller waits for a call that goes on without it.
pub(crate) struct Patience {
    lent: Arc<Lent>,
    function: &'static str,
    span: Duration,
}

impl Patience {
    /// Waits a little longer than a call of `function` may take.
    pub(crate) fn new(lent: Arc<Lent>, function: &'static str, deadline: Duration) -> Self {
        Self {
            lent,
            function,
            span: deadline.saturating_add(GRACE),
        }
    }

    /// Runs `work`, which goes on to its end where the caller gives up or the patience does: as soon as it has to wait, it is on a task
    /// of its own. What is done without a wait needs none, and no timer; to wake another thread for it would take longer than it does.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, before anything is begun that could not go on.
    pub(crate) async fn detached<T: Send + 'static>(
        self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let runtime = Handle::current();
        let mut work = Box::pin(work);
        match begin(work.as_mut()) {
            Ok(Poll::Ready(result)) => result,
            Ok(Poll::Pending) => {
                let task = runtime.spawn(work);
                self.wait(async { task.await.unwrap_or_else(|_| Err(self.host_panicked())) })
                    .await
            }
            Err(_) => Err(self.host_panicked()),
        }
    }

    /// Waits for a call that runs elsewhere.
    pub(crate) async fn wait<T>(
        &self,
        outcome: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::time::timeout(self.span, outcome)
            .await
            .unwrap_or_else(|_| Err(self.fault(out_of_time())))
    }

    /// Notes that a call's task died, and makes the error that its caller gets.
    pub(crate) fn host_panicked(&self) -> Error {
        self.fault(host_panicked())
    }

    fn fault(&self, error: Error) -> Error {
        self.lent.note_fault(self.function, &error);
        error
    }
}

/// Takes the first step of `work`. Nobody is to be woken: the task that goes on with it polls it at once, and is woken from then on.
fn begin<F: Future>(work: Pin<&mut F>) -> thread::Result<Poll<F::Output>> {
    let mut nobody = Context::from_waker(Waker::noop());
    // What panicked is not used any more.
    panic::catch_unwind(AssertUnwindSafe(|| work.poll(&mut nobody)))
}

fn out_of_time() -> Error {
    Error::internal(
        "plugin-out-of-time",
        "the call did not end within its deadline; it goes on in the background".to_owned(),
        "most likely the store does not answer",
        "check the disk or the database that holds the tokens, and call again",
    )
}

fn host_panicked() -> Error {
    Error::internal(
        "host-panicked",
        "the host panicked while the plugin ran".to_owned(),
        "a defect of this host or of a capability that was given to it",
        "look for the panic message in the log, and report it",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Notify;

    use super::*;

    fn patience() -> Patience {
        Patience::new(Lent::nothing(), "test", Duration::from_secs(60))
    }

    #[test]
    fn nothing_is_begun_outside_a_runtime() {
        let begun = Arc::new(AtomicBool::new(false));
        let work = {
            let begun = Arc::clone(&begun);
            async move {
                begun.store(true, Ordering::Relaxed);
                Ok(())
            }
        };
        let mut detached = Box::pin(patience().detached(work));
        assert!(begin(detached.as_mut()).is_err(), "a panic");
        assert!(!begun.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn what_need_not_wait_is_done_in_the_first_step() {
        let mut detached = Box::pin(patience().detached(async { Ok(1) }));
        let done = begin(detached.as_mut()).expect("no panic");
        assert!(matches!(done, Poll::Ready(Ok(1))));
    }

    #[tokio::test]
    async fn what_waits_goes_on_where_its_caller_gives_up() {
        let (go_on, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let work = {
            let (go_on, done) = (Arc::clone(&go_on), Arc::clone(&done));
            async move {
                go_on.notified().await;
                done.notify_one();
                Ok(())
            }
        };
        let mut detached = Box::pin(patience().detached(work));
        assert!(matches!(begin(detached.as_mut()), Ok(Poll::Pending)));
        drop(detached);
        go_on.notify_one();
        done.notified().await;
    }

    #[tokio::test]
    async fn a_panic_in_the_first_step_is_an_error() {
        let work = async {
            if true {
                panic!("on purpose");
            }
            Ok(())
        };
        let ended = patience().detached(work).await;
        assert_eq!(ended.expect_err("an error").code(), "host-panicked");
    }
}
