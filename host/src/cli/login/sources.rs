//! Where the answer to a sign-in comes from: a browser, a person who types, a file or a pipe. The first right one counts.

use std::time::Duration;

use procore_auth_host::{Redirect, RedirectKind, Secret};

use super::countdown::Countdown;
use super::{Arguments, SignedIn, page, refusal, take, told};
use crate::cli::callback::{Callback, CallbackServer};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::open::Open;
use crate::cli::terminal::is_attended;
use crate::cli::typed::{Input, Lines};
use crate::cli::{report, time};

/// Where the answer may come from. At least one of the first two.
pub(super) struct Sources {
    server: Option<CallbackServer>,
    lines: Option<Lines>,
    /// How the answer comes to a browser.
    kind: RedirectKind,
    /// The port of this machine to which a browser goes with the answer; `None` where it goes elsewhere.
    port: Option<u16>,
    /// How many answers of browsers were not ours.
    foreign: usize,
    /// Whether a browser brought the outcome about.
    by_browser: bool,
    /// How long it may see the outcome.
    page_for: Duration,
}

/// What arrived first.
enum Arrival {
    Browser(Callback),
    Typed(Secret),
    EndOfInput,
    Mark,
    Stop,
}

impl Sources {
    /// Decides where the answer may come from. Refuses to wait for nobody.
    pub(super) async fn open(
        context: &Context<'_>,
        redirect: &Redirect,
        arguments: &Arguments,
    ) -> Result<Self, Failure> {
        let attended = is_attended();
        let asked = arguments.browser || arguments.no_browser;
        let lines = input(arguments).or_else(|| attended.then_some(Input::Standard));
        if lines.is_none() && !asked {
            return Err(refusal::unattended());
        }
        let server = match callback_port(redirect, arguments) {
            Some(port) => CallbackServer::start(&redirect.register, port, &redirect.path)
                .await
                .map(Some),
            None => Ok(None),
        };
        let server = match server {
            // Pasting serves as well.
            Err(failure) if lines.is_some() => {
                context.terminal.note(report::text(&failure.explained()));
                None
            }
            other => other?,
        };
        if server.is_none() && lines.is_none() {
            return Err(refusal::unattended());
        }
        Ok(Self {
            server,
            lines: lines.map(Lines::read),
            kind: redirect.kind,
            port: local_port(redirect),
            foreign: 0,
            by_browser: false,
            page_for: arguments.page_for,
        })
    }

    /// Returns the port on which a browser's answer is awaited.
    pub(super) fn port(&self) -> Option<u16> {
        self.server.as_ref().map(CallbackServer::port)
    }

    /// Returns the port of this machine to which a browser goes with the answer, where it is not we who listen there.
    pub(super) fn unserved(&self) -> Option<u16> {
        self.port.filter(|_| self.server.is_none())
    }

    /// Takes answers until one signs in, or something ends the wait.
    pub(super) async fn wait(
        &mut self,
        context: &Context<'_>,
        open: &Open,
        deadline: u64,
    ) -> Result<SignedIn, Failure> {
        let mut countdown = Countdown::begin(&context.terminal);
        if self.lines.is_some() {
            told::prompt(context, self.kind);
        }
        loop {
            let left = Duration::from_millis(deadline.saturating_sub(time::now()));
            if left.is_zero() {
                return Err(refusal::timed_out());
            }
            match self.arrival(context, countdown.until_next(left)).await {
                Arrival::Browser(callback) => {
                    if let Some(outcome) = self.by_browser(context, open, callback).await {
                        self.by_browser = true;
                        return outcome;
                    }
                }
                Arrival::Typed(answer) => match take(open, answer).await {
                    Err(failure) if refusal::is_not_ours(&failure) => {
                        told::rejected(context, &of_typed(failure))?;
                        told::prompt(context, self.kind);
                    }
                    outcome => return outcome,
                },
                Arrival::EndOfInput if self.server.is_none() => return Err(refusal::no_answer()),
                Arrival::EndOfInput => self.lines = None,
                Arrival::Mark => {
                    let left = deadline.saturating_sub(time::now());
                    countdown.tell(Duration::from_millis(left));
                }
                Arrival::Stop => return Err(refusal::interrupted()),
            }
        }
    }

    /// Stops taking answers. A browser that brought the outcome about may see it for a moment longer, while the process goes on.
    pub(super) async fn end(self, context: &Context<'_>) {
        told::foreign(context, self.foreign.saturating_sub(1));
        let Some(mut server) = self.server else {
            return;
        };
        if !self.by_browser {
            return server.stop().await;
        }
        let shutdown = context.shutdown.clone();
        context.opened.add_lingering(tokio::spawn(async move {
            tokio::select! {
                () = server.linger(self.page_for) => {}
                () = shutdown.requested() => {}
            }
            server.stop().await;
        }));
    }

    /// Finishes with the browser's answer and shows the outcome there too. `None` where it was not the answer to this sign-in.
    ///
    /// Any page can have a browser bring an answer: the first one that is not ours is explained, the others are counted.
    async fn by_browser(
        &mut self,
        context: &Context<'_>,
        open: &Open,
        callback: Callback,
    ) -> Option<Result<SignedIn, Failure>> {
        if self.foreign == 0 {
            context.terminal.note("\nThe browser answered.");
        }
        match take(open, callback.url.clone()).await {
            Ok(signed_in) => {
                callback.finish(page::signed_in(open, &signed_in));
                Some(Ok(signed_in))
            }
            Err(failure) if refusal::is_not_ours(&failure) => {
                let failure = refusal::not_ours(failure);
                callback.reject(page::failed(&failure));
                self.foreign += 1;
                let is_first = self.foreign == 1;
                let told = is_first.then(|| told::rejected(context, &failure));
                told.and_then(Result::err).map(Err)
            }
            Err(failure) => {
                callback.finish(page::failed(&failure));
                Some(Err(failure))
            }
        }
    }

    async fn arrival(&mut self, context: &Context<'_>, mark: Duration) -> Arrival {
        let next_callback = async {
            match &mut self.server {
                Some(server) => server.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            callback = next_callback => callback.map_or(Arrival::Stop, Arrival::Browser),
            line = Lines::next_or_never(self.lines.as_mut()) => line.map_or(Arrival::EndOfInput, Arrival::Typed),
            () = tokio::time::sleep(mark) => Arrival::Mark,
            () = context.shutdown.requested() => Arrival::Stop,
        }
    }
}

/// Returns the port for a callback server, where one is of use.
fn callback_port(redirect: &Redirect, arguments: &Arguments) -> Option<u16> {
    local_port(redirect).filter(|_| !arguments.paste && arguments.code_from.is_none())
}

/// Returns the port of this machine to which a browser goes with the answer.
fn local_port(redirect: &Redirect) -> Option<u16> {
    (redirect.kind == RedirectKind::Localhost).then(|| redirect.port.unwrap_or(80))
}

/// What to do about a typed answer that was not ours: one that was cut off is typed anew, whole.
fn of_typed(failure: Failure) -> Failure {
    let cut_off =
        matches!(&failure, Failure::Explained(explained) if explained.code == "state-missing");
    if cut_off {
        failure
    } else {
        refusal::not_ours(failure)
    }
}

/// Returns what the answer is to be read from, where the arguments say so.
pub(super) fn input(arguments: &Arguments) -> Option<Input> {
    match &arguments.code_from {
        Some(path) => Some(Input::from_argument(path)),
        None => arguments.paste.then_some(Input::Standard),
    }
}
