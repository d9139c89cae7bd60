//! One call of the plugin: a fresh instance, detached from its caller.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::time::timeout;
use wasmtime::{Store, UpdateDeadline};

use crate::{
    Diagnosis, Error, ErrorKind, Plugin,
    capabilities::CallState,
    detached::Patience,
    exports::Interface,
    lent::Lent,
    stopped::{self, Stopped},
};

/// How long a call waits until there is room for it. Then it is not begun.
const LONGEST_ADMISSION: Duration = Duration::from_secs(30);

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
        let longest = self.deadline.saturating_add(LONGEST_ADMISSION);
        Patience::new(Arc::clone(&self.lent), self.function, longest)
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

    /// Makes the call. It must come to its end: to be run through [`Patience::detached`].
    pub(crate) async fn execute<I, T, F>(self, entry: F) -> Ended<T>
    where
        I: Interface,
        F: for<'a> FnOnce(&'a I, &'a mut Store<CallState>) -> Answer<'a, T> + Send,
    {
        let loaded = self.plugin.loaded();
        let admission = timeout(LONGEST_ADMISSION, loaded.admission.acquire());
        // The semaphore is never closed; without a permit the pool says no.
        let Ok(_admitted) = admission.await else {
            return Ended {
                result: Err(not_admitted()),
                tokens_in_doubt: false,
            };
        };
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

fn not_admitted() -> Error {
    let diagnosis = Diagnosis {
        code: "too-many-calls".to_owned(),
        summary: "As many calls run as this process has room for, and this one was not begun.".to_owned(),
        cause: "Many calls wait for a server, for the rate limit or for the store.".to_owned(),
        remedy: "Call again. If it lasts: fewer calls at once, or a plugin that is loaded with room for more (`concurrent_calls`)."
            .to_owned(),
        evidence: Vec::new(),
    };
    Error::new(ErrorKind::Busy, diagnosis)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::Environment;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_there_is_no_room_for_is_not_begun() {
        let plugin = Plugin::loader().concurrent_calls(1).load_bundled();
        let plugin = plugin.expect("a plugin");
        let advice = plugin.advice();
        let running = plugin.loaded().admission.acquire().await;
        let (start, refused) = (Instant::now(), advice.endpoints(Environment::Sandbox).await);
        assert_eq!(refused.expect_err("no room").code(), "too-many-calls");
        assert_eq!(start.elapsed().as_secs(), LONGEST_ADMISSION.as_secs());
        drop(running);
        advice.endpoints(Environment::Sandbox).await.expect("room");
    }
}
