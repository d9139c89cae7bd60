//! Tells whether a connection was made for a request.
//!
//! `reqwest` does not say whether a request that ran out of time was still connecting. But it makes the connection within the
//! request's own task: the watch, a layer around its connector, leaves a note there.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

tokio::task_local! {
    static MADE: Arc<AtomicBool>;
}

/// What the watch saw.
#[derive(Debug, Clone)]
pub(crate) struct Observed(Arc<AtomicBool>);

impl Observed {
    /// Whether a connection was made. Says nothing about a request that reused one.
    pub(crate) fn was_made(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Runs a request, and tells what the watch saw meanwhile.
pub(crate) async fn observe<T>(request: impl Future<Output = T>) -> (T, Observed) {
    let made = Arc::new(AtomicBool::new(false));
    let outcome = MADE.scope(Arc::clone(&made), request).await;
    (outcome, Observed(made))
}

/// The layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionWatch;

impl<S> Layer<S> for ConnectionWatch {
    type Service = Watched<S>;

    fn layer(&self, connector: S) -> Watched<S> {
        Watched(connector)
    }
}

/// A connector under watch.
#[derive(Debug, Clone)]
pub(crate) struct Watched<S>(S);

impl<S, R> Service<R> for Watched<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, destination: R) -> Self::Future {
        let connecting = self.0.call(destination);
        Box::pin(async move {
            let connection = connecting.await?;
            // Outside a request, in a connection that is finished for later use, there is nobody to tell.
            let _ = MADE.try_with(|made| made.store(true, Ordering::Release));
            Ok(connection)
        })
    }
}
