//! One call of the plugin: a fresh instance, detached from its caller.

use std::{
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use wasmtime::{Store, UpdateDeadline};

use crate::{
    Error, Plugin,
    capabilities::CallState,
    exports::Interface,
    lent::Lent,
    stopped::{self, Stopped},
};

/// How long after its deadline a call's caller gets an answer at the latest. The time between is for saving.
const GRACE: Duration = Duration::from_secs(10);

/// What an exported function gives, or why it was stopped.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = wasmtime::Result<T>> + Send + 'a>>;

/// A call that is about to be made.
pub(crate) struct Call {
    plugin: Plugin,
    lent: Arc<Lent>,
    function: &'static str,
    deadline: Duration,
    probing: bool,
}

/// How a call ended.
pub(crate) struct Ended<T> {
    pub(crate) result: Result<T, Error>,
    /// Whether a token from before may be no good now.
    pub(crate) tokens_in_doubt: bool,
}

impl Call {
    pub(crate) fn new(plugin: Plugin, lent: Arc<Lent>, function: &'static str) -> Self {
        Self {
            deadline: lent.limits.deadline,
            probing: false,
            plugin,
            lent,
            function,
        }
    }

    /// Gives the call another deadline.
    pub(crate) fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Lets the call ask the other environments about a token.
    pub(crate) fn probing(self) -> Self {
        Self {
            probing: true,
            ..self
        }
    }

    /// Returns the call's watch over those who wait for it.
    pub(crate) fn patience(&self) -> Patience {
        Patience {
            lent: Arc::clone(&self.lent),
            function: self.function,
            span: self.deadline.saturating_add(GRACE),
        }
    }

    /// Makes the call, detached from its caller.
    pub(crate) async fn run<I, T, F>(self, entry: F) -> Result<T, Error>
    where
        I: Interface,
        T: Send + 'static,
        F: for<'a> FnOnce(&'a I, &'a mut Store<CallState>) -> Answer<'a, T> + Send + 'static,
    {
        let patience = self.patience();
        patience
            .detached(async { self.execute(entry).await.result })
            .await
    }

    /// Makes the call. To be run on a task that nobody cancels.
    pub(crate) async fn execute<I, T, F>(self, entry: F) -> Ended<T>
    where
        I: Interface,
        F: for<'a> FnOnce(&'a I, &'a mut Store<CallState>) -> Answer<'a, T> + Send,
    {
        let loaded = self.plugin.loaded();
        // The semaphore is never closed; without a permit the pool says no.
        let _admitted = loaded.admission.acquire().await;
        let mut store = self.store();
        let answer = async {
            let instance = loaded.component.instantiate_async(&mut store).await?;
            let interface = I::of(&instance, &loaded.exports, &mut store)?;
            entry(&interface, &mut store).await
        }
        .await;
        let tokens_in_doubt = store.data().tokens_in_doubt;
        if answer.is_err() {
            store.data_mut().rescue_reply().await;
        }
        // Frees the lock before anyone hears of the result.
        drop(store);
        let result = match answer {
            Ok(result) => {
                self.lent.note_success(self.function);
                Ok(result)
            }
            Err(error) => {
                let error = stopped::to_error(&error);
                self.lent.note_fault(self.function, &error);
                Err(error)
            }
        };
        Ended {
            result,
            tokens_in_doubt,
        }
    }

    fn store(&self) -> Store<CallState> {
        let loaded = self.plugin.loaded();
        let meter = loaded.ticker.meter(self.lent.limits.compute);
        let state = CallState::new(Arc::clone(&self.lent), self.probing, self.deadline, meter);
        let mut store = Store::new(&loaded.engine, state);
        store.limiter(|state| &mut state.memory);
        // Without it, a list that names one long string a thousand times would be a thousand strings here.
        store.set_hostcall_fuel(self.lent.limits.memory);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| {
            let meter = &store.data().meter;
            if meter.is_exhausted() {
                return Err(Stopped::OutOfTime.into());
            }
            let pause = meter.pause();
            let others_turn = Box::pin(async move {
                tokio::task::yield_now().await;
                drop(pause);
            });
            Ok(UpdateDeadline::YieldCustom(1, others_turn))
        });
        store
    }
}

/// How long a caller waits for a call that goes on without it.
pub(crate) struct Patience {
    lent: Arc<Lent>,
    function: &'static str,
    span: Duration,
}

impl Patience {
    /// Runs `work`, which goes on to its end where the caller gives up or the patience does: as soon as it has to wait, it is on a task
    /// of its own. What is done without a wait needs none, and no timer; to wake another thread for it would take longer than it does.
    pub(crate) async fn detached<T: Send + 'static>(
        self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let mut work = Box::pin(work);
        match begin(work.as_mut()) {
            Ok(Poll::Ready(result)) => result,
            Ok(Poll::Pending) => {
                let task = tokio::spawn(work);
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

/// Takes the first step of `work`. Nobody is to be woken: who goes on with it begins by asking.
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
