//! The server of metrics and probes: for this machine only, a reply a connection, and not many at once. Who comes is let in: for more
//! than there are places for, the oldest goes that has not asked anything yet.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::format;
use super::probe::{Answer, Probe};
use crate::cli::open::Opener;
use crate::cli::shutdown::Shutdown;
use crate::cli::time;

/// How many connections are served at once.
const AT_ONCE: usize = 16;

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(5);

/// How long a connection may take as a whole.
const WHOLE: Duration = Duration::from_secs(10);

/// The pause after a connection that could not be accepted: too many open files, perhaps.
const PAUSE: Duration = Duration::from_secs(1);

type Reply = Response<Full<Bytes>>;

/// Listens.
pub(super) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until told to stop.
pub(super) async fn serve(listener: TcpListener, opener: &Opener, shutdown: &Shutdown) {
    let mut visitors = Visitors::default();
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => visitors.admit(stream, opener),
                Err(error) => {
                    tracing::debug!(%error, "a connection for metrics was not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

/// The connections that are served, the oldest first.
#[derive(Default)]
struct Visitors(VecDeque<Visitor>);

struct Visitor {
    /// Whether its request has come.
    has_asked: Arc<AtomicBool>,
    conversation: AbortHandle,
}

impl Visitors {
    fn admit(&mut self, stream: TcpStream, opener: &Opener) {
        self.make_room();
        let (opener, has_asked) = (opener.clone(), Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&has_asked);
        let conversation = tokio::spawn(async move {
            // The client may go away, or be cut off: it asks again.
            let _ = tokio::time::timeout(WHOLE, converse(stream, opener, &asked)).await;
        });
        self.0.push_back(Visitor {
            has_asked,
            conversation: conversation.abort_handle(),
        });
    }

    /// Turns the oldest away that has not asked yet, or where all have, the oldest.
    fn make_room(&mut self) {
        self.0.retain(|known| !known.conversation.is_finished());
        if self.0.len() < AT_ONCE {
            return;
        }
        let is_silent = |known: &Visitor| !known.has_asked.load(Ordering::Relaxed);
        let place = self.0.iter().position(is_silent).unwrap_or(0);
        if let Some(turned_away) = self.0.remove(place) {
            turned_away.conversation.abort();
        }
    }
}

async fn converse(stream: TcpStream, opener: Opener, has_asked: &AtomicBool) -> hyper::Result<()> {
    let answer = service_fn(move |request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        let reply = reply(request.method(), request.uri().path(), &opener);
        async move { Ok::<_, Infallible>(reply) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

fn reply(method: &Method, path: &str, opener: &Opener) -> Reply {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        let headers = reply.headers_mut();
        headers.insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    match path {
        "/metrics" => metrics(opener),
        "/healthz" => probe(Probe::Alive, opener),
        "/readyz" => probe(Probe::Ready, opener),
        _ => text(
            StatusCode::NOT_FOUND,
            "There are /metrics, /healthz and /readyz.\n",
        ),
    }
}

fn metrics(opener: &Opener) -> Reply {
    match format::exposition(opener, time::now()) {
        Ok(exposition) => of_type(StatusCode::OK, prometheus::TEXT_FORMAT, exposition),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

fn probe(probe: Probe, opener: &Opener) -> Reply {
    let answer = Answer::to(probe, opener.board(), time::now());
    let status = if answer.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    match serde_json::to_string(&answer) {
        Ok(json) => of_type(status, "application/json", json + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

fn text(status: StatusCode, text: &str) -> Reply {
    of_type(status, "text/plain; charset=utf-8", text.to_owned())
}

fn of_type(status: StatusCode, content_type: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Full::from(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    let value = hyper::header::HeaderValue::from_static;
    headers.insert(CONTENT_TYPE, value(content_type));
    headers.insert(CACHE_CONTROL, value("no-store"));
    reply
}
