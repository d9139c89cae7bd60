//! Redirect URIs: what is accepted reads the same to a browser, and what is refused comes with one that is accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procore_auth_fuzz::secrets;
use procore_auth_guest::redirect::{Kind, OUT_OF_BAND, RedirectUri};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = String::from_utf8(secrets::planted(bytes)) else {
        return;
    };
    // The first line is what is configured, the second what is registered.
    let (text, registered) = text.split_once('\n').unwrap_or((&text, &text));
    match RedirectUri::parse(text) {
        Ok(uri) => {
            assert_eq!(uri.as_str(), text, "to the character");
            reads_the_same_to_a_browser(&uri);
            assert_eq!(uri.check_registered(registered).is_ok(), registered == text);
        }
        Err(diagnosis) => {
            let (_, rest) = diagnosis.remedy.split_once('`').expect("a proposal");
            let (proposal, _) = rest.split_once('`').expect("a proposal");
            let proposed = RedirectUri::parse(proposal).expect("it would be accepted");
            reads_the_same_to_a_browser(&proposed);
            // The proposal does without wildcards.
            if !secrets::is_in_the_open(&text.replace('*', "")) {
                secrets::assert_hidden(&format!("{diagnosis:?}"));
            }
        }
    }
});

/// A parser of another standard (WHATWG's, as in browsers) must see the same place.
fn reads_the_same_to_a_browser(uri: &RedirectUri) {
    if *uri.kind() == Kind::OutOfBand {
        assert_eq!(uri.as_str(), OUT_OF_BAND);
        return;
    }
    let (_, rest) = uri.as_str().split_once("://").expect("a scheme");
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    let last = host
        .trim_end_matches('.')
        .rsplit('.')
        .next()
        .unwrap_or_default();
    // Two things that this parser, without Unicode's tables, is stricter about: names in other alphabets, and what may be a number.
    if host.contains("xn--") || last.starts_with(|c: char| c.is_ascii_digit()) {
        return;
    }
    let url = url::Url::parse(uri.as_str()).expect("a browser takes it");
    assert!(
        url.username().is_empty() && url.password().is_none(),
        "{url}"
    );
    assert!(url.query().is_none() && url.fragment().is_none(), "{url}");
    match uri.kind() {
        Kind::Localhost { port, path } => {
            assert_eq!((url.scheme(), url.host_str()), ("http", Some("localhost")));
            assert_eq!(url.port_or_known_default(), Some(*port));
            assert_eq!(url.path(), path);
        }
        Kind::Https { path } => {
            assert_eq!(url.scheme(), "https");
            assert_eq!(url.path(), path);
        }
        Kind::OutOfBand => unreachable!("seen above"),
    }
}
