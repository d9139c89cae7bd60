//! What the plugin finds in the store: read or refused, written back the same, and shown without its secrets.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use procore_auth_fuzz::{secrets, settings::settings};
use procore_auth_guest::decision::{self, Need};
use procore_auth_guest::environment::Environment;
use procore_auth_guest::json;
use procore_auth_guest::login::PendingLogin;
use procore_auth_guest::parking::{ParkedRequest, Ticket};
use procore_auth_guest::session::Session;
use procore_auth_guest::spent::SpentTokens;
use procore_auth_guest::status::Status;

const NOW: u64 = 1_800_000_000_000;

fuzz_target!(|bytes: &[u8]| {
    let bytes = secrets::planted(bytes);
    if let Some(session) = read::<Session>(&bytes) {
        is_decided(&session);
    }
    read::<PendingLogin>(&bytes);
    read::<SpentTokens>(&bytes);
    if let Some(request) = json::read::<ParkedRequest>(&bytes) {
        let again: ParkedRequest = json::read(&json::write(&request)).expect("can be read");
        assert!(again == request, "written back the same");
        let _ = request.body_size();
        let settings = settings(Environment::Sandbox);
        let mut aged = request;
        aged.state = aged.aged(&settings.policy, NOW);
        assert_eq!(
            aged.aged(&settings.policy, NOW),
            aged.state,
            "ageing comes to rest"
        );
        aged.count_try(NOW);
        assert!(!aged.count_try(NOW), "one try counts once");
    }
    if let Some(ticket) = str::from_utf8(&bytes).ok().and_then(Ticket::from_key) {
        assert_eq!(Ticket::from_key(&ticket.key()), Some(ticket));
    }
});

/// Reads a document, and checks that writing it loses nothing and showing it tells nothing.
fn read<T>(bytes: &[u8]) -> Option<T>
where
    T: miniserde::Deserialize + miniserde::Serialize + Debug + PartialEq,
{
    let document: T = json::read(bytes)?;
    let again: T = json::read(&json::write(&document)).expect("what is written can be read");
    assert_eq!(again, document, "written back the same");
    Some(document)
}

/// Whatever a session says, there is one next step, and a dead token is not served.
fn is_decided(session: &Session) {
    let settings = settings(Environment::Sandbox);
    if let Some(tokens) = &session.tokens {
        // Only where nothing but the tokens has it: other fields may be shown.
        let shown = format!("{tokens:?}");
        secrets::assert_hidden(&shown);
    }
    if let Some(live) = session.live_tokens(NOW) {
        assert!(!live.rejected && live.times.expires_at > NOW);
    }
    let _ = decision::next(Some(session), &settings, NOW, Need::Use);
    let _ = Status::of(Some(session), &settings, NOW);
    let _ = session.standing_verdict(&settings);
}
