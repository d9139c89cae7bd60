//! A request whose body is streamed.

use std::{fmt, time::Duration};

use super::RequestBody;
use crate::api::{HeaderNames, without_query};

/// A request to the REST API whose bodies are streamed.
#[non_exhaustive]
pub struct StreamRequest {
    /// One of `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` and `OPTIONS`.
    pub method: String,
    /// An absolute path with an optional query, such as `/rest/v1.0/me`: never a URL, so that a call cannot leave the API host.
    pub path: String,
    /// Names and values. `Authorization`, `Host`, `Content-Length` and what else is the host's to set are refused.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: RequestBody,
    /// The company that the call is for; `None` means the connection's.
    pub company_id: Option<u64>,
    /// How long all attempts together may take until the head of the reply is there, without the time in which the body moves;
    /// `None` means the connection's policy.
    pub timeout: Option<Duration>,
    /// The longest time between two pieces of a body, of the request's and of the reply's; `None` means 60 s.
    pub idle_timeout: Option<Duration>,
    /// Whether executing the request twice does the same as once; `None` decides by the method (RFC 9110, section 9.2.2).
    pub idempotent: Option<bool>,
}

impl StreamRequest {
    /// Makes a request without body. The fields are open to change.
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
            body: RequestBody::empty(),
            company_id: None,
            timeout: None,
            idle_timeout: None,
            idempotent: None,
        }
    }

    /// Makes a `GET` request.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body; the content type is a header of its own.
    pub fn body(mut self, body: RequestBody) -> Self {
        self.body = body;
        self
    }
}

/// Prints no header value, no query and no body: they are the caller's data.
impl fmt::Debug for StreamRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamRequest")
            .field("method", &self.method)
            .field("path", &without_query(&self.path))
            .field("headers", &HeaderNames(&self.headers))
            .field("body", &self.body)
            .field("company_id", &self.company_id)
            .field("timeout", &self.timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("idempotent", &self.idempotent)
            .finish()
    }
}
