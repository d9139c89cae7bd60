//! A [`tower`](https://docs.rs/tower) layer, for programs that call HTTP through services of their own: what goes through it to Procore
//! is signed, and carried through by the call policy.

use std::{
    error::Error as StdError,
    future::poll_fn,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Uri, header::CONTENT_LENGTH};
use http_body::Body;
use http_body_util::BodyExt as _;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Connection, Diagnosis, Error, HttpFailure, IncomingBody, OutgoingBody, RequestBody,
    ResponseBody, StreamLimits, StreamRequest, StreamedResponse, StreamingClient,
    https_client::reqwest_failure, stream::permit_api_call,
};

type Cause = Box<dyn StdError + Send + Sync>;

/// A layer around an HTTP client: requests get the connection's token and company, and what comes back is dealt with as
/// [`Connection::stream`] does, by the same policy.
///
/// The client below sees every attempt, each with `Authorization`. It must not follow redirects and must not repeat requests; it
/// may be any [`Service`] of `http::Request<OutgoingBody>`, such as `reqwest::Client` behind two conversions:
///
/// ```no_run
/// # async fn example(connection: procore_auth_host::Connection) -> Result<(), Box<dyn std::error::Error>> {
/// use procore_auth_host::{OutgoingBody, ProcoreLayer, RequestBody};
/// use tower::{ServiceBuilder, ServiceExt as _};
///
/// let client = reqwest::Client::builder()
///     .redirect(reqwest::redirect::Policy::none())
///     .retry(reqwest::retry::never())
///     .build()?;
/// let procore = ServiceBuilder::new()
///     .layer(ProcoreLayer::new(connection))
///     .map_request(|request: http::Request<OutgoingBody>| {
///         let request = request.map(reqwest::Body::wrap);
///         reqwest::Request::try_from(request).expect("a request that was permitted")
///     })
///     .map_response(http::Response::<reqwest::Body>::from)
///     .service(client);
/// let request = http::Request::get("/rest/v1.0/me").body(RequestBody::empty())?;
/// let response = procore.oneshot(request).await?;
/// # Ok(())
/// # }
/// ```
///
/// The answer's extensions hold a [`Delivery`].
#[derive(Debug, Clone)]
pub struct ProcoreLayer {
    connection: Connection,
}

/// The service that [`ProcoreLayer`] makes of an HTTP client.
///
/// Takes requests whose body is a [`RequestBody`], or bytes. The address is a path, or a URL at an API host of the connection's
/// environment; every other origin is refused, and nothing is sent. `Content-Length` is the client's to set; `Authorization`, `Host`,
/// `User-Agent` and the like are refused. Extensions of the request may hold [`CallOptions`].
///
/// Errors: those of [`Connection::stream`].
#[derive(Debug, Clone)]
pub struct Procore<S> {
    connection: Connection,
    client: S,
}

/// What is special about one request, in its extensions. The fields mean what they mean in [`StreamRequest`].
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CallOptions {
    /// The company that the call is for; `None` means the connection's.
    pub company_id: Option<u64>,
    /// How long all attempts together may take until the head of the reply is there; `None` means the connection's policy.
    pub timeout: Option<Duration>,
    /// The longest time between two pieces of a body; `None` means 60 s.
    pub idle_timeout: Option<Duration>,
    /// Whether executing the request twice does the same as once; `None` decides by the method.
    pub idempotent: Option<bool>,
}

/// What became of a request, in its answer's extensions.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Delivery {
    /// How many times the request was sent.
    pub attempts: u32,
    /// What a refusal means; `None` for a status below 400.
    pub diagnosis: Option<Diagnosis>,
    /// Whether the call was made as the service account of [`crate::ConnectionBuilder::fallback`], and not as the user.
    pub acts_as_fallback: bool,
}

impl ProcoreLayer {
    /// Makes the layer of a connection.
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }
}

impl<S> Layer<S> for ProcoreLayer {
    type Service = Procore<S>;

    fn layer(&self, client: S) -> Procore<S> {
        Procore {
            connection: self.connection.clone(),
            client,
        }
    }
}

impl<S, B, R> Service<http::Request<B>> for Procore<S>
where
    S: Service<http::Request<OutgoingBody>, Response = http::Response<R>> + Clone + Send + 'static,
    S::Error: Into<Cause>,
    S::Future: Send,
    B: Into<RequestBody>,
    R: Body<Data = Bytes> + Send + Sync + 'static,
    R::Error: Into<Cause>,
{
    type Response = http::Response<ResponseBody>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    /// Whether the client below has room is waited for by each attempt.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let Self { connection, client } = self.clone();
        let request = request.map(Into::into);
        Box::pin(async move {
            let request = stream_request(&connection, request)?;
            let below = Below(Mutex::new(client));
            let response = connection.stream_through(&below, request).await?;
            Ok(http::Response::from(response))
        })
    }
}

fn stream_request(
    connection: &Connection,
    request: http::Request<RequestBody>,
) -> Result<StreamRequest, Error> {
    let (mut head, body) = request.into_parts();
    let options: CallOptions = head.extensions.remove().unwrap_or_default();
    let path = path(connection, head.method.as_str(), &head.uri)?;
    // The client below says how long the body is, by the body itself.
    head.headers.remove(CONTENT_LENGTH);
    let texts = head.headers.iter();
    let texts = texts.map(|(name, value)| (name.to_string(), text(value)));
    Ok(StreamRequest {
        method: head.method.to_string(),
        path,
        headers: texts.collect(),
        body,
        company_id: options.company_id,
        timeout: options.timeout,
        idle_timeout: options.idle_timeout,
        idempotent: options.idempotent,
    })
}

/// A value that is no UTF-8 gets a sign in it that the egress policy refuses.
fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Returns the path of an address at an API host of the connection's environment.
fn path(connection: &Connection, method: &str, uri: &Uri) -> Result<String, Error> {
    if uri.authority().is_some() {
        permit_api_call(&connection.lent().egress, method, &uri.to_string())?;
    }
    let path = uri.path_and_query();
    Ok(path.map_or_else(|| "/".to_owned(), ToString::to_string))
}

/// The client below, as the call policy drives it. Each attempt takes a copy: not every service may be shared.
struct Below<S>(Mutex<S>);

impl<S: Clone> Below<S> {
    fn copy(&self) -> S {
        let client = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        client.clone()
    }
}

#[async_trait]
impl<S, R> StreamingClient for Below<S>
where
    S: Service<http::Request<OutgoingBody>, Response = http::Response<R>> + Clone + Send + 'static,
    S::Error: Into<Cause>,
    S::Future: Send,
    R: Body<Data = Bytes> + Send + Sync + 'static,
    R::Error: Into<Cause>,
{
    async fn open(
        &self,
        request: http::Request<OutgoingBody>,
        limits: StreamLimits,
    ) -> Result<http::Response<IncomingBody>, HttpFailure> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let overdue = request.body().overdue(limits);
        let mut client = self.copy();
        let mut is_begun = false;
        let exchange = async {
            poll_fn(|cx| client.poll_ready(cx)).await?;
            is_begun = true;
            client.call(request).await
        };
        let outcome = tokio::select! {
            outcome = exchange => outcome,
            () = overdue => return Err(late(&host, is_begun)),
        };
        match outcome {
            Ok(reply) => Ok(reply.map(|body| {
                let failed = move |error: R::Error| failure(error.into(), &host, true);
                body.map_err(failed).boxed()
            })),
            Err(error) => Err(failure(error.into(), &host, is_begun)),
        }
    }
}

fn late(host: &str, is_begun: bool) -> HttpFailure {
    HttpFailure::new(
        "timeout",
        format!("{host}: no reply in time, or the body stood still"),
        is_begun,
    )
}

/// Tells what is known of a failure. Of a client that is not known, whatever was begun may have been sent.
fn failure(error: Cause, host: &str, is_begun: bool) -> HttpFailure {
    match error.downcast::<reqwest::Error>() {
        Ok(error) => reqwest_failure(*error, host),
        Err(error) => HttpFailure::new("connection-closed", format!("{host}: {error}"), is_begun),
    }
}

impl From<StreamedResponse> for http::Response<ResponseBody> {
    /// A header that HTTP does not know how to write is left out.
    fn from(streamed: StreamedResponse) -> Self {
        let mut response = Self::new(streamed.body);
        if let Ok(status) = streamed.status.try_into() {
            *response.status_mut() = status;
        }
        for (name, value) in streamed.headers {
            let name = HeaderName::try_from(name);
            let value = HeaderValue::from_maybe_shared(Bytes::from(value));
            if let (Ok(name), Ok(value)) = (name, value) {
                response.headers_mut().append(name, value);
            }
        }
        response.extensions_mut().insert(Delivery {
            attempts: streamed.attempts,
            diagnosis: streamed.diagnosis,
            acts_as_fallback: streamed.acts_as_fallback,
        });
        response
    }
}
