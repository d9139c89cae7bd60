//! Scripted failures.
//!
//! What matters most about a failure is whether Procore had *committed* before it: whether the refresh token is spent, the project
//! created. Each constructor of [`Fault`] says so.

use std::collections::VecDeque;

use serde_json::Value;

use crate::environment::Role;
use crate::gate::Gate;
use crate::payload::Payload;
use crate::reply::Reply;
use crate::request_log::Recorded;
use crate::token_endpoint::Issuing;

/// Tells to which requests a fault applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `POST /oauth/token` on any login host.
    Token,
    /// `GET /oauth/token/info` on any login host.
    TokenInfo,
    /// `POST /oauth/revoke` on any login host.
    Revocation,
    /// `GET /oauth/authorize` on any login host.
    Authorization,
    /// Any request to an API host.
    Api,
    /// Any request to this host.
    Host(String),
    /// Any request whose path begins so.
    Path(String),
    /// Any request of this method (in upper case) whose path begins so.
    Call(String, String),
}

impl Target {
    fn matches(&self, request: &Recorded) -> bool {
        let login = |method: &str, path: &str| {
            request.role == Some(Role::Login) && request.method == method && request.path == path
        };
        match self {
            Self::Token => login("POST", "/oauth/token"),
            Self::TokenInfo => login("GET", "/oauth/token/info"),
            Self::Revocation => login("POST", "/oauth/revoke"),
            Self::Authorization => login("GET", "/oauth/authorize"),
            Self::Api => request.role == Some(Role::Api),
            Self::Host(host) => request
                .host
                .split(':')
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case(host)),
            Self::Path(prefix) => request.path.starts_with(prefix),
            Self::Call(method, prefix) => {
                request.method == *method && request.path.starts_with(prefix)
            }
        }
    }
}

/// Tells what a client gets instead of Procore's reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The connection is closed without a reply.
    Close,
    /// This reply.
    Reply(Reply),
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

/// Tells how Procore's own reply is changed on its way. The fields of a reply that is no JSON object, or no success, stay as they are.
#[derive(Debug, Clone, PartialEq)]
pub enum Alteration {
    /// This field is missing.
    Without(String),
    /// This field has this value, such as an empty access token, or an `error` beside it.
    With(String, Value),
    /// The text is preceded by something that makes it no JSON; all of it is still there to be read by a person.
    Garbled,
    /// The connection breaks after this many bytes of the body, less than announced.
    Truncated(usize),
}

#[derive(Debug, Clone)]
enum Effect {
    None,
    Unread,
    Early(Reply),
    Uncommitted(Answer),
    Committed(Answer),
    Altered(Alteration),
    Issuing(Issuing),
}

/// Describes one scripted failure. Its request can also be held at gates: before it is handled, after it, or both.
///
/// A request that was read is handled to its end even if the client hangs up meanwhile, as on a real server.
#[derive(Debug, Clone)]
pub struct Fault {
    before: Option<Gate>,
    effect: Effect,
    after: Option<Gate>,
}

impl Fault {
    fn of(effect: Effect) -> Self {
        Self {
            before: None,
            effect,
            after: None,
        }
    }

    /// Changes nothing; the base for gates alone. What the request commits **is committed**.
    #[must_use]
    pub fn none() -> Self {
        Self::of(Effect::None)
    }

    /// Closes the connection when the request's head has arrived, before its body is read. **Nothing is committed.**
    #[must_use]
    pub fn unread() -> Self {
        Self::of(Effect::Unread)
    }

    /// Answers in Procore's place when the request's head has arrived, and takes the body for nobody, as servers do that let a client
    /// read the answer. **Nothing is committed.**
    #[must_use]
    pub fn early(reply: Reply) -> Self {
        Self::of(Effect::Early(reply))
    }

    /// Answers in Procore's place, after the whole request was read. **Nothing is committed.**
    #[must_use]
    pub fn uncommitted(answer: impl Into<Answer>) -> Self {
        Self::of(Effect::Uncommitted(answer.into()))
    }

    /// Lets Procore handle the request, then answers something else. What the request commits **is committed**: a refresh rotates,
    /// and the new pair is lost.
    #[must_use]
    pub fn committed(answer: impl Into<Answer>) -> Self {
        Self::of(Effect::Committed(answer.into()))
    }

    /// Changes Procore's reply on its way. What the request commits **is committed**.
    #[must_use]
    pub fn altered(alteration: Alteration) -> Self {
        Self::of(Effect::Altered(alteration))
    }

    /// Makes a valid refresh repeat the pair that is there already, with its remaining life. **Nothing is committed**: the refresh
    /// token stays live. For client credentials it repeats the newest live token, if any. Works on [`Target::Token`] only.
    #[must_use]
    pub fn same_token() -> Self {
        Self::of(Effect::Issuing(Issuing::Repeated))
    }

    /// Makes a valid refresh issue an access token without a refresh token. A new access token **is committed**, while the old refresh
    /// token stays live. Works on [`Target::Token`] only. (To rotate and lose the new one: [`Alteration::Without`].)
    #[must_use]
    pub fn access_token_only() -> Self {
        Self::of(Effect::Issuing(Issuing::AccessOnly))
    }

    /// Holds the request at a gate before it is handled: nothing is committed until the gate opens.
    #[must_use]
    pub fn held_before(mut self, gate: &Gate) -> Self {
        self.before = Some(gate.clone());
        self
    }

    /// Holds the reply at a gate after the request was handled: what it commits is committed already.
    #[must_use]
    pub fn held_after(mut self, gate: &Gate) -> Self {
        self.after = Some(gate.clone());
        self
    }

    /// Holds the request at a gate before it is handled, and changes nothing else.
    #[must_use]
    pub fn hold_before(gate: &Gate) -> Self {
        Self::none().held_before(gate)
    }

    /// Holds the reply at a gate after the request was handled, and changes nothing else.
    #[must_use]
    pub fn hold_after(gate: &Gate) -> Self {
        Self::none().held_after(gate)
    }

    /// Returns the answer for which the body is not waited for.
    pub(crate) fn before_body(&self) -> Option<Answer> {
        match &self.effect {
            Effect::Unread => Some(Answer::Close),
            Effect::Early(reply) => Some(Answer::Reply(reply.clone())),
            _ => None,
        }
    }

    pub(crate) fn before(&self) -> Option<&Gate> {
        self.before.as_ref()
    }

    pub(crate) fn after(&self) -> Option<&Gate> {
        self.after.as_ref()
    }

    /// Returns the answer that keeps the request from being handled.
    pub(crate) fn instead(&self) -> Option<Answer> {
        match &self.effect {
            Effect::Unread => Some(Answer::Close),
            Effect::Uncommitted(answer) => Some(answer.clone()),
            _ => None,
        }
    }

    pub(crate) fn issuing(&self) -> Issuing {
        match self.effect {
            Effect::Issuing(issuing) => issuing,
            _ => Issuing::Honest,
        }
    }

    /// Returns what the client gets in place of Procore's reply to a request that was handled.
    pub(crate) fn distort(self, reply: Reply) -> Answer {
        match self.effect {
            Effect::Committed(answer) => answer,
            Effect::Altered(alteration) => Answer::Reply(alteration.apply(reply)),
            _ => Answer::Reply(reply),
        }
    }
}

impl Alteration {
    fn apply(self, mut reply: Reply) -> Reply {
        match (self, &mut reply.payload) {
            (Self::Garbled, Payload::Bytes(bytes)) => drop(bytes.splice(0..0, *b")]}',\n")),
            (Self::Truncated(keep), Payload::Bytes(bytes)) => {
                let announced = (bytes.len() as u64).max(1);
                let sent = bytes[..keep.min(bytes.len().saturating_sub(1))].to_vec();
                reply.payload = Payload::Truncated { sent, announced };
            }
            (Self::Truncated(keep), &mut Payload::Repeated(announced)) => {
                let sent = vec![b'a'; keep];
                reply.payload = Payload::Truncated { sent, announced };
            }
            (Self::Without(field), _) => return edit(reply, |fields| drop(fields.remove(&field))),
            (Self::With(field, value), _) => {
                return edit(reply, |fields| drop(fields.insert(field, value)));
            }
            _ => {}
        }
        reply
    }
}

fn edit(mut reply: Reply, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Reply {
    if (200..300).contains(&reply.status)
        && let Some(Value::Object(mut fields)) = reply.json_body()
    {
        change(&mut fields);
        reply.payload = Payload::Bytes(Value::Object(fields).to_string().into_bytes());
    }
    reply
}

/// Holds the script: faults that wait for their requests.
#[derive(Debug, Default)]
pub(crate) struct Faults(VecDeque<(Target, Fault)>);

impl Faults {
    pub(crate) fn add(&mut self, target: Target, fault: Fault) {
        self.0.push_back((target, fault));
    }

    /// Takes the oldest fault for a request.
    pub(crate) fn take(&mut self, request: &Recorded) -> Option<Fault> {
        let index = self
            .0
            .iter()
            .position(|(target, _)| target.matches(request))?;
        self.0.remove(index).map(|(_, fault)| fault)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
