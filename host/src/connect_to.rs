//! Connects to another address than a host's own, as `curl --connect-to` does.
//!
//! | text | meaning |
//! |---|---|
//! | `login.procore.com:443=127.0.0.1:8443` | TLS as usual, with the name `login.procore.com`, to that address |
//! | `login.procore.com:443=http://127.0.0.1:3000` | no TLS; a loopback address only |
//!
//! The plugin sees nothing of it: URLs, the `Host` header and the name that the certificate must bear stay the true ones. This
//! is the one way to plain HTTP, and it cannot leave the machine.

use std::{fmt, net::SocketAddr, str::FromStr};

/// One override: where connections to a host and port really go.
///
/// Parsed from `HOST:PORT=ADDRESS:PORT` or `HOST:PORT=http://ADDRESS:PORT`; `Display` prints the same text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectTo {
    host: String,
    port: u16,
    target: Target,
}

/// Where an override leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// TLS to this address.
    #[non_exhaustive]
    Tls(SocketAddr),
    /// Plain HTTP to this address of the machine itself. Only parsing makes one, so it is a loopback address.
    #[non_exhaustive]
    Plain(SocketAddr),
}

impl ConnectTo {
    /// Returns the host that is overridden, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port that is overridden.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns where connections go instead.
    pub fn target(&self) -> Target {
        self.target
    }
}

impl FromStr for ConnectTo {
    type Err = InvalidConnectTo;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, to) = text.split_once('=').ok_or(InvalidConnectTo::Form)?;
        let (host, port) = from.rsplit_once(':').ok_or(InvalidConnectTo::From)?;
        Ok(Self {
            host: parse_host(host)?,
            port: parse_port(port)?,
            target: to.parse()?,
        })
    }
}

impl FromStr for Target {
    type Err = InvalidConnectTo;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (plain, address) = match text.split_once("://") {
            None => (false, text),
            Some(("https", address)) => (false, address),
            Some(("http", address)) => (true, address),
            Some(_) => return Err(InvalidConnectTo::To),
        };
        let address: SocketAddr = address.parse().map_err(|_| InvalidConnectTo::To)?;
        if address.port() == 0 {
            return Err(InvalidConnectTo::To);
        }
        match plain {
            true if !address.ip().is_loopback() => Err(InvalidConnectTo::PlainBeyondLoopback),
            true => Ok(Self::Plain(address)),
            false => Ok(Self::Tls(address)),
        }
    }
}

/// Takes a name in plain ASCII. An address would be connected to without asking the resolver, so an override for one would
/// not apply.
fn parse_host(host: &str) -> Result<String, InvalidConnectTo> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let host = host.to_ascii_lowercase();
    if !host.bytes().all(plain) || host.ends_with('.') {
        return Err(InvalidConnectTo::From);
    }
    match url::Host::parse(&host) {
        Ok(url::Host::Domain(domain)) if domain == host => Ok(domain),
        _ => Err(InvalidConnectTo::From),
    }
}

fn parse_port(port: &str) -> Result<u16, InvalidConnectTo> {
    match port.parse() {
        Ok(parsed) if parsed != 0 && !port.starts_with('+') => Ok(parsed),
        _ => Err(InvalidConnectTo::From),
    }
}

impl fmt::Display for ConnectTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, target } = self;
        match target {
            Target::Tls(address) => write!(f, "{host}:{port}={address}"),
            Target::Plain(address) => write!(f, "{host}:{port}=http://{address}"),
        }
    }
}

/// Why a text is no override.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConnectTo {
    /// There is no `=`.
    #[error(
        "an override reads HOST:PORT=ADDRESS:PORT, such as login.procore.com:443=127.0.0.1:8443"
    )]
    Form,
    /// The left side is not a host name with a port.
    #[error(
        "the left side of an override is a host name and a port, such as login.procore.com:443"
    )]
    From,
    /// The right side is not an IP address with a port.
    #[error(
        "the right side of an override is an IP address and a port, such as 127.0.0.1:8443 or http://127.0.0.1:3000"
    )]
    To,
    /// Plain HTTP was asked for, to another machine.
    #[error(
        "http:// is accepted for a loopback address only: tokens would cross the network in the clear"
    )]
    PlainBeyondLoopback,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ConnectTo, InvalidConnectTo, Target};

    fn parse(text: &str) -> Result<ConnectTo, InvalidConnectTo> {
        text.parse()
    }

    #[test]
    fn an_override_with_tls() {
        let parsed = parse("Login.Procore.com:443=127.0.0.1:8443").expect("valid");
        assert_eq!((parsed.host(), parsed.port()), ("login.procore.com", 443));
        assert!(matches!(parsed.target(), Target::Tls(address) if address.port() == 8443));
        assert_eq!(
            parse("login.procore.com:443=https://127.0.0.1:8443"),
            Ok(parsed)
        );
    }

    #[test]
    fn plain_http_stays_on_the_machine() {
        for good in ["127.0.0.1:80", "127.9.9.9:3000", "[::1]:3000"] {
            let parsed = parse(&format!("a.b:443=http://{good}")).expect("valid");
            assert!(matches!(parsed.target(), Target::Plain(_)));
        }
        for bad in [
            "10.0.0.1:80",
            "0.0.0.0:80",
            "[::]:80",
            "[::ffff:127.0.0.1]:80",
            "169.254.169.254:80",
        ] {
            assert_eq!(
                parse(&format!("a.b:443=http://{bad}")),
                Err(InvalidConnectTo::PlainBeyondLoopback),
                "{bad}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_override() {
        for (bad, why) in [
            ("", InvalidConnectTo::Form),
            ("login.procore.com:443", InvalidConnectTo::Form),
            ("login.procore.com=127.0.0.1:1", InvalidConnectTo::From),
            ("127.0.0.1:443=127.0.0.1:1", InvalidConnectTo::From),
            ("[::1]:443=127.0.0.1:1", InvalidConnectTo::From),
            ("2130706433:443=127.0.0.1:1", InvalidConnectTo::From),
            ("a.b.:443=127.0.0.1:1", InvalidConnectTo::From),
            ("a@b:443=127.0.0.1:1", InvalidConnectTo::From),
            ("a%2eb:443=127.0.0.1:1", InvalidConnectTo::From),
            ("\u{e4}A:443=127.0.0.1:1", InvalidConnectTo::From),
            (":443=127.0.0.1:1", InvalidConnectTo::From),
            ("a.b:0=127.0.0.1:1", InvalidConnectTo::From),
            ("a.b:+443=127.0.0.1:1", InvalidConnectTo::From),
            ("a.b:65536=127.0.0.1:1", InvalidConnectTo::From),
            ("a.b:443=localhost:1", InvalidConnectTo::To),
            ("a.b:443=127.0.0.1", InvalidConnectTo::To),
            ("a.b:443=127.0.0.1:0", InvalidConnectTo::To),
            ("a.b:443=http://127.0.0.1:1/", InvalidConnectTo::To),
            ("a.b:443=http://u@127.0.0.1:1", InvalidConnectTo::To),
            ("a.b:443=ftp://127.0.0.1:1", InvalidConnectTo::To),
            ("a.b:443=127.0.0.1:1=", InvalidConnectTo::To),
        ] {
            assert_eq!(parse(bad), Err(why), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(
            host in "[a-z][a-z0-9]{0,10}(\\.[a-z][a-z0-9]{0,10}){0,3}",
            port in 1u16..,
            ip: std::net::IpAddr,
            to in 1u16..,
        ) {
            let text = format!("{host}:{port}={}", std::net::SocketAddr::new(ip, to));
            let parsed = parse(&text).expect("valid");
            prop_assert_eq!(parsed.to_string(), text);
            prop_assert_eq!(parsed.host(), host);
        }

        #[test]
        fn no_text_makes_plain_http_beyond_loopback(text in "a:1=(http://)?[\\[\\]0-9a-f:.]{1,20}:[0-9]{1,5}") {
            if let Ok(parsed) = parse(&text)
                && let Target::Plain(address) = parsed.target()
            {
                prop_assert!(address.ip().is_loopback());
            }
        }

        #[test]
        fn never_panics(text in "(.*:1=.*)|((XN--)?[-A-Za-z0-9.%\u{e4}]{0,9}:1=127.0.0.1:1)|.*") {
            let _ = parse(&text);
        }
    }
}
