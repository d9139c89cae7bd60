//! Replies of the token endpoint: kept to the byte, judged, read, and never repeated.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procore_auth_fuzz::{reply, secrets, settings::settings};
use procore_auth_guest::environment::Environment;
use procore_auth_guest::explain::Endpoint;
use procore_auth_guest::grant::{Answer, Issued};
use procore_auth_guest::session::{RawReply, Session};
use procore_auth_guest::{json, lifetime};

fuzz_target!(|bytes: &[u8]| {
    let Some(response) = reply::read(&secrets::planted(bytes)) else {
        return;
    };
    is_kept_to_the_byte(&response.body);
    for environment in Environment::ALL {
        for endpoint in [
            Endpoint::Exchange,
            Endpoint::Refresh,
            Endpoint::ClientCredentials,
        ] {
            match Answer::read(environment, endpoint, &response) {
                Answer::Success => assert!((200..300).contains(&response.status)),
                Answer::GrantRefused(diagnosis) => {
                    assert_eq!(diagnosis.code, "invalid_grant");
                    secrets::check(&diagnosis);
                }
                Answer::ClientRefused(diagnosis) | Answer::Transient(diagnosis) => {
                    secrets::check(&diagnosis);
                }
            }
        }
    }
    match Issued::parse(&response.body) {
        Ok(issued) => {
            let token = issued.access_token.expose();
            assert!(!token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
            let life = issued.lifetime.milliseconds();
            assert!((lifetime::SHORTEST..=lifetime::LONGEST).contains(&life));
            assert!(
                !issued
                    .refresh_token
                    .is_some_and(|token| token.expose().is_empty())
            );
        }
        Err(diagnosis) => secrets::check(&diagnosis),
    }
});

/// The reply is saved before it is read: what comes back from the store must be what came from the server.
fn is_kept_to_the_byte(body: &[u8]) {
    let mut session = Session::new(&settings(Environment::Sandbox));
    session.reply = Some(RawReply::new(body, 1));
    let stored = json::write(&session);
    let read: Session = json::read(&stored).expect("what is written can be read");
    assert_eq!(read.reply.expect("a reply").bytes(), body);
}
