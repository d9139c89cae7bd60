//! The HTTPS client that the host lends by default.
//!
//! What it promises beyond [`HttpClient`]:
//!
//! - **A request is written to one connection, once.** Nothing is followed and nothing is resent. (hyper itself moves a
//!   request to another connection where it has not begun to write it; that is the one exception, and no byte was sent.)
//! - **`POST` and `PATCH` get a connection of their own.** An idle connection may be dead without either side knowing, after a
//!   suspended laptop or a forgetful router, and then nobody can tell whether the request arrived. A refresh must not be
//!   exposed to that for the sake of one handshake. Other methods are idempotent (RFC 9110, section 9.2.2) and reuse
//!   connections; a body that is streamed does not, since it may be one that can be sent once only.
//! - **`sent` is `false` only where that is certain**: the connection was never made, or hyper gave the request back
//!   unwritten.
//!
//! | where it failed | code | `sent` |
//! |---|---|---|
//! | not HTTPS, or not a request that can be made | `invalid-request` | no |
//! | reading the platform's trusted roots | `tls` | no |
//! | resolving the name | `dns` | no |
//! | connecting | `connect` | no |
//! | a proxy, before the tunnel stood | `proxy` | no |
//! | the TLS handshake | `tls` | no |
//! | no connection in time | `timeout` | no |
//! | no whole reply in time | `timeout` | yes |
//! | the connection ended before the reply did | `connection-closed` | yes, unless hyper gave the request back |
//! | the reply is not HTTP | `invalid-reply` | yes |
//! | the reply is longer than permitted | `reply-too-large` | yes |

use std::{error::Error, fmt, fs, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderValue, Method, header};
use hyper_util::client::proxy::matcher::Matcher;
use once_cell::sync::OnceCell;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use url::Url;

use crate::{
    ConnectTo, HttpClient, HttpFailure, RequestLimits, StreamingClient, Target,
    connection_watch::{self, ConnectionWatch},
    engine::DEFAULT_CONCURRENT_CALLS,
};

mod streaming;

const USER_AGENT: &str = concat!("procore-auth/", env!("CARGO_PKG_VERSION"));

/// How long an idle connection is kept for reuse. Shorter than any server's patience.
const IDLE: Duration = Duration::from_secs(30);

/// Idle connections per host: as many as calls may run at once by default. With fewer, calls that come and go in step would close connections that
/// they are about to need.
const MAX_IDLE: usize = DEFAULT_CONCURRENT_CALLS as usize;

/// An [`HttpClient`] on `reqwest` and `rustls`: HTTP/1.1 over TLS, with the platform's trusted roots and the proxies that the
/// environment names (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`).
///
/// Keeps no cookies, sends no referrer, decompresses nothing. Clones are cheap and share connections: one serves thousands of
/// procore-auth connections.
///
/// The first request reads the platform's trusted roots, which blocks for some milliseconds (4 ms on Debian); see
/// [`HttpsClient::load_trusted_roots`].
#[derive(Clone)]
pub struct HttpsClient {
    inner: Arc<Inner>,
    /// Whether plain HTTP may be spoken with this machine itself.
    plain_loopback: bool,
}

struct Inner {
    extra_roots: Vec<CertificateDer<'static>>,
    connect_to: Vec<ConnectTo>,
    proxies: Matcher,
    connect_timeout: Duration,
    /// Made for the first request.
    ways: OnceCell<Ways>,
}

/// How servers are reached.
struct Ways {
    usual: Clients,
    overridden: Vec<Override>,
    loopback: reqwest::Client,
}

/// Two ways to a server.
struct Clients {
    /// Reuses idle connections.
    reusing: reqwest::Client,
    /// Makes a connection for each request.
    fresh: reqwest::Client,
}

/// A host that is reached at another address.
struct Override {
    connect_to: ConnectTo,
    clients: Clients,
}

/// Configures an [`HttpsClient`].
#[derive(Debug, Clone)]
pub struct HttpsClientBuilder {
    extra_ca: Vec<Ca>,
    connect_to: Vec<ConnectTo>,
    connect_timeout: Duration,
}

#[derive(Debug, Clone)]
enum Ca {
    File(PathBuf),
    Pem(Vec<u8>),
}

impl Default for HttpsClientBuilder {
    fn default() -> Self {
        Self {
            extra_ca: Vec::new(),
            connect_to: Vec::new(),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

impl HttpsClientBuilder {
    /// Trusts the certificate authorities in a PEM file too, such as that of a company's proxy. It is read by
    /// [`HttpsClientBuilder::build`].
    #[must_use]
    pub fn extra_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.extra_ca.push(Ca::File(path.into()));
        self
    }

    /// Trusts the certificate authorities in a PEM text too.
    #[must_use]
    pub fn extra_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.extra_ca.push(Ca::Pem(pem.into()));
        self
    }

    /// Connects to other addresses than the hosts' own. Such connections pass by every proxy. Of several for one host and
    /// port the first counts.
    #[must_use]
    pub fn connect_to(mut self, connect_to: impl IntoIterator<Item = ConnectTo>) -> Self {
        self.connect_to.extend(connect_to);
        self
    }

    /// Sets how long resolving, connecting and the TLS handshake may take together. The default is 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Makes the client. Reads the files with certificates; the platform's trusted roots are read by the first request.
    ///
    /// Errors: [`HttpsClientError::CaFile`], [`HttpsClientError::CaPem`].
    pub fn build(self) -> Result<HttpsClient, HttpsClientError> {
        let mut extra_roots = Vec::new();
        for ca in &self.extra_ca {
            extra_roots.extend(certificates(ca)?);
        }
        check_extra_roots(&extra_roots)?;
        Ok(HttpsClient {
            inner: Arc::new(Inner {
                extra_roots,
                connect_to: self.connect_to,
                proxies: Matcher::from_system(),
                connect_timeout: self.connect_timeout,
                ways: OnceCell::new(),
            }),
            plain_loopback: false,
        })
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpsClientError {
    /// A file with certificates cannot be read.
    #[error("cannot read the certificates in {path}: {source}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A PEM text holds no certificate, or one that cannot be read.
    #[error("not a PEM text with CA certificates: {0}")]
    CaPem(String),
    /// The platform's trusted roots cannot be loaded.
    #[error("cannot verify servers: {0}")]
    Trust(#[from] rustls::Error),
    /// The client cannot be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

fn tls_config(
    extra_roots: &[CertificateDer<'static>],
) -> Result<rustls::ClientConfig, HttpsClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(extra_roots.to_vec(), &provider)?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(
    extra_roots: Vec<CertificateDer<'static>>,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<rustls_platform_verifier::Verifier, HttpsClientError> {
    use rustls_platform_verifier::Verifier;
    let provider = Arc::clone(provider);
    #[cfg(target_os = "android")]
    {
        // There are none: see `check_extra_roots`.
        drop(extra_roots);
        Ok(Verifier::new(provider)?)
    }
    #[cfg(not(target_os = "android"))]
    Ok(Verifier::new_with_extra_roots(extra_roots, provider)?)
}

/// Refuses what cannot be trusted here, and not with the first request.
fn check_extra_roots(extra_roots: &[CertificateDer<'static>]) -> Result<(), HttpsClientError> {
    if cfg!(target_os = "android") && !extra_roots.is_empty() {
        let why = "this platform takes no further CA certificates";
        return Err(HttpsClientError::CaPem(why.to_owned()));
    }
    let mut roots = rustls::RootCertStore::empty();
    let mut add = extra_roots.iter().map(|root| roots.add(root.clone()));
    add.try_for_each(|added| added.map_err(|error| HttpsClientError::CaPem(error.to_string())))
}

fn certificates(ca: &Ca) -> Result<Vec<CertificateDer<'static>>, HttpsClientError> {
    let (pem, origin) = match ca {
        Ca::Pem(pem) => (pem.clone(), "the given text".to_owned()),
        Ca::File(path) => {
            let pem = fs::read(path).map_err(|source| HttpsClientError::CaFile {
                path: path.clone(),
                source,
            })?;
            (pem, path.display().to_string())
        }
    };
    let found = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| HttpsClientError::CaPem(format!("{origin}: {error}")))?;
    if found.is_empty() {
        let why = format!("{origin}: there is no certificate in it");
        return Err(HttpsClientError::CaPem(why));
    }
    Ok(found)
}

/// Where a client may go.
#[derive(Clone, Copy)]
enum Reach<'a> {
    /// To every server with TLS.
    Anywhere,
    /// To the one address of an override.
    Override(&'a ConnectTo),
    /// To this machine, without TLS.
    Loopback,
}

impl Clients {
    fn new(
        tls: &rustls::ClientConfig,
        connect_timeout: Duration,
        reach: Reach<'_>,
    ) -> Result<Self, reqwest::Error> {
        let base = || {
            let builder = reqwest::Client::builder()
                .user_agent(USER_AGENT)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .http1_only()
                .connect_timeout(connect_timeout)
                .connector_layer(ConnectionWatch)
                // A clone shares the session cache: a fresh connection resumes an earlier session.
                .tls_backend_preconfigured(tls.clone());
            match reach {
                Reach::Anywhere => builder.https_only(true),
                Reach::Loopback => builder.no_proxy(),
                Reach::Override(connect_to) => {
                    let (address, plain) = match connect_to.target() {
                        Target::Tls(address) => (address, false),
                        Target::Plain(address) => (address, true),
                    };
                    builder
                        .https_only(!plain)
                        .no_proxy()
                        .dns_resolver(Fixed(address))
                }
            }
        };
        Ok(Self {
            reusing: base()
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(MAX_IDLE)
                .build()?,
            fresh: base().pool_max_idle_per_host(0).build()?,
        })
    }
}

impl Ways {
    fn new(inner: &Inner) -> Result<Self, HttpsClientError> {
        let tls = tls_config(&inner.extra_roots)?;
        let clients = |reach| Clients::new(&tls, inner.connect_timeout, reach);
        let overridden = inner.connect_to.iter().map(|connect_to| {
            Ok(Override {
                connect_to: connect_to.clone(),
                clients: clients(Reach::Override(connect_to))?,
            })
        });
        Ok(Self {
            usual: clients(Reach::Anywhere)?,
            overridden: overridden.collect::<Result<_, reqwest::Error>>()?,
            loopback: clients(Reach::Loopback)?.fresh,
        })
    }
}

/// Resolves every name to one address. A client with it is used for one host only.
struct Fixed(SocketAddr);

impl reqwest::dns::Resolve for Fixed {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let addresses: reqwest::dns::Addrs = Box::new(std::iter::once(self.0));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

impl HttpsClient {
    /// Begins to configure a client.
    pub fn builder() -> HttpsClientBuilder {
        HttpsClientBuilder::default()
    }

    /// Makes a client with the defaults.
    pub fn new() -> Result<Self, HttpsClientError> {
        Self::builder().build()
    }

    /// Reads the platform's trusted roots now instead of with the first request; does nothing where that was done. Blocks for some
    /// milliseconds. Called at the start, it fails there and not with the first refresh.
    ///
    /// Errors: [`HttpsClientError::Trust`], [`HttpsClientError::Client`].
    pub fn load_trusted_roots(&self) -> Result<(), HttpsClientError> {
        self.inner.ways().map(|_| ())
    }

    /// Returns a client that also speaks plain HTTP with this machine itself: with `localhost`, `127.0.0.0/8` and `[::1]`, past
    /// every proxy. For sinks of alerts; what a plugin is lent has no use for it.
    #[must_use]
    pub fn with_plain_loopback(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            plain_loopback: true,
        }
    }

    /// Finds the way for a request; `fresh` asks for a connection of its own.
    fn way(
        &self,
        request: http::Request<Option<reqwest::Body>>,
        fresh: bool,
    ) -> Result<Way, HttpFailure> {
        match loopback_url(request.uri()).filter(|_| self.plain_loopback) {
            Some(url) => Ok(Way {
                client: self
                    .inner
                    .ways()
                    .map_err(|error| untrusting(&error))?
                    .loopback
                    .clone(),
                host: url.host_str().unwrap_or_default().to_owned(),
                request: into_reqwest(request, url),
                fresh: true,
                proxied: false,
            }),
            None => self.inner.way(request, fresh),
        }
    }
}

/// Says that no server can be verified. Nothing was sent; the roots are read again for the next request.
fn untrusting(error: &HttpsClientError) -> HttpFailure {
    HttpFailure::new("tls", error.to_string(), false)
}

impl fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connect_to = self.inner.connect_to.iter().map(ToString::to_string);
        f.debug_struct("HttpsClient")
            .field("connect_to", &connect_to.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for HttpsClient {
    async fn send(
        &self,
        request: http::Request<Vec<u8>>,
        limits: RequestLimits,
    ) -> Result<http::Response<Vec<u8>>, HttpFailure> {
        let fresh = is_not_idempotent(request.method());
        let way = self.way(with_body(request), fresh)?;
        let (outcome, connection) = connection_watch::observe(tokio::time::timeout(
            limits.timeout,
            exchange(&way.client, way.request, limits.reply_size),
        ))
        .await;
        // A request on a reused connection makes no connection, so there the watch proves nothing.
        let never_connected = way.fresh && !connection.was_made();
        match outcome {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(failure)) => Err(failure.for_a_person(&way.host, way.proxied)),
            Err(_) => Err(HttpFailure {
                code: "timeout",
                message: format!(
                    "{}: no {} within {} ms",
                    way.host,
                    if never_connected {
                        "connection"
                    } else {
                        "whole reply"
                    },
                    limits.timeout.as_millis()
                ),
                sent: !never_connected,
            }),
        }
    }

    fn streaming(&self) -> Option<&dyn StreamingClient> {
        Some(self)
    }
}

/// A request with the client that is to carry it out.
struct Way {
    client: reqwest::Client,
    request: reqwest::Request,
    fresh: bool,
    proxied: bool,
    host: String,
}

impl Inner {
    /// Makes the clients, once. Where that fails, it is tried again by the next request.
    fn ways(&self) -> Result<&Ways, HttpsClientError> {
        self.ways.get_or_try_init(|| Ways::new(self))
    }

    fn way(
        &self,
        request: http::Request<Option<reqwest::Body>>,
        fresh: bool,
    ) -> Result<Way, HttpFailure> {
        let url = https_url(request.uri())?;
        let ways = self.ways().map_err(|error| untrusting(&error))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default();
        let overridden = ways.overridden.iter().find(|candidate| {
            candidate.connect_to.host() == host && Some(candidate.connect_to.port()) == port
        });
        let clients = overridden.map_or(&ways.usual, |found| &found.clients);
        let proxied = overridden.is_none() && self.proxies.intercept(request.uri()).is_some();
        let client = if fresh {
            &clients.fresh
        } else {
            &clients.reusing
        };
        let request = match overridden {
            None => into_reqwest(request, url),
            Some(found) => redirected(request, url, found.connect_to.target())?,
        };
        Ok(Way {
            client: client.clone(),
            request,
            fresh,
            proxied,
            host,
        })
    }
}

fn https_url(uri: &http::Uri) -> Result<Url, HttpFailure> {
    match Url::parse(&uri.to_string()) {
        Ok(url) if url.scheme() == "https" => Ok(url),
        _ => Err(invalid_request("the URL is not an https URL")),
    }
}

/// Parses a URL of plain HTTP to this machine itself; `None` for any other.
fn loopback_url(uri: &http::Uri) -> Option<Url> {
    let url = Url::parse(&uri.to_string()).ok()?;
    (url.scheme() == "http" && is_loopback(&url)).then_some(url)
}

/// Tells whether a URL names this machine itself.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn invalid_request(message: &str) -> HttpFailure {
    HttpFailure::new("invalid-request", message, false)
}

fn is_not_idempotent(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PATCH)
}

/// An empty body of a `GET` would announce itself as one.
fn with_body(request: http::Request<Vec<u8>>) -> http::Request<Option<reqwest::Body>> {
    let is_sent = !request.body().is_empty() || request.method() == Method::POST;
    request.map(|body| is_sent.then(|| body.into()))
}

fn into_reqwest(request: http::Request<Option<reqwest::Body>>, url: Url) -> reqwest::Request {
    let (parts, body) = request.into_parts();
    let mut converted = reqwest::Request::new(parts.method, url);
    *converted.headers_mut() = parts.headers;
    *converted.body_mut() = body;
    converted
}

/// Keeps the true name in `Host` and in the TLS handshake. The port goes: the resolver's counts only where the URL has none.
fn redirected(
    request: http::Request<Option<reqwest::Body>>,
    mut url: Url,
    target: Target,
) -> Result<reqwest::Request, HttpFailure> {
    let unusable = || invalid_request("the URL does not fit its override");
    let authority = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    let authority = HeaderValue::try_from(authority).map_err(|_| unusable())?;
    url.set_port(None).map_err(|()| unusable())?;
    if let Target::Plain(_) = target {
        url.set_scheme("http").map_err(|()| unusable())?;
    }
    let mut request = into_reqwest(request, url);
    request.headers_mut().insert(header::HOST, authority);
    Ok(request)
}

/// Sends the request, and reads the reply as far as it is permitted to go.
async fn exchange(
    client: &reqwest::Client,
    request: reqwest::Request,
    reply_size: usize,
) -> Result<http::Response<Vec<u8>>, Failure> {
    let mut response = client.execute(request).await?;
    let announced = response.content_length().unwrap_or(0);
    if announced > reply_size as u64 {
        return Err(Failure::TooLarge(reply_size));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > reply_size - body.len() {
            return Err(Failure::TooLarge(reply_size));
        }
        body.extend_from_slice(&chunk);
    }
    let mut reply = http::Response::new(body);
    *reply.status_mut() = response.status();
    *reply.version_mut() = response.version();
    *reply.headers_mut() = std::mem::take(response.headers_mut());
    Ok(reply)
}

enum Failure {
    TooLarge(usize),
    Reqwest(reqwest::Error),
}

impl From<reqwest::Error> for Failure {
    /// The URL may hold a token in its query, and would stand in every message.
    fn from(error: reqwest::Error) -> Self {
        Self::Reqwest(error.without_url())
    }
}

impl Failure {
    fn for_a_person(&self, host: &str, proxied: bool) -> HttpFailure {
        match self {
            Self::TooLarge(limit) => HttpFailure::new(
                "reply-too-large",
                format!("{host}: the reply is longer than {limit} bytes"),
                true,
            ),
            Self::Reqwest(error) => {
                let (code, sent) = classify(error, proxied);
                HttpFailure::new(code, format!("{host}: {}", cause(error)), sent)
            }
        }
    }
}

/// Tells what failed in a client of somebody else's.
pub(crate) fn reqwest_failure(error: reqwest::Error, host: &str) -> HttpFailure {
    Failure::from(error).for_a_person(host, false)
}

/// Names what failed by the table at the top, and tells whether a byte may have been sent.
fn classify(error: &reqwest::Error, proxied: bool) -> (&'static str, bool) {
    if error.is_builder() {
        return ("invalid-request", false);
    }
    if error.is_connect() {
        let code = if chain(error).any(is_tls) {
            "tls"
        } else if error.is_timeout() {
            "timeout"
        } else if proxied {
            "proxy"
        } else if error.is_dns() {
            "dns"
        } else {
            "connect"
        };
        return (code, false);
    }
    if error.is_timeout() {
        return ("timeout", true);
    }
    let hyper = || chain(error).filter_map(|link| link.downcast_ref::<hyper::Error>());
    // hyper says so only of a request that it did not begin to write, and gives it back.
    let unsent = error.is_request() && hyper().any(hyper::Error::is_canceled);
    if hyper().any(hyper::Error::is_parse) || chain(error).any(is_invalid_data) {
        ("invalid-reply", !unsent)
    } else {
        ("connection-closed", !unsent)
    }
}

/// The error and what caused it.
fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let first: &(dyn Error + 'static) = error;
    std::iter::successors(Some(first), |link| caused_by(*link))
}

/// An `io::Error` hides the error that it wraps from `source`.
fn caused_by<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let io = error.downcast_ref::<io::Error>();
    match io.and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// An end of the stream while connecting is one in the handshake: connecting a socket has no such end.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    error.is::<rustls::Error>()
        || error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.to_string().starts_with("tls handshake"))
}

/// How hyper reports a malformed chunk.
fn is_invalid_data(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
        )
    })
}

/// The innermost cause says most. None of them quotes the request.
fn cause(error: &reqwest::Error) -> String {
    let texts = chain(error).map(ToString::to_string);
    let last = texts.filter(|text| !text.is_empty()).last();
    last.map_or_else(String::new, |text| without_manual(&text).to_owned())
}

/// Takes the link to the manual of rustls away, which is for those who write programs with it.
fn without_manual(text: &str) -> &str {
    text.split_once(": https://docs.rs/")
        .map_or(text, |(what, _)| what)
}

#[cfg(test)]
mod tests;
