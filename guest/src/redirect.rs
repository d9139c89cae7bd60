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

use url::{Host, Url};

use crate::{diagnosis::Diagnosis, web_url};

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
        let url = web_url::parse(uri.trim())
            .map_err(|error| refused(uri, &format!("it is no URI ({error})"), OUT_OF_BAND))?;
        if url.scheme() == "urn" {
            return Err(refused(
                uri,
                "it is a URN other than the one for out-of-band sign-in",
                OUT_OF_BAND,
            ));
        }
        let kind = kind_of(&url).map_err(|fault| refused(uri, &fault, &registrable(&url)))?;
        let extra = extra_part(&url);
        if let Some(part) = extra {
            return Err(refused(uri, &format!("it has {part}"), &registrable(&url)));
        }
        if !is_normal(uri, &url) {
            return Err(refused(
                uri,
                "it is not written in its normal form, and the server compares characters",
                &registrable(&url),
            ));
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

fn kind_of(url: &Url) -> Result<Kind, String> {
    match url.scheme() {
        "https" if url.host().is_some() => Ok(Kind::Https {
            path: url.path().to_owned(),
        }),
        "http" => match url.host() {
            Some(Host::Domain("localhost")) => Ok(Kind::Localhost {
                port: url.port().unwrap_or(80),
                path: url.path().to_owned(),
            }),
            Some(Host::Domain(name)) => Err(format!(
                "{name} is a host name, and over http Procore accepts `localhost` alone"
            )),
            Some(Host::Ipv4(address)) => Err(address_fault(url, address.is_loopback())),
            Some(Host::Ipv6(address)) => Err(address_fault(url, address.is_loopback())),
            None => Err("it has no host".to_owned()),
        },
        scheme => Err(format!(
            "its scheme is {scheme}, and Procore accepts https, or http for localhost"
        )),
    }
}

fn address_fault(url: &Url, is_loopback: bool) -> String {
    let address = url.host_str().unwrap_or_default();
    if is_loopback {
        format!("{address} is a loopback address, and Procore accepts only the name `localhost`")
    } else {
        format!("{address} is a network address, and over http Procore accepts `localhost` alone")
    }
}

fn extra_part(url: &Url) -> Option<&'static str> {
    if url.fragment().is_some() {
        Some("a fragment (`#…`), which never reaches a server")
    } else if !url.username().is_empty() || url.password().is_some() {
        Some("user information (`…@`)")
    } else if url.query().is_some() {
        Some("a query (`?…`), where the code and the state will stand")
    } else if url.as_str().contains('*') {
        Some("a wildcard (`*`), which Procore does not know")
    } else {
        None
    }
}

/// Whether the parser would write the URI as it stands, but for the `/` of an empty path.
fn is_normal(uri: &str, url: &Url) -> bool {
    uri == url.as_str() || (url.path() == "/" && format!("{uri}/") == url.as_str())
}

/// Returns the nearest URI that Procore accepts.
fn registrable(url: &Url) -> String {
    let host = match url.scheme() {
        "http" => "localhost",
        "https" => url.host_str().unwrap_or_default(),
        _ => return OUT_OF_BAND.to_owned(),
    };
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    let near = format!("{}://{host}{port}{}", url.scheme(), url.path()).replace('*', "");
    web_url::parse(&near).map_or_else(|_| OUT_OF_BAND.to_owned(), String::from)
}

fn refused(uri: &str, fault: &str, register: &str) -> Diagnosis {
    let shown: String = uri
        .split(['?', '#'])
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect();
    let shown = match (shown.find("://"), shown.find('@')) {
        (Some(_), Some(at)) => shown[at + 1..].to_owned(),
        _ => shown,
    };
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
    let (Ok(a), Ok(b)) = (web_url::parse(a), web_url::parse(b)) else {
        return "its whole form";
    };
    if a.scheme() != b.scheme() {
        "the scheme"
    } else if a.host_str() != b.host_str() {
        "the host"
    } else if a.port_or_known_default() != b.port_or_known_default() {
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
}
