//! The server of metrics and probes: for this machine only, a reply a connection, and not many at once.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::format;
use super::probe::{Answer, Probe};
use crate::cli::open::Opener;
use crate::cli::shutdown::Shutdown;
use crate::cli::time;

/// How many connections are served at once. More wait for their turn.
const AT_ONCE: usize = 8;

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
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            () = shutdown.requested() => return,
            (accepted, place) = accepted => match accepted {
                Ok((stream, _)) => {
                    let opener = opener.clone();
                    tokio::spawn(async move {
                        // The client may go away, or be cut off: it asks again.
                        let _ = tokio::time::timeout(WHOLE, converse(stream, opener)).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection for metrics was not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

async fn converse(stream: TcpStream, opener: Opener) -> hyper::Result<()> {
    let answer = service_fn(move |request: Request<Incoming>| {
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
