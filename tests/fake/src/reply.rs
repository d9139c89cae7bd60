//! An HTTP reply.

use serde_json::{Value, json};

use crate::payload::Payload;

/// Describes an HTTP reply. Each server adds `Date` and `x-request-id`.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) payload: Payload,
}

impl Reply {
    /// Describes a reply without a body.
    ///
    /// A status outside 100 to 999 is sent as 500.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            payload: Payload::Bytes(Vec::new()),
        }
    }

    /// Describes a reply with any body.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut reply = Self::empty(status).header("content-type", content_type);
        reply.payload = Payload::Bytes(body.into());
        reply
    }

    /// Adds a header, next to others of its name. One that HTTP does not allow is left out when the reply is sent.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Describes a JSON reply.
    #[must_use]
    pub fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json; charset=utf-8", value.to_string())
    }

    /// Describes an HTML page.
    #[must_use]
    pub fn html(status: u16, body: &str) -> Self {
        Self::new(status, "text/html; charset=utf-8", body)
    }

    /// Describes a gateway's error page, such as 502, 503 or 504.
    #[must_use]
    pub fn gateway_error(status: u16) -> Self {
        Self::html(
            status,
            &format!(
                "<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center></body></html>"
            ),
        )
    }

    /// Describes the block page of a web application firewall: 403, HTML.
    #[must_use]
    pub fn firewall_block() -> Self {
        Self::html(
            403,
            "<html><head><title>Access denied</title></head><body><h1>Request blocked</h1><p>Ray ID: 8f00</p></body></html>",
        )
    }

    /// Describes the page of a captive portal: 200, HTML.
    #[must_use]
    pub fn captive_portal() -> Self {
        Self::html(
            200,
            "<!DOCTYPE html><html><body><h1>Welcome to Site Wi-Fi</h1><form>Accept the terms to go on</form></body></html>",
        )
    }

    /// Describes a redirect elsewhere.
    #[must_use]
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::empty(status).header("location", location)
    }

    /// Describes a 429. `retry_after` is in seconds, `reset` in Unix seconds.
    #[must_use]
    pub fn too_many_requests(retry_after: Option<u64>, reset: Option<u64>) -> Self {
        let mut reply = Self::json(
            429,
            &json!({"errors": "You have surpassed the max number of requests for an hour."}),
        );
        if let Some(seconds) = retry_after {
            reply = reply.header("retry-after", seconds.to_string());
        }
        if let Some(unix_seconds) = reset {
            reply = reply
                .header("x-rate-limit-remaining", "0")
                .header("x-rate-limit-reset", unix_seconds.to_string());
        }
        reply
    }

    /// Describes a 503. `retry_after` is in seconds.
    #[must_use]
    pub fn unavailable(retry_after: Option<u64>) -> Self {
        let reply = Self::json(503, &json!({"errors": "Service unavailable"}));
        match retry_after {
            Some(seconds) => reply.header("retry-after", seconds.to_string()),
            None => reply,
        }
    }

    /// Describes a 200 whose body never fits: this many bytes of `a`, made while they are sent.
    #[must_use]
    pub fn giant(bytes: u64) -> Self {
        let mut reply = Self::empty(200).header("content-type", "application/json; charset=utf-8");
        reply.payload = Payload::Repeated(bytes);
        reply
    }

    /// Returns the first header of a name.
    #[cfg(test)]
    pub(crate) fn header_value(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the body as JSON, if it is.
    pub(crate) fn json_body(&self) -> Option<Value> {
        match &self.payload {
            Payload::Bytes(bytes) => serde_json::from_slice(bytes).ok(),
            _ => None,
        }
    }
}
