//! Requests and replies whose bodies are streamed. What went wrong has the codes of the table in [`super`].

use async_trait::async_trait;
use http_body_util::BodyExt as _;

use super::{Failure, HttpsClient, is_not_idempotent};
use crate::{
    HttpFailure, IncomingBody, OutgoingBody, StreamLimits, StreamingClient, connection_watch,
};

#[async_trait]
impl StreamingClient for HttpsClient {
    async fn open(
        &self,
        request: http::Request<OutgoingBody>,
        limits: StreamLimits,
    ) -> Result<http::Response<IncomingBody>, HttpFailure> {
        let overdue = request.body().overdue(limits);
        let fresh = !request.body().is_empty() || is_not_idempotent(request.method());
        let way = self.way(with_body(request), fresh)?;
        let exchange = async {
            tokio::select! {
                reply = way.client.execute(way.request) => Some(reply),
                () = overdue => None,
            }
        };
        let (outcome, connection) = connection_watch::observe(exchange).await;
        let never_connected = way.fresh && !connection.was_made();
        let explained = {
            let (host, proxied) = (way.host.clone(), way.proxied);
            move |error| Failure::from(error).for_a_person(&host, proxied)
        };
        match outcome {
            Some(Ok(reply)) => {
                let reply = http::Response::<reqwest::Body>::from(reply);
                Ok(reply.map(|body| body.map_err(explained).boxed()))
            }
            Some(Err(error)) => Err(explained(error)),
            None => Err(overdue_failure(&way.host, never_connected)),
        }
    }
}

/// An empty body of a `GET` would announce itself as one.
fn with_body(request: http::Request<OutgoingBody>) -> http::Request<Option<reqwest::Body>> {
    let is_sent = !request.body().is_empty() || request.method() == http::Method::POST;
    request.map(|body| is_sent.then(|| reqwest::Body::wrap(body)))
}

fn overdue_failure(host: &str, never_connected: bool) -> HttpFailure {
    let what = if never_connected {
        "no connection in time"
    } else {
        "no reply in time, or the body stood still"
    };
    HttpFailure::new("timeout", format!("{host}: {what}"), !never_connected)
}
