//! A webhook on this machine: answers as its script says, and remembers what it got.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_body::Frame;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// What nobody may see of its URL.
pub(crate) const SECRET: &str = "hunter2-in-the-path";

/// What it does with one request. After the last of the script it takes everything.
pub(crate) enum Answer {
    /// Answers with this status.
    Status(u16),
    /// Waits for a permit, and takes it then.
    Hold(Arc<Semaphore>),
    /// Answers with this status and this text, and never ends.
    Endless(u16, String),
}

/// The server. It ends with its test.
#[derive(Clone)]
pub(crate) struct Webhook(Arc<Inner>);

struct Inner {
    port: u16,
    script: Mutex<VecDeque<Answer>>,
    got: watch::Sender<Vec<Got>>,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) body: Value,
    pub(crate) key: String,
    pub(crate) taken: bool,
}

impl Webhook {
    pub(crate) async fn start(script: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let webhook = Self(Arc::new(Inner {
            port: listener.local_addr().expect("bound").port(),
            script: Mutex::new(script.into_iter().collect()),
            got: watch::Sender::default(),
        }));
        let router = Router::new().fallback(answer).with_state(webhook.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        webhook
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/services/{SECRET}", self.0.port)
    }

    /// Has it take everything from now on.
    pub(crate) fn mend(&self) {
        self.0.script.lock().expect("not poisoned").clear();
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.0.got.borrow().clone()
    }

    /// Returns what it took, by kind and code.
    pub(crate) fn taken(&self) -> Vec<String> {
        let got = self.got().into_iter().filter(|got| got.taken);
        got.map(|got| format!("{} {}", text(&got.body["kind"]), text(&got.body["code"])))
            .collect()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn heard(&self, count: usize) {
        let mut got = self.0.got.subscribe();
        let enough = got.wait_for(|got| got.len() >= count);
        let heard = tokio::time::timeout(Duration::from_secs(60), enough).await;
        heard.expect("they come").expect("it lives");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text, and then silence without an end.
struct Endless(Option<Bytes>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(text) => Poll::Ready(Some(Ok(Frame::data(text)))),
            None => Poll::Pending,
        }
    }
}

async fn answer(State(webhook): State<Webhook>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = webhook.0.script.lock().expect("not poisoned").pop_front();
    let status = match &answer {
        Some(Answer::Status(status) | Answer::Endless(status, _)) => *status,
        _ => 200,
    };
    let status = StatusCode::from_u16(status).expect("a status");
    let key = headers["idempotency-key"].to_str().expect("text");
    let got = Got {
        body: serde_json::from_slice(&body).expect("JSON"),
        key: key.to_owned(),
        taken: status.is_success(),
    };
    webhook.0.got.send_modify(|all| all.push(got));
    match answer {
        Some(Answer::Hold(gate)) => gate.acquire().await.expect("open").forget(),
        Some(Answer::Endless(_, text)) => {
            return (status, Body::new(Endless(Some(text.into())))).into_response();
        }
        _ => {}
    }
    status.into_response()
}
