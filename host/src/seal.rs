//! Sealed values: what an encrypted store holds in place of an entry's value.
//!
//! | bytes | content |
//! |---|---|
//! | 0 to 7 | `\0sealed\0`: no JSON begins so |
//! | 8 | the version: 1 |
//! | 9 to 16 | the key's id ([`KeyId`]) |
//! | 17 to 40 | the nonce: 24 random bytes |
//! | 41 to the end | the value, encrypted with XChaCha20-Poly1305, and the tag of 16 bytes |
//!
//! Authenticated along with it are the first 17 bytes and the place: the connection's name, a zero byte, and the entry's key.
//! So a value that was changed, or moved to another key or connection, does not open. An older value of the same place does:
//! whoever can write the store can put an old version back.
//!
//! Nonces are random. Of 192 bits no two are equal, however many processes write and however often a disk is restored.

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};

use procore_auth_lending::sealed::MAGIC;
pub(crate) use procore_auth_lending::sealed::is_sealed;

use crate::{ConnectionName, EncryptionKey, KeyId, Random, StoreFailure, SystemRandom, hex::hex};

const VERSION: u8 = 1;
const HEADER: usize = MAGIC.len() + 1 + KeyId::LENGTH;
const NONCE: usize = 24;
const TAG: usize = 16;

/// Seals and opens the values of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Seal {
    connection: ConnectionName,
    key: EncryptionKey,
    old_keys: Vec<EncryptionKey>,
}

/// Tells whether there is a sealed value somewhere in the bytes, such as behind the header of a torn file.
pub(crate) fn has_sealed(bytes: &[u8]) -> bool {
    bytes.windows(MAGIC.len()).any(|window| window == MAGIC)
}

impl Seal {
    pub(crate) fn new(connection: ConnectionName, key: EncryptionKey) -> Self {
        Self {
            connection,
            key,
            old_keys: Vec::new(),
        }
    }

    pub(crate) fn add_old_keys(&mut self, keys: impl IntoIterator<Item = EncryptionKey>) {
        self.old_keys.extend(keys);
    }

    /// Tells whether a value is sealed with the key that seals now.
    pub(crate) fn is_current(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(&header(self.key.id()))
    }

    pub(crate) fn seal(&self, place: &str, value: &[u8]) -> Result<Vec<u8>, StoreFailure> {
        let header = header(self.key.id());
        let mut nonce = [0; NONCE];
        SystemRandom.fill(&mut nonce);
        let message = Payload {
            msg: value,
            aad: &self.authenticated(&header, place),
        };
        let sealed = cipher(&self.key).encrypt(&nonce.into(), message);
        // Beyond 256 GiB.
        let sealed = sealed.map_err(|_| self.failure(place, "too-large", "is too large"))?;
        Ok([&header[..], &nonce, &sealed].concat())
    }

    pub(crate) fn open(&self, place: &str, bytes: &[u8]) -> Result<Vec<u8>, StoreFailure> {
        let damaged = || self.failure(place, "corrupt", DAMAGED);
        if !is_sealed(bytes) {
            return Err(self.failure(place, "not-encrypted", NOT_ENCRYPTED));
        }
        if bytes.get(MAGIC.len()).is_some_and(|&at| at > VERSION) {
            return Err(self.failure(place, "newer-format", NEWER));
        }
        let (header, rest) = bytes.split_at_checked(HEADER).ok_or_else(damaged)?;
        if rest.len() < NONCE + TAG {
            return Err(damaged());
        }
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
        let key = self.key_of(place, header)?;
        let message = Payload {
            msg: sealed,
            aad: &self.authenticated(header, place),
        };
        let opened = cipher(key).decrypt(nonce.into(), message);
        opened.map_err(|_| damaged())
    }

    /// Returns the key that the header names.
    fn key_of(&self, place: &str, header: &[u8]) -> Result<&EncryptionKey, StoreFailure> {
        let id = &header[MAGIC.len() + 1..];
        let mut keys = self.keys();
        let found = keys.find(|key| key.id().0 == id);
        found.ok_or_else(|| self.wrong_key(place, id))
    }

    fn keys(&self) -> impl Iterator<Item = &EncryptionKey> {
        std::iter::once(&self.key).chain(&self.old_keys)
    }

    fn authenticated(&self, header: &[u8], place: &str) -> Vec<u8> {
        let connection = self.connection.as_str().as_bytes();
        [header, connection, b"\0", place.as_bytes()].concat()
    }

    fn wrong_key(&self, place: &str, id: &[u8]) -> StoreFailure {
        let wanted = hex(id);
        let ours: Vec<String> = self.keys().map(|key| key.id().to_string()).collect();
        let what = format!(
            "is encrypted with the key {wanted}, and given is {}; give that key, as the key or among the old ones. Nothing \
             was overwritten",
            ours.join(", ")
        );
        self.failure(place, "wrong-key", &what)
    }

    fn failure(&self, place: &str, code: &'static str, what: &str) -> StoreFailure {
        let message = format!("the entry {place} of {} {what}", self.connection);
        StoreFailure::new(code, message)
    }
}

const DAMAGED: &str = "was changed since it was encrypted, or moved there from another place; restore it from a backup, or move \
                       the connection's folder away and sign in anew";
const NOT_ENCRYPTED: &str = "is not encrypted, although a key is configured; run `procore-auth store encrypt` once, or remove \
                             `encryption` from the configuration";
const NEWER: &str = "is encrypted in a later format; use the version that wrote it";

fn header(id: KeyId) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..MAGIC.len()].copy_from_slice(MAGIC);
    header[MAGIC.len()] = VERSION;
    header[MAGIC.len() + 1..].copy_from_slice(&id.0);
    header
}

fn cipher(key: &EncryptionKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.bytes().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HEADER, MAGIC, NONCE, Seal, TAG, has_sealed, is_sealed};
    use crate::EncryptionKey;

    fn seal(connection: &str, key: u8) -> Seal {
        let key = EncryptionKey::new([key; 32]);
        Seal::new(connection.parse().expect("valid"), key)
    }

    fn code(seal: &Seal, place: &str, bytes: &[u8]) -> &'static str {
        seal.open(place, bytes).expect_err("refused").code
    }

    /// Other hosts, and later versions, read these bytes. Libsodium made them.
    #[test]
    fn the_format_is_fixed() {
        let bytes = hex(
            "007365616c65640001bef6ed9c93c143ed000102030405060708090a0b0c0d0e0f1011121314151617\
             d36a4d3fabcca580944ed30383f40518d019",
        );
        let opened = seal("acme", 7).open("session", &bytes).expect("opens");
        assert_eq!(opened, b"{}");
    }

    fn hex(text: &str) -> Vec<u8> {
        let pairs = text.as_bytes().chunks(2);
        let pair = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16);
        pairs.map(|text| pair(text).expect("hex")).collect()
    }

    #[test]
    fn every_failure_has_its_own_code() {
        let acme = seal("acme", 1);
        let sealed = acme.seal("session", b"value").expect("sealed");
        let mut newer = sealed.clone();
        newer[MAGIC.len()] = 2;
        for (bytes, expected) in [
            (&b"{}"[..], "not-encrypted"),
            (b"", "not-encrypted"),
            (MAGIC, "corrupt"),
            (&sealed[..HEADER + NONCE + TAG - 1], "corrupt"),
            (&newer, "newer-format"),
            (
                &seal("acme", 2).seal("session", b"").expect("sealed"),
                "wrong-key",
            ),
        ] {
            assert_eq!(code(&acme, "session", bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_wrong_key_is_told_by_its_id() {
        let sealed = seal("acme", 1).seal("session", b"value").expect("sealed");
        let failure = seal("acme", 2).open("session", &sealed).expect_err("wrong");
        for key in [1, 2] {
            let id = EncryptionKey::new([key; 32]).id().to_string();
            assert!(failure.message.contains(&id), "{failure}");
        }
    }

    #[test]
    fn an_old_key_opens_and_does_not_seal() {
        let sealed = seal("acme", 1).seal("session", b"value").expect("sealed");
        let mut rotated = seal("acme", 2);
        rotated.add_old_keys([EncryptionKey::new([1; 32])]);
        assert_eq!(rotated.open("session", &sealed).expect("opens"), b"value");
        assert!(!rotated.is_current(&sealed));
        let anew = rotated.seal("session", b"value").expect("sealed");
        assert!(rotated.is_current(&anew) && !seal("acme", 1).is_current(&anew));
    }

    proptest! {
        #[test]
        fn round_trips(value: Vec<u8>) {
            let acme = seal("acme", 1);
            let sealed = acme.seal("session", &value).expect("sealed");
            prop_assert!(is_sealed(&sealed) && has_sealed(&sealed));
            prop_assert_eq!(sealed.len(), HEADER + NONCE + value.len() + TAG);
            prop_assert_eq!(acme.open("session", &sealed).expect("opens"), value);
        }

        #[test]
        fn no_changed_bit_passes(value: Vec<u8>, at: prop::sample::Index, bit in 0..8u8) {
            let acme = seal("acme", 1);
            let mut sealed = acme.seal("session", &value).expect("sealed");
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(acme.open("session", &sealed).is_err());
        }

        #[test]
        fn no_part_passes_for_the_whole(value: Vec<u8>, cut: prop::sample::Index) {
            let acme = seal("acme", 1);
            let sealed = acme.seal("session", &value).expect("sealed");
            let cut = cut.index(sealed.len());
            prop_assert!(acme.open("session", &sealed[..cut]).is_err());
        }

        #[test]
        fn no_value_opens_in_another_place(
            places in prop::array::uniform2(("[a-z][a-z0-9-]{0,9}", "[a-z0-9-]{1,9}")),
        ) {
            let [(connection, key), (other_connection, other_key)] = &places;
            prop_assume!(places[0] != places[1]);
            let sealed = seal(connection, 1).seal(key, b"value").expect("sealed");
            prop_assert_eq!(code(&seal(other_connection, 1), other_key, &sealed), "corrupt");
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = seal("acme", 1).open("session", &bytes);
            let _ = seal("acme", 1).open("session", &[MAGIC, &bytes[..]].concat());
        }
    }
}
