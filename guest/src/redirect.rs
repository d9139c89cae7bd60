//! Redirect URIs by Procore's rules.
//!
//! | URI | accepted |
//! |---|---|
//! | `https://…` | yes, registered exactly so |
//! | `http://localhost[:port][/path]` | yes: the *name* `localhost`, in lower case |
//! | `urn:ietf:wg:oauth:2.0:oob` | yes: Procore shows the code on a page |
//! | `http://127.0.0.1…`, `http://[::1]…`, a LAN address, a host name | no |
//! | with a fragment, a query, user information, a wildcard, or not in its normal form | no |
//!
//! The server compares every character with what is registered in the developer portal, so a URI that a parser would write
//! differently is refused with the exact string to register instead.

use fluent_uri::{
    Uri,
    component::{Authority, Host, Scheme},
    normalize::Normalizer,
};

use crate::{diagnosis::Diagnosis, environment::without_secrets};

/// Asks Procore to show the code on a page instead of redirecting.
pub const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

/// How the answer to a sign-in reaches us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A callback server on this machine.
    Localhost {
        /// Where it listens; 80 where the URI names no port.
        port: u16,
        /// The path that the browser calls.
        path: String,
    },
    /// Somebody's web server.
    Https {
        /// The path that the browser calls.
        path: String,
    },
    /// Procore shows the code.
    OutOfBand,
}

/// A redirect URI that Procore accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    kind: Kind,
}

impl RedirectUri {
    /// Parses a redirect URI by the rules above.
    pub fn parse(uri: &str) -> Result<Self, Diagnosis> {
        if uri == OUT_OF_BAND {
            return Ok(Self {
                text: uri.to_owned(),
                kind: Kind::OutOfBand,
            });
        }
        let parsed = Uri::parse(uri.trim())
            .map_err(|error| refused(uri, &format!("it is no URI ({error})"), OUT_OF_BAND))?;
        let register = registrable(&parsed);
        let kind = kind_of(&parsed).map_err(|fault| refused(uri, &fault, &register))?;
        if let Some(part) = extra_part(&parsed) {
            return Err(refused(uri, &format!("it has {part}"), &register));
        }
        if uri != register {
            let fault = "it is not written in its normal form, and the server compares characters";
            return Err(refused(uri, fault, &register));
        }
        Ok(Self {
            text: uri.to_owned(),
            kind,
        })
    }

    /// Returns the exact string that must stand in the developer portal.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns how the answer reaches us.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Compares with the URI that is registered: every character counts.
    pub fn check_registered(&self, registered: &str) -> Result<(), Diagnosis> {
        if self.text == registered {
            return Ok(());
        }
        let difference = difference(&self.text, registered);
        Err(Diagnosis::new(
            "redirect-uri-mismatch",
            &format!("The redirect URI differs from the registered one in {difference}."),
            "The server compares every character of the redirect URI with those registered for the app.",
            &format!("Register exactly `{}` in the developer portal, or configure exactly `{registered}` here.", self.text),
        )
        .with_evidence(vec![format!("configured: {}", self.text), format!("registered: {registered}")]))
    }
}

fn kind_of(uri: &Uri<&str>) -> Result<Kind, String> {
    let path = uri.path().as_str();
    let path = if path.is_empty() { "/" } else { path }.to_owned();
    let scheme = uri.scheme().as_str();
    let authority = uri
        .authority()
        .filter(|authority| !authority.host().is_empty());
    match (&*scheme.to_ascii_lowercase(), authority) {
        ("https", Some(authority)) if !is_plain(&authority) => {
            Err("its host has characters that browsers do not take, or take for others".to_owned())
        }
        ("https", Some(authority)) => port(&authority).map(|_| Kind::Https { path }),
        ("http", Some(authority)) => {
            check_plain_host(&authority)?;
            let port = port(&authority)?.unwrap_or(80);
            Ok(Kind::Localhost { port, path })
        }
        ("https" | "http", None) => Err("it has no host".to_owned()),
        ("urn", _) => Err("it is a URN other than the one for out-of-band sign-in".to_owned()),
        // Not repeated: what stands before a colon may be a secret.
        _ => Err("Procore accepts https, or http for localhost, and no other scheme".to_owned()),
    }
}

/// Whether a browser sees the same host: browsers decode escapes, and take less than RFC 3986 does. A wildcard is told apart.
fn is_plain(authority: &Authority<'_>) -> bool {
    match authority.host_parsed() {
        Host::RegName(name) => name
            .as_str()
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'*')),
        Host::IpvFuture { .. } => false,
        _ => true,
    }
}

/// Checks the host of a URI that is not https.
fn check_plain_host(authority: &Authority<'_>) -> Result<(), String> {
    let host = authority.host();
    match authority.host_parsed() {
        Host::RegName(_) if host.eq_ignore_ascii_case("localhost") => Ok(()),
        Host::RegName(_) => Err(format!(
            "{host} is a host name, and over http Procore accepts `localhost` alone"
        )),
        _ => Err(format!(
            "{host} is an address, and over http Procore accepts only the name `localhost`"
        )),
    }
}

/// Returns the port, if there is one.
fn port(authority: &Authority<'_>) -> Result<Option<u16>, String> {
    let port = authority.port_to_u16().ok().filter(|port| *port != Some(0));
    port.ok_or_else(|| "its port is no number from 1 to 65535".to_owned())
}

fn extra_part(uri: &Uri<&str>) -> Option<&'static str> {
    if uri.fragment().is_some() {
        Some("a fragment (`#…`), which never reaches a server")
    } else if uri
        .authority()
        .is_some_and(|authority| authority.has_userinfo())
    {
        Some("user information (`…@`)")
    } else if uri.query().is_some() {
        Some("a query (`?…`), where the code and the state will stand")
    } else if uri.as_str().contains('*') {
        Some("a wildcard (`*`), which Procore does not know")
    } else {
        None
    }
}

/// Returns the nearest URI that Procore accepts: the URI itself where nothing is wrong with it.
fn registrable(uri: &Uri<&str>) -> String {
    let nearest = || {
        let normal = normalized(uri)?;
        let authority = normal.authority()?;
        let scheme = normal.scheme().as_str();
        let host = match scheme {
            "http" => "localhost",
            "https" if is_plain(&authority) => authority.host(),
            _ => return None,
        };
        let port = port(&authority).ok().flatten();
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        let near = format!("{scheme}://{host}{port}{}", normal.path()).replace('*', "");
        // Taking out a wildcard can leave a path that is not in its normal form, or no host.
        let near = normalized(&Uri::parse(&*near).ok()?)?;
        let has_host = near
            .authority()
            .is_some_and(|authority| !authority.host().is_empty());
        has_host.then(|| near.into_string())
    };
    nearest().unwrap_or_else(|| OUT_OF_BAND.to_owned())
}

/// Returns the URI's normal form (RFC 3986, section 6.2), without a port that its scheme implies.
fn normalized(uri: &Uri<&str>) -> Option<Uri<String>> {
    let usual_port = |scheme: &Scheme| match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let normalizer = Normalizer::new().default_port_with(usual_port);
    normalizer.normalize(uri).ok()
}

fn refused(uri: &str, fault: &str, register: &str) -> Diagnosis {
    let shown: String = without_secrets(uri).chars().take(200).collect();
    Diagnosis::new(
        "redirect-uri-refused",
        &format!("Procore does not accept this redirect URI: {fault}."),
        "Redirect URIs are https, or http for the name `localhost`, and are compared character by character.",
        &format!(
            "Register exactly `{register}` in the developer portal and configure the same string here; \
             where no browser runs on this machine, use `{OUT_OF_BAND}`."
        ),
    )
    .with_evidence(vec![format!("redirect URI: {shown}")])
}

/// Names the part in which two URIs differ.
fn difference(a: &str, b: &str) -> &'static str {
    if a.trim_end_matches('/') == b.trim_end_matches('/') {
        return "the trailing slash";
    }
    if a.eq_ignore_ascii_case(b) {
        return "letter case";
    }
    let (Ok(a), Ok(b)) = (Uri::parse(a), Uri::parse(b)) else {
        return "its whole form";
    };
    let host_and_port = |uri: &Uri<&str>| {
        let authority = uri.authority();
        authority.map(|authority| {
            (
                authority.host().to_owned(),
                authority.port_to_u16().ok().flatten(),
            )
        })
    };
    let (host_of_a, host_of_b) = (host_and_port(&a), host_and_port(&b));
    if a.scheme() != b.scheme() {
        "the scheme"
    } else if host_of_a.as_ref().map(|(host, _)| host) != host_of_b.as_ref().map(|(host, _)| host) {
        "the host"
    } else if host_of_a != host_of_b {
        "the port"
    } else if a.path() != b.path() {
        "the path"
    } else if a.query() != b.query() {
        "the query"
    } else {
        "the way in which it is written"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(uri: &str) -> Diagnosis {
        RedirectUri::parse(uri).expect_err(uri)
    }

    #[test]
    fn what_procore_accepts() {
        for (uri, kind) in [
            (
                "http://localhost",
                Kind::Localhost {
                    port: 80,
                    path: "/".to_owned(),
                },
            ),
            (
                "http://localhost/",
                Kind::Localhost {
                    port: 80,
                    path: "/".to_owned(),
                },
            ),
            (
                "http://localhost:9876/callback",
                Kind::Localhost {
                    port: 9876,
                    path: "/callback".to_owned(),
                },
            ),
            (
                "https://acme.example/oauth/back",
                Kind::Https {
                    path: "/oauth/back".to_owned(),
                },
            ),
            (OUT_OF_BAND, Kind::OutOfBand),
        ] {
            let parsed = RedirectUri::parse(uri).expect(uri);
            assert_eq!((parsed.as_str(), parsed.kind()), (uri, &kind));
        }
    }

    /// S51: each refused with the exact string to register.
    #[test]
    fn s51_each_refusal_holds_the_string_to_register() {
        for (uri, register) in [
            (
                "http://192.168.8.124:9876/callback",
                "http://localhost:9876/callback",
            ),
            (
                "http://127.0.0.1:9876/callback",
                "http://localhost:9876/callback",
            ),
            (
                "http://[::1]:9876/callback",
                "http://localhost:9876/callback",
            ),
            (
                "http://moby-1:9876/callback",
                "http://localhost:9876/callback",
            ),
            (
                "http://LOCALHOST:9876/callback",
                "http://localhost:9876/callback",
            ),
            (
                "HTTP://localhost:9876/callback",
                "http://localhost:9876/callback",
            ),
            ("http://localhost:80/callback", "http://localhost/callback"),
            ("https://Acme.example/back", "https://acme.example/back"),
            (
                "https://acme.example/a/../back",
                "https://acme.example/back",
            ),
            ("https://acme.example/back?x=1", "https://acme.example/back"),
            ("https://acme.example/back#top", "https://acme.example/back"),
            (
                "https://user:pass@acme.example/back",
                "https://acme.example/back",
            ),
            (
                " http://localhost:9876/callback",
                "http://localhost:9876/callback",
            ),
            ("http://localhost:9876/*", "http://localhost:9876/"),
            ("myapp://callback", OUT_OF_BAND),
            ("urn:ietf:wg:oauth:2.0:oob:auto", OUT_OF_BAND),
            ("http://localhost:0/callback", "http://localhost/callback"),
            (
                "http://localhost:70000/callback",
                "http://localhost/callback",
            ),
            ("localhost:9876/callback", OUT_OF_BAND),
            ("", OUT_OF_BAND),
        ] {
            let diagnosis = refusal(uri);
            assert!(
                diagnosis
                    .remedy
                    .starts_with(&format!("Register exactly `{register}`")),
                "{uri}: {}",
                diagnosis.remedy
            );
        }
    }

    #[test]
    fn s51_one_slash_is_named() {
        let configured = RedirectUri::parse("http://localhost:9876/callback").expect("valid");
        for (registered, part) in [
            ("http://localhost:9876/callback/", "the trailing slash"),
            ("http://localhost:9875/callback", "the port"),
            ("http://localhost:9876/Callback", "letter case"),
            ("http://localhost:9876/back", "the path"),
            ("https://localhost:9876/callback", "the scheme"),
            ("http://localhost", "the port"),
        ] {
            let diagnosis = configured
                .check_registered(registered)
                .expect_err(registered);
            assert!(
                diagnosis.summary.contains(part),
                "{registered}: {}",
                diagnosis.summary
            );
            assert!(
                diagnosis
                    .remedy
                    .contains("`http://localhost:9876/callback`")
                    && diagnosis.remedy.contains(registered)
            );
        }
        assert_eq!(
            configured.check_registered("http://localhost:9876/callback"),
            Ok(())
        );
    }

    #[test]
    fn a_refusal_repeats_no_secret() {
        let text = format!(
            "{:?}",
            refusal("https://user:hunter2@acme.example/back?code=hunter3")
        );
        assert!(!text.contains("hunter"), "{text}");
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_kept_to_the_letter(uri in "(https?|urn)://[a-zA-Z0-9.:/_?#@*%-]{0,40}") {
            if let Ok(parsed) = RedirectUri::parse(&uri) {
                prop_assert_eq!(parsed.as_str(), &uri);
                prop_assert!(uri.starts_with("https://") || uri.starts_with("http://localhost"));
            }
        }

        #[test]
        fn the_string_to_register_is_itself_accepted(uri in "https?://[a-zA-Z0-9.-]{1,20}(:[0-9]{1,4})?(/[a-z.*]{0,8}){0,3}(\\?[a-z=]{0,5})?") {
            if let Err(diagnosis) = RedirectUri::parse(&uri) {
                let register = diagnosis.remedy.split('`').nth(1).expect("quoted");
                prop_assert!(RedirectUri::parse(register).is_ok(), "{} -> {}", uri, register);
            }
        }

        #[test]
        fn any_text_gets_an_answer(uri in ".{0,60}") {
            let _ = RedirectUri::parse(&uri);
        }
    }

    #[test]
    fn a_password_is_not_repeated_however_the_uri_is_written() {
        let far = format!("https://{}:hunter2@a.example/", "a".repeat(300));
        for uri in [
            "http:/me:hunter2@a.example/",
            "me:hunter2@a.example",
            "https://me@a.example:hunter2@b.example/",
            &far,
        ] {
            let told = format!("{:?}", RedirectUri::parse(uri).expect_err("refused"));
            assert!(
                !told.contains("hunter2") && !told.contains("aaaaa"),
                "{told}"
            );
        }
    }

    #[test]
    fn a_host_that_browsers_read_differently_is_refused() {
        for uri in [
            "https://a%00b.example/",
            "https://a%7Eb.example/",
            "https://a!b.example/",
            "https://[v1.a]/",
        ] {
            let refused = RedirectUri::parse(uri).expect_err(uri);
            assert!(refused.summary.contains("browsers"), "{}", refused.summary);
            assert!(refused.remedy.contains(&format!("exactly `{OUT_OF_BAND}`")));
        }
        for uri in [
            "https://a_b.example/",
            "https://[::1]/",
            "https://192.0.2.1/",
        ] {
            assert!(RedirectUri::parse(uri).is_ok(), "{uri}");
        }
    }
}
