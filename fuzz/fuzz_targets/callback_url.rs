//! What a browser or a person brings back from a sign-in: nothing is accepted without the `state` that went out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procore_auth_fuzz::secrets;
use procore_auth_fuzz::settings::{REDIRECT_URI, settings};
use procore_auth_guest::environment::Environment;
use procore_auth_guest::grant::Presented;
use procore_auth_guest::login::{PendingLogin, code_of};

/// Stands in a corpus for the state that went out.
const STATE: &str = "{state}";

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = String::from_utf8(secrets::planted(bytes)) else {
        return;
    };
    let settings = settings(Environment::Sandbox);
    let pending = PendingLogin::begin(&settings, &[7; 64], 1).expect("an acceptable URI");
    let state = pending.state.expose();
    let callback = text.replace(STATE, state);
    match pending.accept(&callback) {
        Ok(presented) => {
            let decoded: String = form_urlencoded::parse(callback.as_bytes())
                .map(|(name, value)| format!("{name}={value}&"))
                .collect();
            assert!(
                decoded.contains(state),
                "a state is accepted that is not ours"
            );
            let Presented::Code {
                code, redirect_uri, ..
            } = presented
            else {
                panic!("not a code");
            };
            assert!(!code.expose().is_empty());
            assert_eq!(code_of(&callback), Some(code));
            assert_eq!(redirect_uri, REDIRECT_URI);
        }
        Err(error) => {
            secrets::check(&error.diagnosis);
            let told = format!("{error:?}");
            assert!(!told.contains(state), "the state is told: {told}");
        }
    }
    comes_back_as_it_went(&pending, &text);
});

/// A code comes back whole, whatever letters it has.
fn comes_back_as_it_went(pending: &PendingLogin, code: &str) {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("code", code);
    query.append_pair("state", pending.state.expose());
    let callback = format!("{REDIRECT_URI}?{}", query.finish());
    match pending.accept(&callback) {
        Ok(Presented::Code { code: back, .. }) => assert_eq!(back.expose(), code),
        Ok(_) => panic!("not a code"),
        Err(_) => assert!(code.is_empty()),
    }
}
