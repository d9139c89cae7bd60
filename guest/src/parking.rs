//! Parked requests: kept in the order in which they came, bounded in number, bytes and age, each under a key of its own.
//!
//! The key holds the place in the order and the size, so that the limits are checked without reading a body:
//! `parked-0000000042-0000001234`.

use std::borrow::Cow;

use base64ct::{Base64UrlUnpadded, Encoding};
use miniserde::{Deserialize, Serialize};

use crate::{
    diagnosis::Diagnosis,
    http::Header,
    json::{Text, stored_as_text},
    settings::Policy,
};

/// What the keys begin with.
pub const PREFIX: &str = "parked-";

/// How many replays a request gets before it is set aside.
pub const MOST_REPLAYS: u32 = 5;

/// What becomes of a parked request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Will be replayed.
    Queued,
    /// Is being sent. Found later, it means that the sender died: the outcome is unknown.
    Sending {
        /// Until when the sender may still be at it.
        until: u64,
    },
    /// May have been executed.
    UnknownOutcome,
    /// Refused, tried too often or too old.
    DeadLetter,
}

impl Text for State {
    fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Queued => "queued".into(),
            Self::Sending { until } => format!("sending-until:{until}").into(),
            Self::UnknownOutcome => "unknown-outcome".into(),
            Self::DeadLetter => "dead-letter".into(),
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(match text {
            "queued" => Self::Queued,
            "unknown-outcome" => Self::UnknownOutcome,
            "dead-letter" => Self::DeadLetter,
            _ => Self::Sending {
                until: text.strip_prefix("sending-until:")?.parse().ok()?,
            },
        })
    }
}

stored_as_text!(State);

/// A parked request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedRequest {
    /// What becomes of it.
    pub state: State,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The headers; without `Authorization`.
    pub headers: Vec<Header>,
    /// The body, in base64url.
    body: String,
    /// The company that it is for.
    pub company_id: Option<u64>,
    /// What the caller says about repeating it.
    pub idempotent: Option<bool>,
    /// When it was parked.
    pub parked_at: u64,
    /// How many replays were tried.
    pub replays: u32,
    /// Why it is parked, as a diagnosis's code.
    pub reason: String,
}

impl ParkedRequest {
    /// Returns the body; `None` where the entry was tampered with.
    pub fn body(&self) -> Option<Vec<u8>> {
        Base64UrlUnpadded::decode_vec(&self.body).ok()
    }

    /// Returns the body as it is stored.
    pub fn encode(body: &[u8]) -> String {
        Base64UrlUnpadded::encode_string(body)
    }

    /// Replaces the body.
    pub fn with_body(mut self, body: &[u8]) -> Self {
        self.body = Self::encode(body);
        self
    }

    /// Makes a request to park, without a body.
    pub fn new(
        method: String,
        path: String,
        headers: &[Header],
        reason: &str,
        state: State,
        now: u64,
    ) -> Self {
        Self {
            state,
            method,
            path,
            headers: headers.to_vec(),
            body: String::new(),
            company_id: None,
            idempotent: None,
            parked_at: now,
            replays: 0,
            reason: reason.to_owned(),
        }
    }

    /// Returns the state with what time has made of it: a sender that is overdue has died, a request that waited for too
    /// long is not replayed.
    pub fn aged(&self, policy: &Policy, now: u64) -> State {
        match self.state {
            State::Sending { until } if now >= until => {
                if self
                    .idempotent
                    .unwrap_or_else(|| crate::retry::is_idempotent(&self.method))
                {
                    State::Queued
                } else {
                    State::UnknownOutcome
                }
            }
            State::Queued if now.saturating_sub(self.parked_at) > policy.parked_age => {
                State::DeadLetter
            }
            state => state,
        }
    }
}

/// The place and the size of a parked request, as its key tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// The place in the order.
    pub place: u64,
    /// The size of the entry in bytes.
    pub size: u64,
}

impl Ticket {
    /// Reads a key.
    pub fn from_key(key: &str) -> Option<Self> {
        let (place, size) = key.strip_prefix(PREFIX)?.split_once('-')?;
        Some(Self {
            place: place.parse().ok()?,
            size: size.parse().ok()?,
        })
    }

    /// Returns the key.
    pub fn key(self) -> String {
        format!("{PREFIX}{:010}-{:010}", self.place, self.size)
    }
}

/// Returns the ticket for one more request of `size` bytes, or why there is no room.
pub fn admit(parked: &[Ticket], size: u64, policy: &Policy) -> Result<Ticket, Diagnosis> {
    let bytes: u64 = parked.iter().map(|ticket| ticket.size).sum();
    let full = parked.len() >= policy.parked_count as usize
        || bytes.saturating_add(size) > policy.parked_bytes;
    if full {
        return Err(Diagnosis::new(
            "parked-full",
            "There is no room to park the request.",
            &format!(
                "{} requests with {bytes} bytes are parked already.",
                parked.len()
            ),
            "Cure what keeps them waiting (`procore-auth status`), replay or discard some (`procore-auth parked list`), or raise the limits.",
        ));
    }
    Ok(Ticket {
        place: parked.iter().map(|ticket| ticket.place).max().unwrap_or(0) + 1,
        size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decision::tests::settings, json};

    #[test]
    fn keys_keep_the_order() {
        let tickets = [
            Ticket { place: 1, size: 9 },
            Ticket { place: 2, size: 1 },
            Ticket { place: 10, size: 5 },
        ];
        let keys: Vec<_> = tickets.iter().map(|ticket| ticket.key()).collect();
        assert!(keys.is_sorted());
        assert_eq!(
            keys.iter()
                .map(|key| Ticket::from_key(key))
                .collect::<Vec<_>>(),
            tickets.map(Some)
        );
        assert_eq!(Ticket::from_key("parked-x-1"), None);
    }

    #[test]
    fn s62_bounded_in_count_and_bytes() {
        let policy = settings().policy;
        let ten: Vec<_> = (1..=10).map(|place| Ticket { place, size: 1 }).collect();
        assert_eq!(
            admit(&ten, 1, &policy).expect_err("count").code,
            "parked-full"
        );
        assert_eq!(
            admit(&ten[..9], 991, &policy),
            Ok(Ticket {
                place: 10,
                size: 991
            })
        );
        assert_eq!(
            admit(&ten[..9], 992, &policy).expect_err("bytes").code,
            "parked-full"
        );
        assert_eq!(admit(&[], 1, &policy), Ok(Ticket { place: 1, size: 1 }));
    }

    #[test]
    fn s61_a_dead_sender_leaves_an_unknown_outcome() {
        let policy = settings().policy;
        let request = |method: &str, state| {
            ParkedRequest::new(method.to_owned(), "/".to_owned(), &[], "x", state, 1000)
        };
        let sending = State::Sending { until: 1500 };
        assert_eq!(request("POST", sending).aged(&policy, 1499), sending);
        assert_eq!(
            request("POST", sending).aged(&policy, 1500),
            State::UnknownOutcome
        );
        assert_eq!(request("PUT", sending).aged(&policy, 1500), State::Queued);
        assert_eq!(
            request("POST", State::Queued).aged(&policy, 2000),
            State::Queued
        );
        assert_eq!(
            request("POST", State::Queued).aged(&policy, 2001),
            State::DeadLetter
        );
    }

    #[test]
    fn states_survive() {
        for state in [
            State::Queued,
            State::Sending { until: u64::MAX },
            State::UnknownOutcome,
            State::DeadLetter,
        ] {
            assert_eq!(State::from_text(&state.to_text()), Some(state));
        }
        assert_eq!(State::from_text("sending-until:soon"), None);
    }

    proptest::proptest! {
        #[test]
        fn bodies_survive(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let request = ParkedRequest::new("POST".to_owned(), "/".to_owned(), &[], "x", State::Queued, 0).with_body(&body);
            let stored = json::write(&request);
            let back: ParkedRequest = json::read(&stored).expect("json");
            proptest::prop_assert_eq!(back.body(), Some(body));
        }

        #[test]
        fn any_key_gets_an_answer(key in ".{0,40}") {
            let _ = Ticket::from_key(&key);
        }
    }
}
