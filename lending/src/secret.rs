//! Strings that must not be seen.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::hex::hex;

/// A secret string: a token, a code or a client secret.
///
/// `Debug` and `Display` print `****`, so that a secret in a log line, an error or a panic message is not one. Comparing
/// takes the same time wherever two secrets of equal length differ. The one way to the text is [`Secret::expose`], which is
/// easy to search for.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret itself. Hand it to the one place that needs it, and to nothing that prints.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the fingerprint of a client secret, as the contract's `secret-fingerprint`.
    ///
    /// Changes with the secret's bytes. The label keeps it apart from every other digest of the same secret; 64 bits tell changes
    /// apart and are too few to confirm a guessed secret of usual strength.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::new()
            .chain_update(b"procore-auth client secret fingerprint v1\0")
            .chain_update(self.0.as_bytes())
            .finalize();
        hex(&digest[..8])
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn prints_stars() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "**** **** ****");
    }

    #[test]
    fn compares_by_content() {
        assert_eq!(Secret::new("a"), Secret::new("a"));
        assert_ne!(Secret::new("a"), Secret::new("b"));
        assert_ne!(Secret::new("a"), Secret::new("ab"));
    }
    #[test]
    fn the_fingerprint_follows_the_secret_and_does_not_show_it() {
        let one = Secret::new("hunter2").fingerprint();
        assert_eq!(one.len(), 16);
        assert_eq!(one, Secret::new("hunter2").fingerprint());
        assert_ne!(one, Secret::new("hunter3").fingerprint());
    }
}
