//! The key that a store is encrypted with.

use std::{fmt, sync::Arc};

use base64ct::{Base64, Encoding as _};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{Random, Secret, hex::hex};

/// How many bytes a key has.
const LENGTH: usize = 32;

/// Keeps the digest for the id apart from every other digest.
const ID_CONTEXT: &[u8] = b"procore-auth encryption key id 1\0";

/// A key of 256 random bits. Clones share one copy, which is wiped with the last of them; `Debug` prints `****`.
///
/// As text it is Base64 (RFC 4648, section 4) or hexadecimal. A passphrase is no key: it has too few bits, and is refused.
#[derive(Clone)]
pub struct EncryptionKey(Arc<Zeroizing<[u8; LENGTH]>>);

/// Tells keys apart, and tells nothing else about them: the first 8 bytes of a SHA-256. Prints as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(crate) [u8; KeyId::LENGTH]);

/// A text is no key. Holds no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a key: a key is {LENGTH} random bytes as Base64 (44 characters) or hexadecimal (64 characters), not a passphrase"
)]
#[non_exhaustive]
pub struct InvalidEncryptionKey;

impl EncryptionKey {
    /// Wraps the bytes of a key. They must come from a random source that is fit for keys.
    pub fn new(bytes: [u8; LENGTH]) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// Makes a new key.
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        random.fill(&mut *bytes);
        Self(Arc::new(bytes))
    }

    /// Reads a key from its text. White space around it is ignored.
    pub fn parse(text: &Secret) -> Result<Self, InvalidEncryptionKey> {
        let text = text.expose().trim();
        let bytes = match text.len() {
            64 => from_hex(text),
            44 => from_base64(text),
            _ => None,
        };
        let bytes = bytes.ok_or(InvalidEncryptionKey)?;
        // Such a key is a placeholder that nobody replaced.
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(InvalidEncryptionKey);
        }
        Ok(Self(Arc::new(bytes)))
    }

    /// Returns the key's text, in Base64.
    pub fn to_text(&self) -> Secret {
        Secret::new(Base64::encode_string(&self.0[..]))
    }

    /// Returns the key's id.
    pub fn id(&self) -> KeyId {
        let digest = Sha256::new()
            .chain_update(ID_CONTEXT)
            .chain_update(&self.0[..])
            .finalize();
        let mut id = [0; KeyId::LENGTH];
        id.copy_from_slice(&digest[..KeyId::LENGTH]);
        KeyId(id)
    }

    pub(crate) fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl KeyId {
    pub(crate) const LENGTH: usize = 8;
}

fn from_base64(text: &str) -> Option<Zeroizing<[u8; LENGTH]>> {
    let mut bytes = Zeroizing::new([0; LENGTH]);
    let decoded = Base64::decode(text, &mut bytes[..]).ok()?.len();
    (decoded == LENGTH).then_some(bytes)
}

fn from_hex(text: &str) -> Option<Zeroizing<[u8; LENGTH]>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Zeroizing::new([0; LENGTH]);
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let value = digit(pair[0])? << 4 | digit(*pair.get(1)?)?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(bytes)
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::EncryptionKey;
    use crate::{Secret, SystemRandom};

    fn parse(text: &str) -> Option<EncryptionKey> {
        EncryptionKey::parse(&Secret::new(text)).ok()
    }

    #[test]
    fn is_read_as_it_is_written_and_as_hexadecimal() {
        let key = EncryptionKey::generate(&SystemRandom);
        let text = key.to_text();
        let hex: String = key.bytes().iter().map(|b| format!("{b:02x}")).collect();
        let spaced = format!(" {}\n", text.expose());
        for text in [text.expose(), &spaced, &hex, &hex.to_uppercase()] {
            assert_eq!(parse(text).expect("a key").bytes(), key.bytes());
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        for text in [
            "",
            "correct horse battery staple",
            "a passphrase of exactly forty-four characters",
            "c2hvcnQ=",
            &"0".repeat(64),
            &"é".repeat(32),
            &"A".repeat(43),
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ] {
            let refused = EncryptionKey::parse(&Secret::new(text)).expect_err("no key");
            assert!(text.is_empty() || !format!("{refused:?} {refused}").contains(text));
        }
    }

    #[test]
    fn prints_stars() {
        let key = EncryptionKey::generate(&SystemRandom);
        assert_eq!(format!("{key:?}"), "****");
    }

    /// Stored entries name their key so.
    #[test]
    fn the_id_is_fixed_and_tells_keys_apart() {
        let [one, other] = [1, 2].map(|byte| EncryptionKey::new([byte; 32]));
        assert_eq!(one.id().to_string(), "db2155f9e0848253");
        assert_ne!(one.id(), other.id());
    }
}
