//! HTTP, as lent to the plugin.

use std::time::Duration;

use async_trait::async_trait;

use crate::{StreamingClient, egress::Refusal};

/// What one request may take.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// From the start of connecting to the last byte of the reply.
    pub timeout: Duration,
    /// The most bytes of a reply body; a longer one is the failure `reply-too-large`.
    pub reply_size: usize,
}

/// An HTTP client that sends a request once.
///
/// The egress policy has been applied when [`HttpClient::send`] is called, and the client secret has been filled in: an
/// implementation only carries out. It must not follow redirects, repeat a request, or log a URL's query, a header or a body.
#[async_trait]
pub trait HttpClient: Send + Sync {
    /// Sends `request` and reads the whole reply. Every status is a reply.
    async fn send(
        &self,
        request: http::Request<Vec<u8>>,
        limits: RequestLimits,
    ) -> Result<http::Response<Vec<u8>>, HttpFailure>;

    /// Returns the same client with streamed bodies, for [`crate::Connection::stream`]; `None`, the default, where it has none.
    fn streaming(&self) -> Option<&dyn StreamingClient> {
        None
    }
}

/// Why there is no reply.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {message}")]
#[non_exhaustive]
pub struct HttpFailure {
    /// One of the codes that the contract lists at `http.failure`, such as `dns`, `connect`, `tls`, `timeout`.
    pub code: &'static str,
    /// For a person; without a secret.
    pub message: String,
    /// Whether any byte of the request may have reached the server. Where that is unknown, `true`.
    pub sent: bool,
}

impl HttpFailure {
    /// Makes a failure. `sent` is `false` only where it is certain that no byte reached the server.
    pub fn new(code: &'static str, message: impl Into<String>, sent: bool) -> Self {
        Self {
            code,
            message: message.into(),
            sent,
        }
    }
}

impl From<Refusal> for HttpFailure {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code(),
            message: refusal.to_string(),
            sent: false,
        }
    }
}
