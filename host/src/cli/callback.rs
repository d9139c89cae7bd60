//! The callback server: takes the browser's answer to a sign-in, on this machine only.
//!
//! | request | answer | ends the wait |
//! |---|---|---|
//! | `GET` of the redirect URI's path with `code` or `error` | a page with the outcome | as the caller says |
//! | the same again, while or after the first is dealt with | "already received" | no |
//! | the path without either | what is missing | no |
//! | any other path (`/favicon.ico`) | 404 | no |
//! | any other method | 405 | no |
//! | a `Host` other than `localhost` | 421: some page tries to reach us through DNS | no |
//!
//! It listens on 127.0.0.1 and, where there is one, on ::1: browsers try either for `localhost`. Whether `state` matches is for
//! the plugin to judge: the caller gets the whole callback URL, and says what the page shows.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use procore_auth_host::Secret;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::callback_page::Page;
use super::exit::Exit;
use super::failure::{Explained, Failure};

/// A running callback server.
pub(crate) struct CallbackServer {
    address: SocketAddr,
    callbacks: mpsc::Receiver<Callback>,
    stop: watch::Sender<bool>,
    serving: JoinSet<io::Result<()>>,
}

/// A browser's answer. Dropping it shows an error page and lets the wait go on.
pub(crate) struct Callback {
    /// The whole callback URL: holds the code.
    pub(crate) url: Secret,
    page: Option<oneshot::Sender<Page>>,
    phase: Arc<Mutex<Phase>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Working,
    Done,
}

#[derive(Clone)]
struct Shared {
    redirect_uri: Arc<str>,
    path: Arc<str>,
    phase: Arc<Mutex<Phase>>,
    callbacks: mpsc::Sender<Callback>,
}

impl CallbackServer {
    /// Listens at the redirect URI's port, and answers at its path.
    pub(crate) async fn start(redirect_uri: &str, port: u16, path: &str) -> Result<Self, Failure> {
        let (address, listeners) = listen(port).await.map_err(|error| busy(port, &error))?;
        let (sender, callbacks) = mpsc::channel(1);
        let (stop, _) = watch::channel(false);
        let shared = Shared {
            redirect_uri: redirect_uri.into(),
            path: if path.is_empty() { "/" } else { path }.into(),
            phase: Arc::new(Mutex::new(Phase::Waiting)),
            callbacks: sender,
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
            stop,
            serving,
        })
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

    /// Delivers what is being sent, and stops listening.
    pub(crate) async fn stop(mut self) {
        tracing::debug!(address = %self.address, "callback server stops");
        let _ = self.stop.send(true);
        let delivered = async { while self.serving.join_next().await.is_some() {} };
        // A browser that keeps its connection open does not keep us.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), delivered).await;
    }
}

impl Callback {
    /// Shows the page; further answers are told that it is done.
    pub(crate) fn finish(self, page: Page) {
        self.end(Phase::Done, page);
    }

    /// Shows the page, and lets the wait go on: this was not the answer to our sign-in.
    pub(crate) fn reject(self, page: Page) {
        self.end(Phase::Waiting, page);
    }

    fn end(mut self, phase: Phase, page: Page) {
        set(&self.phase, phase);
        if let Some(shown) = self.page.take() {
            // The browser may have gone away; the outcome stands in the terminal too.
            let _ = shown.send(page);
        }
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        if self.page.is_some() {
            set(&self.phase, Phase::Waiting);
        }
    }
}

fn set(phase: &Mutex<Phase>, to: Phase) {
    *phase.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

/// Takes the turn where nobody has it; otherwise says who has.
fn take_turn(phase: &Mutex<Phase>) -> Result<(), Phase> {
    let mut phase = phase.lock().unwrap_or_else(PoisonError::into_inner);
    match *phase {
        Phase::Waiting => {
            *phase = Phase::Working;
            Ok(())
        }
        other => Err(other),
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
    if request.uri().path() != &*shared.path {
        return StatusCode::NOT_FOUND.into_response();
    }
    if request.method() != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")]).into_response();
    }
    match request.uri().query() {
        Some(query) if is_answer(query) => shared.deliver(query).await.into_response(),
        _ => Page::bad(
            StatusCode::BAD_REQUEST,
            "This is not the answer of a sign-in",
            "There is neither a code nor an error in the address. Open the link that procore-auth printed, and sign in there.",
        )
        .into_response(),
    }
}

impl Shared {
    /// Hands the answer to the caller, and returns the page that the caller wants shown.
    async fn deliver(&self, query: &str) -> Page {
        if let Err(phase) = take_turn(&self.phase) {
            return already(phase);
        }
        let (page, shown) = oneshot::channel();
        let callback = Callback {
            url: Secret::new(format!("{}?{query}", self.redirect_uri)),
            page: Some(page),
            phase: Arc::clone(&self.phase),
        };
        if self.callbacks.send(callback).await.is_err() {
            set(&self.phase, Phase::Done);
            return already(Phase::Done);
        }
        shown.await.unwrap_or_else(|_| {
            Page::bad(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The sign-in was not finished",
                "Look at the terminal where procore-auth runs.",
            )
        })
    }
}

fn already(phase: Phase) -> Page {
    let text = if phase == Phase::Done {
        "This sign-in is finished. You can close this tab; to sign in anew, run `procore-auth login` again."
    } else {
        "The answer of this sign-in is being worked on in another tab."
    };
    Page::neutral(StatusCode::OK, "Already received", text)
}

/// Whether the query is Procore's answer: it brings a code or an error.
fn is_answer(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "code" || name == "error")
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
mod tests {
    use std::net::{Ipv6Addr, SocketAddr};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;

    use super::{CallbackServer, Failure, Page};

    const ANSWER: &str = "GET /callback?code=abc&state=xyz HTTP/1.1\r\nHost: localhost:1\r\n\r\n";

    async fn start() -> CallbackServer {
        CallbackServer::start("http://localhost:1/callback", 0, "/callback")
            .await
            .expect("a free port")
    }

    /// Sends a raw request, and reads to the end of the connection.
    fn ask(address: SocketAddr, request: &str) -> JoinHandle<String> {
        let request = request.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("connects");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut reply = String::new();
            stream.read_to_string(&mut reply).await.expect("a reply");
            reply
        })
    }

    async fn status_of(address: SocketAddr, request: &str) -> String {
        let reply = ask(address, request).await.expect("a reply");
        reply.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn the_answer_is_handed_over_and_the_outcome_is_shown() {
        let mut server = start().await;
        let browser = ask(server.address(), ANSWER);
        let callback = server.next().await.expect("an answer");
        assert_eq!(
            callback.url.expose(),
            "http://localhost:1/callback?code=abc&state=xyz"
        );
        callback.finish(Page::good("Signed in", "as somebody"));
        let reply = browser.await.expect("a reply");
        assert!(
            reply.starts_with("HTTP/1.1 200") && reply.contains("Signed in"),
            "{reply}"
        );
        let head = reply.to_ascii_lowercase();
        for header in [
            "cache-control: no-store",
            "referrer-policy: no-referrer",
            "content-security-policy: default-src 'none'",
        ] {
            assert!(head.contains(header), "{reply}");
        }
        assert!(!reply.contains("abc"), "the code is not shown");
    }

    #[tokio::test]
    async fn it_listens_on_both_loopback_addresses() {
        let mut server = start().await;
        let port = server.address().port();
        if tokio::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0))
            .await
            .is_err()
        {
            return; // no IPv6 here
        }
        let browser = ask((Ipv6Addr::LOCALHOST, port).into(), ANSWER);
        let callback = server.next().await.expect("an answer");
        callback.finish(Page::good("Signed in", ""));
        assert!(browser.await.expect("a reply").contains("Signed in"));
    }

    #[tokio::test]
    async fn what_is_no_answer_does_not_end_the_wait() {
        let mut server = start().await;
        let address = server.address();
        for (request, status) in [
            (
                "GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "404",
            ),
            ("GET /callback HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"),
            (
                "GET /callback?state=x HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "400",
            ),
            (
                "GET /callback/?code=x HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "404",
            ),
            (
                "POST /callback?code=x HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "405",
            ),
            (
                "HEAD /callback?code=x HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "405",
            ),
            (
                "GET /callback?code=x HTTP/1.1\r\nHost: evil.example\r\n\r\n",
                "421",
            ),
            (
                "GET /callback?code=x HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n",
                "421",
            ),
            (
                "GET /callback?code=x HTTP/1.1\r\nHost: localhost:x\r\n\r\n",
                "421",
            ),
            (
                "GET /callback?code=x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                "421",
            ),
            ("GET /callback?code=x HTTP/1.0\r\n\r\n", "421"),
        ] {
            let line = status_of(address, request).await;
            assert!(line.contains(status), "{request:?}: {line}");
        }
        let browser = ask(address, ANSWER);
        let callback = server.next().await.expect("an answer");
        callback.finish(Page::good("Signed in", ""));
        browser.await.expect("a reply");
    }

    #[tokio::test]
    async fn a_second_answer_is_told_that_it_is_done() {
        let mut server = start().await;
        let first = ask(server.address(), ANSWER);
        let callback = server.next().await.expect("an answer");
        let reply = ask(server.address(), ANSWER).await.expect("a reply");
        assert!(reply.contains("being worked on"), "{reply}");
        callback.finish(Page::good("Signed in", ""));
        first.await.expect("a reply");
        let reply = ask(server.address(), ANSWER).await.expect("a reply");
        assert!(reply.contains("is finished"), "{reply}");
    }

    #[tokio::test]
    async fn a_rejected_answer_leaves_room_for_the_right_one() {
        let mut server = start().await;
        let wrong = ask(
            server.address(),
            "GET /callback?error=access_denied HTTP/1.1\r\nHost: localhost\r\n\r\n",
        );
        let callback = server.next().await.expect("an answer");
        callback.reject(Page::bad(
            axum::http::StatusCode::BAD_REQUEST,
            "Wrong state",
            "",
        ));
        assert!(wrong.await.expect("a reply").contains("Wrong state"));
        let right = ask(server.address(), ANSWER);
        let callback = server.next().await.expect("an answer");
        callback.finish(Page::good("Signed in", ""));
        assert!(right.await.expect("a reply").contains("Signed in"));
        server.stop().await;
    }

    #[tokio::test]
    async fn a_caller_that_drops_an_answer_does_not_hang_the_browser() {
        let mut server = start().await;
        let browser = ask(server.address(), ANSWER);
        drop(server.next().await.expect("an answer"));
        assert!(browser.await.expect("a reply").contains("not finished"));
    }

    #[tokio::test]
    async fn a_busy_port_is_named_with_the_way_to_see_who_has_it() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = other.local_addr().expect("bound").port();
        let Err(Failure::Explained(explained)) =
            CallbackServer::start("http://localhost:1/callback", port, "/callback").await
        else {
            panic!("the port is taken");
        };
        assert!(explained.summary.contains(&port.to_string()));
        assert!(explained.remedy.contains("--paste"), "{explained:?}");
    }
}
