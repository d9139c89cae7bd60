//! Strings that must not be seen.

use std::{borrow::Cow, fmt};

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac_sha256::Hash;

use crate::json::{Text, stored_as_text};

/// A secret string: a token, a code or a `state`. `Debug` prints `****`; it is written out in the store alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the digest that names this secret in records.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// Compares in a time that does not depend on where two secrets of equal length differ.
    pub fn matches(&self, other: &str) -> bool {
        let (a, b) = (self.0.as_bytes(), other.as_bytes());
        a.len() == b.len()
            && a.iter()
                .zip(b)
                .fold(0, |difference, (x, y)| difference | (x ^ y))
                == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl Text for Secret {
    fn to_text(&self) -> Cow<'_, str> {
        self.0.as_str().into()
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }
}

stored_as_text!(Secret);

/// The SHA-256 of a secret, in base64url: names a token without giving it away, since tokens are too long to guess.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest(String);

impl Digest {
    /// Takes the digest of bytes that may hold a secret.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Base64UrlUnpadded::encode_string(&Hash::hash(bytes)))
    }

    /// Returns the first characters, enough to tell tokens apart in a message.
    pub fn short(&self) -> &str {
        self.0.get(..10).unwrap_or(&self.0)
    }
}

impl Text for Digest {
    fn to_text(&self) -> Cow<'_, str> {
        self.0.as_str().into()
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }
}

stored_as_text!(Digest);

/// Returns the PKCE code challenge of a verifier (RFC 7636, section 4.2, method `S256`).
pub fn code_challenge(verifier: &Secret) -> String {
    verifier.digest().0
}

/// Returns random bytes as base64url: 32 bytes make the 43 characters that `state` and a PKCE verifier want.
pub fn random_text(bytes: &[u8]) -> Secret {
    Secret(Base64UrlUnpadded::encode_string(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_stars() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "****");
    }

    /// RFC 7636, appendix B.
    #[test]
    fn the_rfcs_example_challenge() {
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(
            code_challenge(&verifier),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn matches_compares_whole() {
        let secret = Secret::new("abc");
        assert!(
            secret.matches("abc")
                && !secret.matches("abd")
                && !secret.matches("ab")
                && !secret.matches("abcd")
        );
    }
}
