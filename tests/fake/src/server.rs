//! The server: connections, and the way of one request through log, faults and endpoints.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{HeaderMap, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::bulk;
use crate::environment::Place;
use crate::fault::{Answer, Fault};
use crate::payload::{Payload, Sending};
use crate::reply::Reply;
use crate::request::Request;
use crate::request_log::{Outcome, RecordId, Recorded};
use crate::world::World;

/// The largest request body that is read.
const BODY_LIMIT: usize = 64 << 20;

/// The world, shared by all connections. It is locked for moments only, never while waiting.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// Locks the world. A panic elsewhere leaves it usable: each change of it is complete or did not happen.
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts connections until it is dropped, and drops them with it.
pub(crate) async fn accept(listener: TcpListener, acceptor: TlsAcceptor, world: Shared) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        if refuses_connection(&world) {
            continue;
        }
        // A reply that waits for a delayed acknowledgement would be 40 ms late, as that of no real server is.
        let _ = stream.set_nodelay(true);
        connections.spawn(serve_connection(stream, acceptor.clone(), world.clone()));
    }
}

fn refuses_connection(world: &Shared) -> bool {
    let mut world = world.lock();
    let refuses = world.refused_connections > 0;
    world.refused_connections = world.refused_connections.saturating_sub(1);
    refuses
}

async fn serve_connection(stream: TcpStream, acceptor: TlsAcceptor, world: Shared) {
    // A client that gives up, or distrusts the certificate, is its own affair.
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let server_name = stream.get_ref().1.server_name().map(str::to_owned);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (parts, body) = request.into_parts();
        let (world, server_name) = (world.clone(), server_name.clone());
        // A task of its own: what was begun is handled to its end, also if the client hangs up.
        let handling =
            tokio::spawn(
                async move { respond(&world, server_name.as_deref(), &parts, body).await },
            );
        async move { handling.await.unwrap_or(Err(Closed)) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The connection is closed without a reply.
#[derive(Debug, thiserror::Error)]
#[error("closed without a reply")]
struct Closed;

async fn respond(
    world: &Shared,
    server_name: Option<&str>,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Sending>, Closed> {
    let record = head(parts, server_name, world.lock().now_ms());
    let place = record.role.and(Place::find(&record.host));
    let (id, fault) = admit(world, record.clone());
    let answer = match (place, fault.before_body()) {
        (None, _) => Answer::Reply(Reply::empty(421)),
        (_, Some(Answer::Close)) => Answer::Close,
        (_, Some(reply)) => {
            tokio::spawn(bulk::discard(body));
            reply
        }
        (Some(place), None) => match read(&record, body).await {
            Some(body) => process(world, id, request(place, record, body), fault).await,
            None => Answer::Close,
        },
    };
    let outcome = match &answer {
        Answer::Close => Outcome::Closed,
        Answer::Reply(reply) => Outcome::Replied(reply.status),
    };
    let mut world = world.lock();
    world.log.update(id, |record| record.outcome = outcome);
    match answer {
        Answer::Close => Err(Closed),
        Answer::Reply(reply) => Ok(response(&mut world, reply)),
    }
}

/// Records a request and takes its fault, in one step, so that two requests never share one.
fn admit(world: &Shared, record: Recorded) -> (RecordId, Fault) {
    let mut world = world.lock();
    let fault = world.faults.take(&record).unwrap_or_else(Fault::none);
    (world.log.add(record), fault)
}

async fn process(world: &Shared, id: RecordId, request: Request, fault: Fault) -> Answer {
    world.lock().log.update(id, |record| {
        record.form = Some(request.form()).filter(|form| form.iter().next().is_some());
        record.body.clone_from(&request.body);
    });
    if let Some(gate) = fault.before() {
        gate.pass().await;
    }
    let answer = match fault.instead() {
        Some(answer) => Err(answer),
        None => Ok(handle(world, id, &request, &fault)),
    };
    if let Some(gate) = fault.after() {
        gate.pass().await;
    }
    match answer {
        Ok(reply) => fault.distort(reply),
        Err(answer) => answer,
    }
}

fn handle(world: &Shared, id: RecordId, request: &Request, fault: &Fault) -> Reply {
    let mut world = world.lock();
    let handled = world.handle(request, fault.issuing());
    world
        .log
        .update(id, |record| record.commit = handled.commit);
    handled.reply
}

/// Describes a request of which the head is known. A host that contradicts the TLS server name is nobody's.
pub(crate) fn head(parts: &Parts, server_name: Option<&str>, at_ms: u64) -> Recorded {
    let headers = texts(&parts.headers);
    let named = headers
        .iter()
        .find(|(name, _)| name == "host")
        .map(|(_, value)| value.clone());
    let host = named
        .or_else(|| parts.uri.host().map(str::to_owned))
        .unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    let place = Place::find(&host)
        .filter(|_| server_name.is_none_or(|server| server.eq_ignore_ascii_case(name)));
    Recorded {
        at_ms,
        environment: place.and_then(Place::environment),
        role: place.map(Place::role),
        host,
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers,
        body: Vec::new(),
        form: None,
        outcome: Outcome::Pending,
        commit: None,
    }
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect()
}

/// Describes a request whose body was read.
pub(crate) fn request(place: Place, head: Recorded, body: Vec<u8>) -> Request {
    Request {
        place,
        method: head.method,
        path: head.path,
        query: head.query,
        headers: head.headers,
        body,
    }
}

async fn read(record: &Recorded, body: Incoming) -> Option<Vec<u8>> {
    if bulk::is_upload(record) {
        return bulk::digest(body).await;
    }
    let body = Limited::new(body, BODY_LIMIT).collect().await;
    body.ok().map(|body| body.to_bytes().to_vec())
}

/// Turns a reply into what is sent, with the headers that every reply has.
pub(crate) fn response<B: From<Payload>>(world: &mut World, reply: Reply) -> Response<B> {
    let date = httpdate::fmt_http_date(
        UNIX_EPOCH + Duration::from_millis(world.now_ms().min(MAX_HTTP_DATE_MS)),
    );
    let request_id = world.mint.request_id();
    let has_request_id = reply.headers.iter().any(|(name, _)| name == "x-request-id");
    let mut response = Response::new(B::from(reply.payload));
    *response.status_mut() = reply
        .status
        .try_into()
        .unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let own = [
        ("date".to_owned(), date),
        ("x-request-id".to_owned(), request_id),
    ];
    let own = own
        .into_iter()
        .filter(|(name, _)| name != "x-request-id" || !has_request_id);
    for (name, value) in reply.headers.into_iter().chain(own) {
        if let (Ok(name), Ok(value)) = (name.parse::<hyper::header::HeaderName>(), value.parse()) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// The last moment that an HTTP date can name: the end of the year 9999.
const MAX_HTTP_DATE_MS: u64 = 253_402_300_799_000;
