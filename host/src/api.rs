//! Calling Procore's REST API.

use std::{fmt, time::Duration};

use crate::{
    Diagnosis, ParkedRequest,
    bindings::{exports::procore::auth::api as contract, procore::auth::types},
    time::{from_millis, millis},
};

/// A request to the REST API.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiRequest {
    /// An RFC 9110 method token; letter case is kept as given.
    pub method: String,
    /// An absolute path with an optional query, such as `/rest/v1.0/me`: never a URL, so that a call cannot leave the API host.
    pub path: String,
    /// Names and values. `Authorization` and `Host` are refused.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// The company that the call is for; `None` means the connection's.
    pub company_id: Option<u64>,
    /// How long all attempts together may take; `None` means the connection's policy.
    pub timeout: Option<Duration>,
    /// Whether executing the request twice does the same as once; `None` decides by the method (RFC 9110, section 9.2.2).
    pub idempotent: Option<bool>,
    /// Whether to keep the request and replay it later where it cannot be sent now.
    pub park: bool,
    /// Parked requests with the same key, of 1 to 256 bytes, are carried out in the order in which they were parked; while one is not
    /// done, or a person must decide about it, those behind it wait. A request that may be parked is parked at once where
    /// others of its key wait. `None`: it waits for no other.
    pub order_key: Option<String>,
}

impl ApiRequest {
    /// Makes a request without body that is not parked. The fields are open to change.
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            company_id: None,
            timeout: None,
            idempotent: None,
            park: false,
            order_key: None,
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
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

/// Prints no header value, no query and no body: they are the caller's data.
impl fmt::Debug for ApiRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiRequest")
            .field("method", &self.method)
            .field("path", &without_query(&self.path))
            .field("headers", &HeaderNames(&self.headers))
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("company_id", &self.company_id)
            .field("timeout", &self.timeout)
            .field("idempotent", &self.idempotent)
            .field("park", &self.park)
            .field("order_key", &self.order_key)
            .finish()
    }
}

/// The server's answer, whatever its status.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiResponse {
    /// The HTTP status.
    pub status: u16,
    /// Names and values in the order of the reply.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How many times the request was sent.
    pub attempts: u32,
    /// What a refusal means; `None` for a status below 400.
    pub diagnosis: Option<Diagnosis>,
    /// Whether the call was made as the service account of [`crate::ConnectionBuilder::fallback`], and not as the user.
    pub acts_as_fallback: bool,
}

/// Prints no header value and no body: they are the caller's data.
impl fmt::Debug for ApiResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiResponse")
            .field("status", &self.status)
            .field("headers", &HeaderNames(&self.headers))
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("attempts", &self.attempts)
            .field("diagnosis", &self.diagnosis)
            .field("acts_as_fallback", &self.acts_as_fallback)
            .finish()
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The server answered.
    Answered(ApiResponse),
    /// The request was kept for later.
    Parked(ParkedRequest),
}

/// What one attempt of a caller with an HTTP client of its own came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The method that was sent.
    pub method: String,
    /// 1 for the first.
    pub number: u32,
    /// As in [`ApiRequest::idempotent`].
    pub idempotent: Option<bool>,
    /// What came back.
    pub reply: Reply,
    /// Whether the token was renewed since the first attempt because of a 401.
    pub renewed: bool,
    /// What is left of the call's time.
    pub time_left: Duration,
}

/// What came back from one attempt.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The server answered.
    Answered {
        /// The HTTP status.
        status: u16,
        /// Names and values.
        headers: Vec<(String, String)>,
        /// The beginning of the body, for the diagnosis; 4 KiB are enough.
        body: Vec<u8>,
    },
    /// There was no answer.
    Unanswered {
        /// As in [`crate::HttpFailure::code`].
        code: String,
        /// Whether any byte of the request may have reached the server.
        sent: bool,
    },
}

/// Prints no header value and no body: they are the caller's data.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered {
                status,
                headers,
                body,
            } => f
                .debug_struct("Answered")
                .field("status", status)
                .field("headers", &HeaderNames(headers))
                .field("body", &format_args!("{} bytes", body.len()))
                .finish(),
            Self::Unanswered { code, sent } => f
                .debug_struct("Unanswered")
                .field("code", code)
                .field("sent", sent)
                .finish(),
        }
    }
}

/// What to do after an attempt.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Decision {
    /// Give the reply to the caller, with what it means where it is a refusal.
    Deliver(Option<Diagnosis>),
    /// Send the same request again after this time.
    RetryAfter(Duration),
    /// Get another token with [`crate::Connection::renew_rejected`], and send the same request again with it.
    RenewAndResend,
    /// It was not executed, and cannot be now: park it, or tell the caller.
    GiveUp(Diagnosis),
    /// It may have been executed: never send it again without a person's word.
    UnknownOutcome(Diagnosis),
}

pub(crate) fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

pub(crate) struct HeaderNames<'a>(pub(crate) &'a [(String, String)]);

impl fmt::Debug for HeaderNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

pub(crate) fn to_contract_headers(headers: Vec<(String, String)>) -> Vec<types::Header> {
    headers
        .into_iter()
        .map(|(name, value)| types::Header { name, value })
        .collect()
}

impl From<ApiRequest> for contract::Request {
    fn from(request: ApiRequest) -> Self {
        Self {
            method: request.method,
            path: request.path,
            headers: to_contract_headers(request.headers),
            body: request.body,
            company_id: request.company_id,
            timeout: request.timeout.map(millis),
            idempotent: request.idempotent,
            park: request.park,
            order_key: request.order_key,
            // The connection knows it.
            not_before: None,
        }
    }
}

impl From<contract::Response> for ApiResponse {
    fn from(response: contract::Response) -> Self {
        Self {
            status: response.status,
            headers: response
                .headers
                .into_iter()
                .map(|header| (header.name, header.value))
                .collect(),
            body: response.body,
            attempts: response.attempts,
            diagnosis: response.diagnosis.map(Into::into),
            acts_as_fallback: false,
        }
    }
}

impl From<contract::Outcome> for Outcome {
    fn from(outcome: contract::Outcome) -> Self {
        match outcome {
            contract::Outcome::Answered(response) => Self::Answered(response.into()),
            contract::Outcome::Parked(kept) => Self::Parked(kept.request.into()),
        }
    }
}

impl From<Attempt> for contract::Attempt {
    fn from(attempt: Attempt) -> Self {
        Self {
            method: attempt.method,
            number: attempt.number,
            idempotent: attempt.idempotent,
            reply: attempt.reply.into(),
            renewed: attempt.renewed,
            time_left: millis(attempt.time_left),
        }
    }
}

impl From<Reply> for contract::Reply {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Answered {
                status,
                headers,
                body,
            } => Self::Answered(contract::StatusLine {
                status,
                headers: to_contract_headers(headers),
                body,
            }),
            Reply::Unanswered { code, sent } => Self::Unanswered(contract::NoReply { code, sent }),
        }
    }
}

impl From<contract::Decision> for Decision {
    fn from(decision: contract::Decision) -> Self {
        match decision {
            contract::Decision::Deliver(delivery) => {
                Self::Deliver(delivery.diagnosis.map(Into::into))
            }
            contract::Decision::RetryAfter(wait) => Self::RetryAfter(from_millis(wait)),
            contract::Decision::RenewAndResend => Self::RenewAndResend,
            contract::Decision::GiveUp(obstacle) => Self::GiveUp(obstacle.diagnosis.into()),
            contract::Decision::UnknownOutcome(diagnosis) => Self::UnknownOutcome(diagnosis.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiRequest, Reply};

    #[test]
    fn debug_shows_no_data_of_the_caller() {
        let request = ApiRequest::new("POST", "/rest/v1.0/x?q=hunter2")
            .header("X-Key", "hunter2")
            .body("hunter2");
        let reply = Reply::Answered {
            status: 200,
            headers: request.headers.clone(),
            body: request.body.clone(),
        };
        let printed = format!("{request:?} {reply:#?}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
