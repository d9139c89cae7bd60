//! Parked requests: kept in the order in which they came, bounded in number, bytes and age, each under a key of its own.
//!
//! The key holds the place in the order and the size with the body, so that the limits are checked without reading a request:
//! `parked-1800000000000-0000001234`; and, for a request with an order key, its lane, so that whoever comes next sees that someone
//! is before it: `parked-1800000000001-0000000200-9f86d081884c7d65`.
//!
//! A body is an entry of its own, as it is: `body-1800000000000-9f86d081`, with the time of parking. It is written before its
//! request and deleted after it. A body without a request is what a crash left, once it is older than any writer takes
//! ([`is_leftover`]).

use std::borrow::Cow;

use base64ct::{Base64UrlUnpadded, Encoding};
use miniserde::{Deserialize, Serialize};

use crate::{
    diagnosis::Diagnosis,
    http::{Body, Header},
    json::{Text, stored_as_text},
    settings::Policy,
};

/// What the keys begin with.
pub const PREFIX: &str = "parked-";

/// How many tries a request gets before it is set aside.
const MOST_TRIES: u32 = 5;

/// How far apart tries that count are, in milliseconds. So no outage of less than a day sets a request aside.
const TRIES_APART: u64 = 6 * 3_600_000;

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
    /// The body in base64url, as earlier versions kept it. Without it, such a version refuses to read the request, instead of sending
    /// it without its body.
    body: Option<String>,
    /// Where the body is kept; `None` for an empty one.
    pub stored_body: Option<StoredBody>,
    /// What it must keep its order with.
    pub order_key: Option<String>,
    /// The company that it is for.
    pub company_id: Option<u64>,
    /// What the caller says about repeating it.
    pub idempotent: Option<bool>,
    /// When it was parked.
    pub parked_at: u64,
    /// How many tries count against it.
    pub replays: u32,
    /// When the last of them was; `None` where none was, or by an earlier version.
    tried_at: Option<u64>,
    /// Why it is parked, as a diagnosis's code.
    pub reason: String,
}

/// The entry that holds a parked request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBody {
    /// The entry's key.
    pub key: String,
    /// The entry's revision: it is deleted without reading it.
    pub revision: u64,
    /// The size in bytes.
    pub size: u64,
}

impl Text for StoredBody {
    fn to_text(&self) -> Cow<'_, str> {
        format!("{} {} {}", self.size, self.revision, self.key).into()
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        Some(Self {
            size: parts.next()?.parse().ok()?,
            revision: parts.next()?.parse().ok()?,
            key: parts.next()?.to_owned(),
        })
    }
}

stored_as_text!(StoredBody);

impl ParkedRequest {
    /// Returns the body as it is sent; `None` where the request was tampered with.
    pub fn body(&self) -> Option<Body> {
        match (&self.stored_body, &self.body) {
            (Some(stored), _) => Some(Body::Stored(stored.key.clone())),
            (None, Some(inline)) => Base64UrlUnpadded::decode_vec(inline).ok().map(Body::Bytes),
            (None, None) => Some(Body::Empty),
        }
    }

    /// Returns the size of the body in bytes.
    pub fn body_size(&self) -> u64 {
        let inline = self.body.as_ref();
        let inline = inline.map_or(0, |text| text.len() as u64 * 3 / 4);
        self.stored_body.as_ref().map_or(inline, |body| body.size)
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
            body: None,
            stored_body: None,
            order_key: None,
            company_id: None,
            idempotent: None,
            parked_at: now,
            replays: 0,
            tried_at: None,
            reason: reason.to_owned(),
        }
    }

    /// Counts a try that failed because of the request itself, and sets it aside after five; returns whether it was counted.
    /// Within six hours of another one it is not.
    pub fn count_try(&mut self, now: u64) -> bool {
        let is_soon = |at: u64| now.abs_diff(at) < TRIES_APART;
        if self.tried_at.is_some_and(is_soon) {
            return false;
        }
        self.tried_at = Some(now);
        self.replays = self.replays.saturating_add(1);
        if self.replays >= MOST_TRIES {
            "tried-too-often".clone_into(&mut self.reason);
            self.state = State::DeadLetter;
        }
        true
    }

    /// Returns the state with what time has made of it: a sender that is overdue has died, a request that waited for too
    /// long is not replayed.
    pub fn aged(&self, policy: &Policy, now: u64) -> State {
        let state = match self.state {
            State::Sending { until } if !policy.may_be_sending(until, now) => {
                if self
                    .idempotent
                    .unwrap_or_else(|| crate::retry::is_idempotent(&self.method))
                {
                    State::Queued
                } else {
                    State::UnknownOutcome
                }
            }
            state => state,
        };
        let is_old = now.saturating_sub(self.parked_at) > policy.parked_age;
        if state == State::Queued && is_old {
            State::DeadLetter
        } else {
            state
        }
    }
}

/// What requests share whose order must be kept: 64 bits of FNV-1a over the order key. Two keys that met in one lane would wait for
/// each other, no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane(u64);

impl Lane {
    /// Returns the lane of an order key.
    pub fn of(order_key: &str) -> Self {
        let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(order_key.bytes().fold(0xcbf2_9ce4_8422_2325, step))
    }
}

/// The place, the size and the lane of a parked request, as its key tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// The place in the order.
    pub place: u64,
    /// The size of the request with its body in bytes.
    pub size: u64,
    /// The lane; `None` for a request without an order key.
    pub lane: Option<Lane>,
}

impl Ticket {
    /// Reads a key.
    pub fn from_key(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix(PREFIX)?.splitn(3, '-');
        let mut number = || parts.next()?.parse().ok();
        Some(Self {
            place: number()?,
            size: number()?,
            lane: match parts.next() {
                Some(lane) => Some(Lane(u64::from_str_radix(lane, 16).ok()?)),
                None => None,
            },
        })
    }

    /// Returns the key.
    pub fn key(self) -> String {
        let lane = self
            .lane
            .map_or_else(String::new, |Lane(lane)| format!("-{lane:016x}"));
        format!("{PREFIX}{:010}-{:010}{lane}", self.place, self.size)
    }
}

/// What the keys of bodies begin with.
pub const BODY_PREFIX: &str = "body-";

/// How old a body without a request is before it counts as left by a crash, in milliseconds. Its writer needs it for the moment
/// between two writes.
const WRITTEN_BY_THEN: u64 = 3_600_000;

/// Returns the key of a body that is parked at `now`; `draw` keeps those of one moment apart.
pub fn body_key(now: u64, draw: u64) -> String {
    format!("{BODY_PREFIX}{now:013}-{draw:016x}")
}

/// Whether the body under `key`, which no request names, was left by a crash rather than just written.
pub fn is_leftover(key: &str, now: u64) -> bool {
    let rest = key.strip_prefix(BODY_PREFIX);
    let written = rest.and_then(|rest| rest.split('-').next()?.parse::<u64>().ok());
    written.is_some_and(|written| now.saturating_sub(written) > WRITTEN_BY_THEN)
}

/// Returns the ticket for one more request of `size` bytes, or why there is no room. Its place follows all others and is not before
/// `now`, so that no id comes again when the queue was empty.
pub fn admit(
    parked: &[Ticket],
    size: u64,
    lane: Option<Lane>,
    now: u64,
    policy: &Policy,
) -> Result<Ticket, Diagnosis> {
    let sizes = parked.iter().map(|ticket| ticket.size);
    let bytes = sizes.fold(0, u64::saturating_add);
    let full = parked.len() >= policy.parked_count as usize
        || bytes.saturating_add(size) > policy.parked_bytes;
    if full {
        return Err(Diagnosis::new(
            "parked-full",
            "There is no room to park the request.",
            &format!(
                "{} requests with {bytes} bytes are parked already, and this one has {size}; the limits are {} and {} bytes.",
                parked.len(),
                policy.parked_count,
                policy.parked_bytes
            ),
            "Cure what keeps them waiting (`procore-auth status`), replay or discard some (`procore-auth parked list`), or raise the limits.",
        ));
    }
    let last = parked.iter().map(|ticket| ticket.place).max();
    Ok(Ticket {
        place: last.map_or(now, |last| now.max(last.saturating_add(1))),
        size,
        lane,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decision::tests::settings, json};

    fn ticket(place: u64, size: u64) -> Ticket {
        Ticket {
            place,
            size,
            lane: None,
        }
    }

    #[test]
    fn a_body_without_a_request_is_left_alone_while_its_writer_may_live() {
        let key = body_key(1_800_000_000_000, u64::MAX);
        assert!(key.len() <= 64);
        assert!(!is_leftover(&key, 1_800_000_000_000 + WRITTEN_BY_THEN));
        assert!(is_leftover(&key, 1_800_000_000_001 + WRITTEN_BY_THEN));
        assert!(!is_leftover("body-", u64::MAX));
        assert!(!is_leftover("session", u64::MAX));
    }

    #[test]
    fn a_request_of_an_earlier_version_keeps_its_body() {
        let earlier = br#"{"state":"queued","method":"POST","path":"/x","headers":[],"body":"e30","company_id":null,
            "idempotent":null,"parked_at":7,"replays":0,"reason":"dns"}"#;
        let request: ParkedRequest = json::read(earlier).expect("json");
        assert_eq!(request.body(), Some(Body::Bytes(b"{}".to_vec())));
        assert_eq!((request.body_size(), request.order_key), (2, None));
    }

    #[test]
    fn keys_keep_the_order() {
        let tickets = [
            ticket(1, 9),
            Ticket {
                lane: Some(Lane::of("RFI 7")),
                ..ticket(2, 1)
            },
            ticket(10, 5),
        ];
        let keys: Vec<_> = tickets.iter().map(|ticket| ticket.key()).collect();
        assert!(keys.is_sorted());
        assert_eq!(
            keys.iter()
                .map(|key| Ticket::from_key(key))
                .collect::<Vec<_>>(),
            tickets.map(Some)
        );
        assert!(keys.iter().all(|key| key.len() <= 64));
        assert_eq!(Ticket::from_key("parked-x-1"), None);
        assert_eq!(Ticket::from_key("parked-1-1-lane"), None);
    }

    #[test]
    fn s62_bounded_in_count_and_bytes() {
        let policy = settings().policy;
        let ten: Vec<_> = (1..=10).map(|place| ticket(place, 1)).collect();
        assert_eq!(
            admit(&ten, 1, None, 0, &policy).expect_err("count").code,
            "parked-full"
        );
        assert_eq!(admit(&ten[..9], 991, None, 0, &policy), Ok(ticket(10, 991)));
        assert_eq!(
            admit(&ten[..9], 992, None, 0, &policy)
                .expect_err("bytes")
                .code,
            "parked-full"
        );
        let lane = Some(Lane::of("RFI 7"));
        assert_eq!(
            admit(&[], 1, lane, 1, &policy),
            Ok(Ticket {
                lane,
                ..ticket(1, 1)
            })
        );
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
        // Its clock was ahead, and was set right: nobody is at it for longer than a replay takes.
        let ahead = State::Sending {
            until: 1000 + 2 * policy.longest_replay(),
        };
        assert_eq!(request("POST", ahead).aged(&policy, 1000), ahead);
        assert_eq!(
            request("POST", ahead).aged(&policy, 999),
            State::UnknownOutcome
        );
        // It could be sent again, and has waited for too long.
        assert_eq!(
            request("PUT", sending).aged(&policy, 2001),
            State::DeadLetter
        );
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
    fn s62_tries_count_when_they_are_apart() {
        let mut request =
            ParkedRequest::new("PUT".to_owned(), "/".to_owned(), &[], "x", State::Queued, 0);
        for tries in 1..=MOST_TRIES {
            assert_eq!(request.state, State::Queued);
            let now = u64::from(tries) * TRIES_APART;
            assert!(request.count_try(now));
            assert!(!request.count_try(now + TRIES_APART - 1));
            assert_eq!(request.replays, tries);
        }
        assert_eq!(request.state, State::DeadLetter);
        // The clock was set back since.
        assert!(request.count_try(0));
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
        fn requests_survive(key in ".{0,40}", revision: u64, size: u64, order_key in proptest::option::of(".{0,20}")) {
            let mut request = ParkedRequest::new("POST".to_owned(), "/".to_owned(), &[], "x", State::Queued, 0);
            request.stored_body = Some(StoredBody { key: key.clone(), revision, size });
            request.order_key = order_key;
            let back: ParkedRequest = json::read(&json::write(&request)).expect("json");
            proptest::prop_assert!(back == request);
            proptest::prop_assert_eq!(back.body(), Some(Body::Stored(key)));
            proptest::prop_assert_eq!(back.body_size(), size);
        }

        #[test]
        fn tickets_survive(place in 0..10_000_000_000u64, size in 0..10_000_000_000u64, order_key in proptest::option::of(".{0,20}")) {
            let ticket = Ticket { place, size, lane: order_key.as_deref().map(Lane::of) };
            proptest::prop_assert_eq!(Ticket::from_key(&ticket.key()), Some(ticket));
        }

        #[test]
        fn any_key_gets_an_answer(key in ".{0,40}") {
            let _ = Ticket::from_key(&key);
        }
    }
}
