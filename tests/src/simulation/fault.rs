//! The faults, each with the name under which it can be left out.

use std::{fmt, str::FromStr};

use fastrand::Rng;

use super::plan::NoPlan;

/// Names a fault of a run: a capability call of one actor's life, or an event of the scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultId {
    /// What befalls a capability call: the actor's number, its life's, the call's.
    Call(u16, u32, u32),
    /// What befalls from outside.
    Event(u32),
}

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(actor, life, call) => write!(f, "{actor}.{life}.{call}"),
            Self::Event(number) => write!(f, "e{number}"),
        }
    }
}

impl FromStr for FaultId {
    type Err = NoPlan;

    fn from_str(text: &str) -> Result<Self, NoPlan> {
        if let Some(number) = text.strip_prefix('e') {
            return number.parse().map(Self::Event).map_err(|_| NoPlan);
        }
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or(NoPlan);
        let actor = part()?.parse().map_err(|_| NoPlan)?;
        let life = part()?.parse().map_err(|_| NoPlan)?;
        let call = part()?.parse().map_err(|_| NoPlan)?;
        Ok(Self::Call(actor, life, call))
    }
}

/// A fault that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Its name.
    pub id: FaultId,
    /// What it was.
    pub kind: &'static str,
    /// When, in milliseconds since the start.
    pub at: u64,
}

/// Which capability is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Get,
    Put,
    Delete,
    List,
    Lock,
    Sleep,
    /// A request to the token endpoint.
    TokenPost,
    /// Any other request.
    Request,
}

/// What goes wrong with a capability call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process dies before the call has any effect.
    CrashBefore,
    /// The process dies when the call has had its effect.
    CrashAfter,
    /// The process stands still for this long before the call has any effect.
    Stall(u64),
    /// The read fails, and would not a moment later.
    ReadFails,
    /// The write fails and changes nothing.
    WriteFails,
    /// The write fails, and has happened all the same.
    WriteFailsAfter,
    /// The process dies while it writes, and what it wrote cannot be read.
    TornWrite,
    /// The request does not leave the machine.
    NotSent,
    /// The request is lost on its way.
    RequestLost,
    /// The reply is lost on its way.
    ReplyLost,
    /// The reply comes after the timeout.
    ReplyLate,
    /// The request arrives after the client has given up, and is handled then.
    RequestLate,
    /// A gateway answers 502 in the server's place.
    GatewayBefore,
    /// A gateway answers 504 though the server has done its work.
    GatewayAfter,
    /// A captive portal answers 200 with a page.
    Portal,
    /// The server asks for patience: 429 with `Retry-After`.
    TooMany,
    /// The reply arrives with something before it that makes it no JSON.
    Garbled,
    /// The reply arrives without its end, and nobody notices on the way.
    CutOff,
}

impl Fault {
    /// Returns the name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CrashBefore => "crash before the effect",
            Self::CrashAfter => "crash after the effect",
            Self::Stall(_) => "stall",
            Self::ReadFails => "read fails",
            Self::WriteFails => "write fails",
            Self::WriteFailsAfter => "write fails, yet happened",
            Self::TornWrite => "torn write",
            Self::NotSent => "request not sent",
            Self::RequestLost => "request lost",
            Self::ReplyLost => "reply lost",
            Self::ReplyLate => "reply after the timeout",
            Self::RequestLate => "request arrives after the timeout",
            Self::GatewayBefore => "5xx before the commit",
            Self::GatewayAfter => "5xx after the commit",
            Self::Portal => "HTML in the server's place",
            Self::TooMany => "429 with Retry-After",
            Self::Garbled => "garbled reply",
            Self::CutOff => "reply cut off",
        }
    }

    /// Draws what befalls a call, in a weather between 0 and a few.
    pub(crate) fn draw(call: Call, weather: f64, rng: &mut Rng) -> Option<Self> {
        if rng.f64() < STALLS * weather {
            return Some(Self::Stall(stall(rng)));
        }
        let at = rng.f64();
        let mut reached = 0.0;
        table(call)
            .iter()
            .find(|(share, _)| {
                reached += share * weather;
                at < reached
            })
            .map(|(_, fault)| *fault)
    }
}

/// How often a process stands still in a capability call, in ordinary weather.
const STALLS: f64 = 0.002;

/// How often what befalls which call, in ordinary weather.
fn table(call: Call) -> &'static [(f64, Fault)] {
    use Fault::{
        CrashAfter, CrashBefore, CutOff, Garbled, GatewayAfter, GatewayBefore, NotSent, Portal,
        ReadFails, ReplyLate, ReplyLost, RequestLate, RequestLost, TooMany, TornWrite, WriteFails,
        WriteFailsAfter,
    };
    match call {
        Call::Get | Call::List => &[(0.0003, CrashBefore), (0.002, ReadFails)],
        Call::Put => &[
            (0.002, CrashBefore),
            (0.002, CrashAfter),
            (0.001, TornWrite),
            (0.008, WriteFails),
            (0.004, WriteFailsAfter),
        ],
        Call::Delete => &[
            (0.001, CrashBefore),
            (0.001, CrashAfter),
            (0.008, WriteFails),
            (0.004, WriteFailsAfter),
        ],
        Call::Lock => &[(0.0005, CrashBefore), (0.001, CrashAfter)],
        Call::Sleep => &[(0.001, CrashBefore)],
        Call::TokenPost => &[
            (0.004, CrashBefore),
            (0.006, CrashAfter),
            (0.03, NotSent),
            (0.01, RequestLost),
            (0.006, ReplyLost),
            (0.004, ReplyLate),
            (0.003, RequestLate),
            (0.02, GatewayBefore),
            (0.004, GatewayAfter),
            (0.01, Portal),
            (0.01, TooMany),
            (0.003, Garbled),
            (0.003, CutOff),
        ],
        Call::Request => &[
            (0.0005, CrashBefore),
            (0.0005, CrashAfter),
            (0.008, NotSent),
            (0.004, RequestLost),
            (0.004, ReplyLost),
            (0.008, GatewayBefore),
            (0.002, GatewayAfter),
            (0.004, TooMany),
        ],
    }
}

/// A stall is mostly seconds, sometimes minutes.
fn stall(rng: &mut Rng) -> u64 {
    if rng.u8(..4) == 0 {
        rng.u64(60_000..600_000)
    } else {
        rng.u64(1_000..60_000)
    }
}
