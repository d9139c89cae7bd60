//! The bytes of one entry's file: a header in JSON, a line feed, and the value. The host's `FileStore` documents the format.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{hex::hex, revision};

const FORMAT: u64 = 1;

/// Longer than any header that this format has, and short enough to search for the line feed in any file.
pub const MAX_HEADER: usize = 4096;

#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(rename = "procore-auth")]
    format: u64,
    revision: u64,
    sha256: String,
    /// Which installation wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    install: Option<String>,
}

/// A file that was read whole.
#[derive(PartialEq, Eq)]
pub struct Decoded {
    /// The version.
    pub revision: u64,
    /// Which installation wrote it, where that is known.
    pub install: Option<String>,
    /// The entry's value.
    pub value: Vec<u8>,
}

/// Why a file is no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// Torn, truncated, empty, changed, or somebody else's.
    Damaged(&'static str),
    /// A whole file, perhaps, of a later version of this software.
    NewerFormat(u64),
}

/// Writes a file: the inverse of [`decode`].
pub fn encode(revision: u64, install: Option<&str>, value: &[u8]) -> Vec<u8> {
    let mut header = serde_json::json!({
        "procore-auth": FORMAT,
        "revision": revision,
        "sha256": hex_digest(value),
    });
    if let Some(install) = install {
        header["install"] = install.into();
    }
    let mut bytes = header.to_string().into_bytes();
    bytes.push(b'\n');
    bytes.extend_from_slice(value);
    bytes
}

/// Reads the revision from a file's first bytes, whatever comes after them.
pub fn revision(start: &[u8]) -> Option<u64> {
    let end = start.iter().position(|b| *b == b'\n')?;
    parse_header(&start[..end])
        .ok()
        .map(|header| header.revision)
}

/// Reads a whole file.
pub fn decode(mut bytes: Vec<u8>) -> Result<Decoded, Unreadable> {
    use Unreadable::Damaged;
    if bytes.is_empty() {
        return Err(Damaged("the file is empty"));
    }
    let start = &bytes[..bytes.len().min(MAX_HEADER)];
    let Some(end) = start.iter().position(|b| *b == b'\n') else {
        return Err(Damaged("the file does not begin with a header"));
    };
    let header = parse_header(&bytes[..end])?;
    let value = bytes.split_off(end + 1);
    if !header.sha256.eq_ignore_ascii_case(&hex_digest(&value)) {
        return Err(Damaged("the digest does not match"));
    }
    Ok(Decoded {
        revision: header.revision,
        install: header.install,
        value,
    })
}

fn parse_header(line: &[u8]) -> Result<Header, Unreadable> {
    use Unreadable::Damaged;
    #[derive(Deserialize)]
    struct Format {
        #[serde(rename = "procore-auth")]
        format: u64,
    }
    // The format first: a later one may have another header altogether.
    match serde_json::from_slice(line) {
        Ok(Format { format: FORMAT }) => {}
        Ok(Format { format }) if format > FORMAT => return Err(Unreadable::NewerFormat(format)),
        _ => return Err(Damaged("the file does not begin with a header")),
    }
    match serde_json::from_slice::<Header>(line) {
        Ok(header) if header.revision <= revision::MAX => Ok(header),
        _ => Err(Damaged("the header is not complete")),
    }
}

fn hex_digest(value: &[u8]) -> String {
    hex(&Sha256::digest(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Unreadable, decode, encode};
    use crate::revision;

    /// Other hosts write and read these bytes.
    #[test]
    fn the_format_is_fixed() {
        let bytes = b"{\"procore-auth\":1,\"revision\":7,\"sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}\nabc";
        assert_eq!(encode(7, None, b"abc"), bytes);
        let decoded = decode(bytes.to_vec()).expect("whole");
        assert_eq!((decoded.revision, &*decoded.value), (7, &b"abc"[..]));
    }

    #[test]
    fn reads_what_other_writers_may_write() {
        let bytes = b"{ \"sha256\": \"BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD\", \"by\": \"js\", \"procore-auth\": 1, \"revision\": 7 }\nabc";
        assert_eq!(decode(bytes.to_vec()).expect("whole").revision, 7);
    }

    #[test]
    fn a_later_format_is_not_damage() {
        assert_eq!(
            decode(b"{\"procore-auth\":2,\"other\":true}\n".to_vec()).err(),
            Some(Unreadable::NewerFormat(2))
        );
    }

    #[test]
    fn foreign_files_are_damage() {
        for bytes in [
            &b""[..],
            b"\n",
            b"{}\n",
            b"{\"access_token\":\"a\"}",
            b"{\"access_token\":\"a\"}\n",
            b"{\"procore-auth\":0}\n",
            b"{\"procore-auth\":1}\n",
            b"{\"procore-auth\":1,\"revision\":9007199254740992,\"sha256\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}\n",
            &[0; 10_000],
        ] {
            assert!(
                matches!(decode(bytes.to_vec()).err(), Some(Unreadable::Damaged(_))),
                "{bytes:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn round_trips(revision in 0..=revision::MAX, value: Vec<u8>) {
            let decoded = decode(encode(revision, Some("a"), &value)).expect("whole");
            prop_assert_eq!(decoded.revision, revision);
            prop_assert_eq!(decoded.value, value);
        }

        #[test]
        fn no_part_passes_for_the_whole(value: Vec<u8>, cut: prop::sample::Index) {
            let bytes = encode(7, None, &value);
            let cut = cut.index(bytes.len());
            prop_assert!(decode(bytes[..cut].to_vec()).is_err());
        }

        #[test]
        fn no_changed_value_passes(value in prop::collection::vec(any::<u8>(), 1..100), at: prop::sample::Index, flip in 1u8..) {
            let mut bytes = encode(7, None, &value);
            let at = bytes.len() - value.len() + at.index(value.len());
            bytes[at] ^= flip;
            prop_assert!(decode(bytes).is_err());
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = decode(bytes);
        }
    }
}
