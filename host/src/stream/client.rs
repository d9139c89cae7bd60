//! HTTP with bodies that are never whole in memory.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;

use super::OutgoingBody;
use crate::HttpFailure;

/// The body of a reply, as a [`StreamingClient`] hands it over.
///
/// An error of it is that of a reply that broke off, such as `connection-closed`. Dropping the body frees its connection.
pub type IncomingBody = BoxBody<Bytes, HttpFailure>;

/// What one streamed request may take.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct StreamLimits {
    /// From the start of connecting to the head of the reply, without the time in which the request's body moves.
    pub head: Duration,
    /// The longest time between two pieces of the request's body, once it has begun to move.
    pub idle: Duration,
}

/// An HTTP client that sends a request once, and hands the bodies on as they come.
///
/// The rules are those of [`crate::HttpClient`]: the egress policy has been applied, and an implementation only carries out. It
/// must not follow redirects, repeat a request, or log a URL's query, a header or a body. It sends `Content-Length` where the
/// body knows its size ([`http_body::Body::size_hint`]), and chunks where not.
///
/// Offered by [`crate::HttpClient::streaming`].
#[async_trait]
pub trait StreamingClient: Send + Sync {
    /// Sends `request` and returns the reply when its head is there, be it before the request's body was sent whole. Every
    /// status is a reply.
    ///
    /// [`OutgoingBody::overdue`] tells when `limits` are exceeded. The reply's body is timed by whoever reads it.
    async fn open(
        &self,
        request: http::Request<OutgoingBody>,
        limits: StreamLimits,
    ) -> Result<http::Response<IncomingBody>, HttpFailure>;
}
