//! HTTP to the connection's own origins.

use std::time::Duration;

use ::http::{HeaderValue, StatusCode, header::CONTENT_TYPE};

use super::CallState;
use crate::{
    HttpFailure, Key, RequestLimits, Secret,
    bindings::procore::auth::{
        http::{Body, Failure, FieldValue, FormField, Host, Request, Response},
        types::Header,
    },
    egress::Destination,
    lent::Lent,
    time::from_millis,
};

/// How much longer than its timeout an HTTP client may take before it is given up.
const OVERTIME: Duration = Duration::from_secs(5);

/// Where tokens come from, on every login host (`docs/procore-oauth.md`).
const TOKEN_ENDPOINT: &str = "/oauth/token";

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

impl Host for CallState {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, Failure>> {
        let _pause = self.enter()?;
        let timeout = from_millis(request.timeout).min(self.time_left());
        let must_save = self.must_save();
        let is_for_tokens = request.url.ends_with(TOKEN_ENDPOINT);
        let sent = async {
            if must_save {
                return Err(too_many_host_calls());
            }
            let request = self.prepared(request).await?;
            exchange(&self.lent, request, timeout).await
        };
        let reply = sent.await;
        self.tokens_in_doubt |=
            matches!(&reply, Ok(reply) if reply.status() == StatusCode::UNAUTHORIZED);
        if let Ok(reply) = &reply
            && is_for_tokens
            && reply.status().is_success()
        {
            self.unsaved_reply = Some(reply.body().clone());
        }
        Ok(reply.map(to_contract).map_err(|failure| Failure {
            code: failure.code.to_owned(),
            message: failure.message,
            sent: failure.sent,
        }))
    }
}

impl CallState {
    /// Applies the egress policy, and fills in the client secret where it belongs.
    async fn prepared(
        &mut self,
        request: Request,
    ) -> Result<::http::Request<Vec<u8>>, HttpFailure> {
        let asks_for_secret = matches!(&request.body, Body::Form(fields)
            if fields.iter().any(|field| matches!(field.value, FieldValue::ClientSecret)));
        let permit = self
            .egress()
            .permit(&request.method, &request.url, asks_for_secret)?;
        let destination = permit.destination;
        self.tokens_in_doubt |= destination == Destination::Login;
        let given = request.headers.iter();
        let given = given.map(|header| (header.name.as_str(), header.value.as_str()));
        let mut headers = self.egress().permit_headers(given)?;
        let body = match request.body {
            Body::Empty => Vec::new(),
            Body::Bytes(bytes) => bytes,
            Body::Form(fields) => {
                headers.insert(CONTENT_TYPE, FORM);
                // The policy has said so already; the secret itself is handed out on this line's word alone.
                let secret =
                    (destination == Destination::Login).then_some(&self.lent.client_secret);
                encoded(fields, secret)?
            }
            Body::Stored(key) => self.stored_body(key, destination).await?,
        };
        let mut prepared = ::http::Request::builder()
            .method(permit.method)
            .uri(permit.uri)
            .body(body)
            .map_err(|_| invalid("the URL is not acceptable"))?;
        *prepared.headers_mut() = headers;
        Ok(prepared)
    }
}

/// What the keys of entries that may be sent begin with: no other entry, and so no token, leaves the store this way.
const BODY_PREFIX: &str = "body-";

impl CallState {
    async fn stored_body(
        &self,
        key: String,
        destination: Destination,
    ) -> Result<Vec<u8>, HttpFailure> {
        if destination != Destination::Api || !key.starts_with(BODY_PREFIX) {
            return Err(invalid(
                "only a stored body may be sent, and only to the API",
            ));
        }
        let entry = async { self.lent.store.get(&Key::new(key)?).await };
        match entry.await {
            Ok(Some(entry)) => Ok(entry.value),
            Ok(None) => Err(HttpFailure::new(
                "no-such-entry",
                "the stored body does not exist",
                false,
            )),
            Err(refused) => Err(HttpFailure::new("store", refused.to_string(), false)),
        }
    }
}

async fn exchange(
    lent: &Lent,
    request: ::http::Request<Vec<u8>>,
    timeout: Duration,
) -> Result<::http::Response<Vec<u8>>, HttpFailure> {
    if timeout.is_zero() {
        return Err(HttpFailure::new(
            "timeout",
            "no time was left for the request",
            false,
        ));
    }
    let reply_size = lent.limits.reply_size;
    let limits = RequestLimits {
        timeout,
        reply_size,
    };
    let reply = lent.http.send(request, limits);
    let reply = tokio::time::timeout(timeout.saturating_add(OVERTIME), reply)
        .await
        .unwrap_or_else(|_| {
            Err(HttpFailure::new(
                "timeout",
                "the HTTP client did not return",
                true,
            ))
        })?;
    if reply.body().len() > reply_size {
        return Err(HttpFailure::new(
            "reply-too-large",
            "the reply is longer than it may be",
            true,
        ));
    }
    Ok(reply)
}

/// Encodes a form; `secret` is `None` where it must not be sent.
fn encoded(fields: Vec<FormField>, secret: Option<&Secret>) -> Result<Vec<u8>, HttpFailure> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for field in fields {
        match field.value {
            FieldValue::Text(text) => form.append_pair(&field.name, &text),
            FieldValue::ClientSecret => {
                let secret = secret.ok_or_else(|| {
                    HttpFailure::new(
                        "secret-not-permitted",
                        "the client secret goes to the login origin only",
                        false,
                    )
                })?;
                form.append_pair(&field.name, secret.expose())
            }
        };
    }
    Ok(form.finish().into_bytes())
}

fn to_contract(reply: ::http::Response<Vec<u8>>) -> Response {
    let (parts, body) = reply.into_parts();
    let headers = parts.headers.iter().map(|(name, value)| Header {
        name: name.as_str().to_owned(),
        value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
    });
    Response {
        status: parts.status.as_u16(),
        headers: headers.collect(),
        body,
    }
}

fn too_many_host_calls() -> HttpFailure {
    HttpFailure::new(
        "too-many-host-calls",
        "the call is near the end of its host calls, and what is left is for saving",
        false,
    )
}

fn invalid(message: &str) -> HttpFailure {
    HttpFailure::new("invalid-request", message, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(value: FieldValue) -> Vec<FormField> {
        vec![FormField {
            name: "client_secret".to_owned(),
            value,
        }]
    }

    #[test]
    fn the_secret_is_filled_in_for_the_login_origin_only() {
        let secret = Secret::new("a b&c");
        let form = encoded(field(FieldValue::ClientSecret), Some(&secret)).expect("permitted");
        assert_eq!(form, b"client_secret=a+b%26c");
        let refused = encoded(field(FieldValue::ClientSecret), None).expect_err("refused");
        assert_eq!(
            (refused.code, refused.sent),
            ("secret-not-permitted", false)
        );
    }
}
