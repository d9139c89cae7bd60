//! The callback server: takes the browser's answer to a sign-in, on this machine only.
//!
//! | request | answer | ends the wait |
//! |---|---|---|
//! | `GET` of the redirect URI's path with `code` or `error` | 303 to the answer's place, an address without the code | as the caller says |
//! | the answer's place | the outcome; until it is known, a page that asks again by itself | no |
//! | the same answer again | 303 to the same place | no |
//! | another answer, while or after the first is dealt with | that page again, or "already finished" | no |
//! | the path without either | what is missing | no |
//! | any other path (`/favicon.ico`) | 404 | no |
//! | a `Sec-Fetch-Dest` other than `document` | 403: some page has the browser ask in the background | no |
//! | any other method | 405 | no |
//! | a `Host` other than `localhost` | 421: some page tries to reach us through DNS | no |
//!
//! It listens on 127.0.0.1 and, where there is one, on ::1: browsers try either for `localhost`. Whether `state` matches is for
//! the plugin to judge: the caller gets the whole callback URL, and says what the page shows.

mod answers;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use procore_auth_host::Secret;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::answers::{Answers, Reception, Turn};
use super::callback_page::{self, CURE, Page};
use super::exit::Exit;
use super::failure::{Explained, Failure};

/// How long a browser is kept waiting for the outcome before it gets a page that says so and asks again.
const HOLD: Duration = Duration::from_secs(1);

/// How long a browser that was sent to the outcome may take to come for it.
const FETCH: Duration = Duration::from_secs(3);

/// A running callback server.
pub(crate) struct CallbackServer {
    address: SocketAddr,
    callbacks: mpsc::Receiver<Callback>,
    shown: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
    serving: JoinSet<io::Result<()>>,
}

/// A browser's answer. Dropping it shows an error page and lets the wait go on.
pub(crate) struct Callback {
    /// The whole callback URL: holds the code.
    pub(crate) url: Secret,
    turn: Turn,
}

#[derive(Clone)]
struct Shared {
    redirect_uri: Arc<str>,
    path: Arc<str>,
    answers: Answers,
    callbacks: mpsc::Sender<Callback>,
    /// Whether a browser has got an outcome.
    shown: watch::Sender<bool>,
}

impl CallbackServer {
    /// Listens at the redirect URI's port, and answers at its path.
    pub(crate) async fn start(redirect_uri: &str, port: u16, path: &str) -> Result<Self, Failure> {
        let (address, listeners) = listen(port).await.map_err(|error| busy(port, &error))?;
        let (sender, callbacks) = mpsc::channel(1);
        let (stop, _) = watch::channel(false);
        let (sender_of_shown, shown) = watch::channel(false);
        let shared = Shared {
            redirect_uri: redirect_uri.into(),
            path: if path.is_empty() { "/" } else { path }.into(),
            answers: Answers::default(),
            callbacks: sender,
            shown: sender_of_shown,
        };
        let mut serving = JoinSet::new();
        for listener in listeners {
            let app = Router::new().fallback(answer).with_state(shared.clone());
            let mut stopped = stop.subscribe();
            serving.spawn(
                axum::serve(listener, app)
                    .with_graceful_shutdown(async move {
                        // An error means that the server object is gone: the same.
                        let _ = stopped.wait_for(|stop| *stop).await;
                    })
                    .into_future(),
            );
        }
        Ok(Self {
            address,
            callbacks,
            shown,
            stop,
            serving,
        })
    }

    /// Returns the port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the IPv4 address that it listens on.
    #[cfg(test)]
    fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next answer of a browser. May be cancelled.
    pub(crate) async fn next(&mut self) -> Option<Callback> {
        self.callbacks.recv().await
    }

    /// Waits until the browser has the outcome, and then as long as the page is to be there for a reload. May be cancelled.
    pub(crate) async fn linger(&mut self, reload: Duration) {
        let fetched = tokio::time::timeout(FETCH, self.shown.wait_for(|shown| *shown));
        if fetched.await.is_ok_and(|shown| shown.is_ok()) {
            tokio::time::sleep(reload).await;
        }
    }

    /// Delivers what is being sent, and stops listening.
    pub(crate) async fn stop(mut self) {
        tracing::debug!(address = %self.address, "callback server stops");
        let _ = self.stop.send(true);
        let delivered = async { while self.serving.join_next().await.is_some() {} };
        // A browser that keeps its connection open does not keep us.
        let _ = tokio::time::timeout(Duration::from_secs(2), delivered).await;
    }
}

impl Callback {
    /// Shows the page; further answers are told that it is done.
    pub(crate) fn finish(self, page: Page) {
        self.turn.finish(page);
    }

    /// Shows the page, and lets the wait go on: this was not the answer to our sign-in.
    pub(crate) fn reject(self, page: Page) {
        self.turn.reject(page);
    }
}

async fn listen(port: u16) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = v4.local_addr()?;
    let mut listeners = vec![v4];
    match TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await {
        Ok(v6) => listeners.push(v6),
        // A machine without IPv6. Somebody else on that port is another matter: a browser might talk to them.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            tracing::debug!(%error, "no callback server on ::1");
        }
        Err(error) => return Err(error),
    }
    Ok((address, listeners))
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    if !is_for_localhost(&request) {
        return Page::bad(
            StatusCode::MISDIRECTED_REQUEST,
            "Not for this server",
            "This server answers to the name localhost only.",
        )
        .into_response();
    }
    let path = request.uri().path();
    let outcome = shared.answers.outcome(path);
    if path != &*shared.path && outcome.is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    if is_in_the_background(&request) {
        return Page::bad(
            StatusCode::FORBIDDEN,
            "Not for a page elsewhere",
            "The answer of a sign-in comes by going to this address, and not as part of another page.",
        )
        .into_response();
    }
    if request.method() != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")]).into_response();
    }
    match (outcome, request.uri().query()) {
        (Some(outcome), _) => shared.show(outcome).await.into_response(),
        (None, Some(query)) if is_answer(query) => shared.take_in(query).await,
        (None, _) => Page::bad(
            StatusCode::BAD_REQUEST,
            "This is not the answer of a sign-in",
            "There is neither a code nor an error in the address.",
        )
        .section(
            CURE,
            "Open the link that `procore-auth login` printed, and sign in there.",
        )
        .into_response(),
    }
}

impl Shared {
    /// Hands the answer to the caller, and sends the browser to the place without the code where the outcome will be.
    async fn take_in(&self, query: &str) -> Response {
        let url = Secret::new(format!("{}?{query}", self.redirect_uri));
        match self.answers.receive(&url) {
            Reception::New(turn) => {
                let place = Arc::clone(&turn.place);
                // Where nobody waits any more, the answer is dropped, and its place is gone: the server is about to end.
                let _ = self.callbacks.send(Callback { url, turn }).await;
                callback_page::see_other(&place)
            }
            Reception::Known(place) => callback_page::see_other(&place),
            Reception::Busy => working().into_response(),
            Reception::Over => Page::neutral(
                StatusCode::OK,
                "Already finished",
                "This sign-in has ended. You can close this tab.",
            )
            .section(CURE, "To sign in anew, run `procore-auth login` again.")
            .into_response(),
        }
    }

    /// Returns the page that the caller wants shown, or one that asks again where that takes long.
    async fn show(&self, mut outcome: watch::Receiver<Option<Page>>) -> Page {
        let known = outcome.wait_for(Option::is_some);
        let page = match tokio::time::timeout(HOLD, known).await {
            Err(_) => return working(),
            Ok(page) => page.ok().and_then(|page| page.clone()),
        };
        self.shown.send_replace(true);
        page.unwrap_or_else(answers::unfinished)
    }
}

fn working() -> Page {
    Page::waiting(
        "Signing in",
        "Procore has answered. procore-auth exchanges the answer for tokens and asks who signed in.",
    )
    .section(
        CURE,
        "Nothing: this page shows the outcome by itself.",
    )
}

/// Whether the query is Procore's answer: it brings a code or an error.
fn is_answer(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "code" || name == "error")
}

/// Any page can have the browser fetch this address as an image or a frame; the answer of a sign-in is gone to. Browsers tell which it is,
/// and no page can change what they tell.
fn is_in_the_background(request: &Request) -> bool {
    let mut destinations = request.headers().get_all("sec-fetch-dest").iter();
    destinations.any(|destination| destination != "document")
}

/// A page in the browser can make its own name resolve to 127.0.0.1; it cannot make the browser send `Host: localhost` then.
fn is_for_localhost(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (
        hosts.next().and_then(|host| host.to_str().ok()),
        hosts.next(),
    ) else {
        return false;
    };
    let name = match host.split_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        Some(_) => return false,
        None => host,
    };
    name.eq_ignore_ascii_case("localhost")
}

fn busy(port: u16, error: &io::Error) -> Failure {
    let paste = "or sign in without the callback server: `procore-auth login --paste`";
    let explained = match error.kind() {
        io::ErrorKind::AddrInUse => Explained::new(
            Exit::Refused,
            "callback-port-busy",
            format!("Port {port} of the redirect URI is in use by another program."),
            format!(
                "See who has it with `{}`, end that program, {paste}.",
                who_listens(port)
            ),
        ),
        io::ErrorKind::PermissionDenied => Explained::new(
            Exit::Refused,
            "callback-port-forbidden",
            format!("This user may not listen on port {port} of the redirect URI."),
            format!(
                "Register a redirect URI with a port above 1023, such as http://localhost:9876/callback, {paste}."
            ),
        ),
        _ => Explained::new(
            Exit::Refused,
            "callback-port",
            format!("Cannot listen on port {port} of the redirect URI: {error}."),
            format!("Check the machine's loopback interface, {paste}."),
        ),
    };
    explained
        .because("The redirect URI names the port, so the browser will call this one and no other.")
        .into()
}

fn who_listens(port: u16) -> String {
    if cfg!(target_os = "linux") {
        format!("ss -ltnp 'sport = :{port}'")
    } else if cfg!(windows) {
        format!("netstat -ano | findstr :{port}")
    } else {
        format!("lsof -nP -iTCP:{port} -sTCP:LISTEN")
    }
}

#[cfg(test)]
mod tests;
