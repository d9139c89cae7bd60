//! HTTP through `wasi:http`: one request, one reply.
//!
//! | where it failed | code | `sent` |
//! |---|---|---|
//! | resolving the name | `dns` | no |
//! | connecting | `connect`; `timeout` where that took too long | no |
//! | the TLS handshake | `tls` | no |
//! | the runtime does not permit the request | `invalid-request` | no |
//! | no whole reply in time | `timeout` | yes |
//! | the reply is not HTTP | `invalid-reply` | yes |
//! | the reply is longer than permitted | `reply-too-large` | yes |
//! | anything else | `connection-closed` | yes |
//!
//! Whether the runtime really sent nothing where it reports such an error is its word; whatever it does not say clearly counts as sent.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method as HttpMethod, header};
use procore_auth_lending::egress::{Permit, Refusal};
use wasi::{
    clocks::monotonic_clock,
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method,
            OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
        },
    },
    io::{
        poll::{self, Pollable},
        streams::{InputStream, OutputStream, StreamError},
    },
};

use crate::time::nanos;

/// The most bytes of a reply's body, as in the native host.
const REPLY_SIZE: usize = 8 << 20;

const USER_AGENT: &str = concat!("procore-auth/", env!("CARGO_PKG_VERSION"), " (wasi)");

/// How long resolving, connecting and the handshake may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A whole reply.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// Why there is none.
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) sent: bool,
}

impl Failure {
    pub(crate) fn unsent(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            sent: false,
        }
    }

    fn sent(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            sent: true,
            ..Self::unsent(code, message)
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::unsent(refusal.code(), refusal.to_string())
    }
}

/// The moment at which a request is given up.
struct Deadline(Pollable);

impl Deadline {
    /// Waits until something is ready; `false` where the time is over first.
    fn wait(&self, ready: &Pollable) -> bool {
        poll::poll(&[ready, &self.0]).contains(&0)
    }
}

/// Sends what the egress policy permitted, and waits for the whole reply.
pub(crate) fn send(
    permit: &Permit,
    headers: &HeaderMap,
    body: &[u8],
    timeout: Duration,
) -> Result<Reply, Failure> {
    let deadline = Deadline(monotonic_clock::subscribe_duration(nanos(timeout)));
    let request = request(permit, headers, body)?;
    let outgoing = request.body().map_err(|()| refused("body"))?;
    let options = RequestOptions::new();
    // A runtime that knows no such limit is held by the deadline.
    let _ = options.set_connect_timeout(Some(nanos(timeout.min(CONNECT_TIMEOUT))));
    let _ = options.set_first_byte_timeout(Some(nanos(timeout)));
    let _ = options.set_between_bytes_timeout(Some(nanos(timeout)));
    let reply = outgoing_handler::handle(request, Some(options)).map_err(|code| failure(&code))?;
    let written = write(outgoing, body, &deadline);
    // The reply says more than the failure to write all of the request.
    let response = response(&reply, &deadline)?;
    written?;
    receive(&response, &deadline)
}

fn request(permit: &Permit, headers: &HeaderMap, body: &[u8]) -> Result<OutgoingRequest, Failure> {
    let fields = Fields::new();
    let mut all = headers.clone();
    all.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    // An empty body of a `GET` would announce itself as one.
    if !body.is_empty() || permit.method == HttpMethod::POST {
        all.insert(header::CONTENT_LENGTH, body.len().into());
    }
    for (name, value) in &all {
        let appended = fields.append(name.as_str(), value.as_bytes());
        appended.map_err(|_| refused("header"))?;
    }
    let request = OutgoingRequest::new(fields);
    let uri = &permit.uri;
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let path = uri.path_and_query().map(http::uri::PathAndQuery::as_str);
    request
        .set_method(&method(&permit.method))
        .map_err(|()| refused("method"))?;
    request
        .set_scheme(Some(&Scheme::Https))
        .map_err(|()| refused("scheme"))?;
    request
        .set_authority(authority)
        .map_err(|()| refused("authority"))?;
    request
        .set_path_with_query(path)
        .map_err(|()| refused("path"))?;
    Ok(request)
}

fn method(method: &HttpMethod) -> Method {
    match method.as_str() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        other => Method::Other(other.to_owned()),
    }
}

fn write(body: OutgoingBody, mut bytes: &[u8], deadline: &Deadline) -> Result<(), Failure> {
    let closed = |_| Failure::sent("connection-closed", "the request could not be written");
    let stream = body.write().map_err(closed)?;
    let ready = stream.subscribe();
    while !bytes.is_empty() {
        if !deadline.wait(&ready) {
            return Err(out_of_time());
        }
        let room = writable(&stream).map_err(closed)?.min(bytes.len());
        stream.write(&bytes[..room]).map_err(|_| closed(()))?;
        bytes = &bytes[room..];
    }
    stream.flush().map_err(|_| closed(()))?;
    while writable(&stream).map_err(closed)? == 0 {
        if !deadline.wait(&ready) {
            return Err(out_of_time());
        }
    }
    drop((ready, stream));
    OutgoingBody::finish(body, None).map_err(|code| failure(&code))
}

fn writable(stream: &OutputStream) -> Result<usize, ()> {
    let room = stream.check_write().map_err(drop)?;
    Ok(usize::try_from(room).unwrap_or(usize::MAX))
}

fn response(
    reply: &FutureIncomingResponse,
    deadline: &Deadline,
) -> Result<IncomingResponse, Failure> {
    let ready = reply.subscribe();
    loop {
        match reply.get() {
            Some(Ok(response)) => return response.map_err(|code| failure(&code)),
            Some(Err(())) => return Err(Failure::sent("invalid-reply", "the reply was taken")),
            None if !deadline.wait(&ready) => return Err(out_of_time()),
            None => {}
        }
    }
}

fn receive(response: &IncomingResponse, deadline: &Deadline) -> Result<Reply, Failure> {
    let headers = response.headers().entries();
    let taken = |()| Failure::sent("invalid-reply", "the reply has no body");
    let incoming = response.consume().map_err(taken)?;
    let body = read(&incoming, deadline)?;
    Ok(Reply {
        status: response.status(),
        headers,
        body,
    })
}

fn read(body: &IncomingBody, deadline: &Deadline) -> Result<Vec<u8>, Failure> {
    let taken = |()| Failure::sent("invalid-reply", "the reply has no body");
    let stream: InputStream = body.stream().map_err(taken)?;
    let ready = stream.subscribe();
    let mut bytes = Vec::new();
    loop {
        if !deadline.wait(&ready) {
            return Err(out_of_time());
        }
        match stream.read(64 << 10) {
            Ok(chunk) if chunk.len() > REPLY_SIZE - bytes.len() => {
                let message = format!("the reply is longer than {REPLY_SIZE} bytes");
                return Err(Failure::sent("reply-too-large", message));
            }
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = wasi::http::types::http_error_code(&error);
                return Err(Failure {
                    sent: true,
                    ..failure(&code.unwrap_or(ErrorCode::ConnectionTerminated))
                });
            }
        }
    }
}

fn out_of_time() -> Failure {
    Failure::sent("timeout", "no whole reply in time")
}

fn refused(what: &str) -> Failure {
    Failure::unsent(
        "invalid-request",
        format!("the runtime does not take the request's {what}"),
    )
}

/// Names what failed by the table at the top. The runtime's own words stay out: what they quote is not known.
fn failure(code: &ErrorCode) -> Failure {
    use ErrorCode as E;
    match code {
        E::DnsTimeout | E::DnsError(_) => Failure::unsent("dns", "the name was not resolved"),
        E::ConnectionTimeout => Failure::unsent("timeout", "no connection in time"),
        E::ConnectionRefused
        | E::DestinationNotFound
        | E::DestinationUnavailable
        | E::DestinationIpProhibited
        | E::DestinationIpUnroutable
        | E::ConnectionLimitReached => Failure::unsent("connect", "no connection"),
        // An alert may come after the handshake: it is not listed here.
        E::TlsProtocolError | E::TlsCertificateError => {
            Failure::unsent("tls", "the TLS handshake failed")
        }
        E::HttpRequestDenied => {
            Failure::unsent("invalid-request", "the runtime does not permit the request")
        }
        E::HttpResponseTimeout | E::ConnectionReadTimeout | E::ConnectionWriteTimeout => {
            out_of_time()
        }
        E::HttpProtocolError
        | E::HttpResponseHeaderSectionSize(_)
        | E::HttpResponseHeaderSize(_)
        | E::HttpResponseTransferCoding(_)
        | E::HttpResponseContentCoding(_) => {
            Failure::sent("invalid-reply", "the reply is not HTTP")
        }
        _ => Failure::sent(
            "connection-closed",
            "the connection ended before the reply did",
        ),
    }
}
