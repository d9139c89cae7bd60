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
            by_browser: false,
            page_for: arguments.page_for,
        })
    }

    /// Returns the port on which a browser's answer is awaited.
    pub(super) fn port(&self) -> Option<u16> {
        self.server.as_ref().map(CallbackServer::port)
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
            told::prompt(context);
        }
        loop {
            let left = Duration::from_millis(deadline.saturating_sub(time::now()));
            if left.is_zero() {
                return Err(refusal::timed_out());
            }
            match self.arrival(context, countdown.until_next(left)).await {
                Arrival::Browser(callback) => {
                    if let Some(outcome) = by_browser(context, open, callback).await {
                        self.by_browser = true;
                        return outcome;
                    }
                }
                Arrival::Typed(answer) => match take(open, answer).await {
                    Err(failure) if is_not_ours(&failure) => {
                        told::rejected(context, &failure)?;
                        told::prompt(context);
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
    let wanted = redirect.kind == RedirectKind::Localhost
        && !arguments.paste
        && arguments.code_from.is_none();
    wanted.then(|| redirect.port.unwrap_or(80))
}

/// Returns what the answer is to be read from, where the arguments say so.
pub(super) fn input(arguments: &Arguments) -> Option<Input> {
    match &arguments.code_from {
        Some(path) => Some(Input::from_argument(path)),
        None => arguments.paste.then_some(Input::Standard),
    }
}

/// Finishes with the browser's answer and shows the outcome there too. `None` where it was not the answer to this sign-in.
async fn by_browser(
    context: &Context<'_>,
    open: &Open,
    callback: Callback,
) -> Option<Result<SignedIn, Failure>> {
    context.terminal.note("\nThe browser answered.");
    match take(open, callback.url.clone()).await {
        Ok(signed_in) => {
            callback.finish(page::signed_in(open, &signed_in));
            Some(Ok(signed_in))
        }
        Err(failure) if is_not_ours(&failure) => {
            callback.reject(page::failed(&failure));
            told::rejected(context, &failure).err().map(Err)
        }
        Err(failure) => {
            callback.finish(page::failed(&failure));
            Some(Err(failure))
        }
    }
}

/// Whether the answer belongs to another sign-in: an older tab, or a page that tries its luck. The right one may still come.
fn is_not_ours(failure: &Failure) -> bool {
    matches!(failure, Failure::Explained(explained)
        if ["state-mismatch", "state-missing", "no-code"].contains(&explained.code.as_str()))
}

#[cfg(test)]
mod tests {
    use super::is_not_ours;
    use crate::cli::exit::Exit;
    use crate::cli::failure::Explained;

    #[test]
    fn only_a_foreign_state_lets_the_wait_go_on() {
        for code in ["state-mismatch", "state-missing", "no-code"] {
            assert!(is_not_ours(
                &Explained::new(Exit::Refused, code, "", "").into()
            ));
        }
        let denied = Explained::new(Exit::Refused, "access_denied", "", "");
        assert!(!is_not_ours(&denied.into()));
    }
}
