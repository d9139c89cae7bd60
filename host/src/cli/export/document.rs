//! What stands in an exported file: the names that a token endpoint uses, and no refresh token.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use procore_auth_host::{AccessToken, Secret, TokenTimes};
use serde::Serialize;
use serde_json::Value;

/// The most bytes of a token file that are looked at.
const LARGEST: u64 = 64 * 1024;

/// The file's content. Moments are Unix seconds, as scripts expect them.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    created_at: u64,
    expires_at: u64,
}

/// What stands where the file goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing, or an empty file.
    Missing,
    /// A file with this access token and no refresh token.
    Exported(Secret),
    /// Something else, in words that follow the file's name.
    Other(&'static str),
}

impl<'a> Document<'a> {
    /// Words the file at the moment `now`.
    pub(super) fn new(token: &'a AccessToken, times: TokenTimes, now: u64) -> Self {
        Self {
            access_token: token.bearer().expose(),
            token_type: "Bearer",
            expires_in: times.expires_at.saturating_sub(now) / 1000,
            created_at: times.issued_at / 1000,
            expires_at: times.expires_at / 1000,
        }
    }
}

impl Standing {
    /// Looks at what is there.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Missing),
            Err(error) => return Err(error),
        };
        // Opening a pipe would wait for its other end.
        if !metadata.is_file() {
            return Ok(Self::Other("is no regular file"));
        }
        let mut text = Vec::new();
        File::open(path)?.take(LARGEST).read_to_end(&mut text)?;
        Ok(Self::of(&text))
    }

    fn of(text: &[u8]) -> Self {
        if text.trim_ascii().is_empty() {
            return Self::Missing;
        }
        let parsed = serde_json::from_slice::<Value>(text).ok();
        let Some(Value::Object(fields)) = parsed else {
            return Self::Other("is no token file");
        };
        let filled = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
        match fields.get("access_token").and_then(Value::as_str) {
            _ if filled("refresh_token") => Self::Other("has a refresh token"),
            Some(bearer) => Self::Exported(Secret::new(bearer)),
            None => Self::Other("is no token file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use procore_auth_host::Secret;

    use super::Standing;

    #[test]
    fn only_an_exported_file_is_taken_for_one() {
        for (text, standing) in [
            ("", Standing::Missing),
            (" \n", Standing::Missing),
            (
                r#"{"access_token":"a"}"#,
                Standing::Exported(Secret::new("a")),
            ),
            (
                r#"{"access_token":"a","refresh_token":"r"}"#,
                Standing::Other("has a refresh token"),
            ),
            (
                r#"{"refresh_token":"r"}"#,
                Standing::Other("has a refresh token"),
            ),
            (
                r#"{"access_token":"a","refresh_token":null}"#,
                Standing::Exported(Secret::new("a")),
            ),
            ("{}", Standing::Other("is no token file")),
            ("PROCORE_CLIENT_ID=x", Standing::Other("is no token file")),
            ("[1]", Standing::Other("is no token file")),
        ] {
            assert_eq!(Standing::of(text.as_bytes()), standing, "{text}");
        }
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let folder = tempfile::tempdir().expect("folder");
        let standing = Standing::read(folder.path()).expect("looked at");
        assert_eq!(standing, Standing::Other("is no regular file"));
        let missing = Standing::read(&folder.path().join("none"));
        assert_eq!(missing.expect("looked at"), Standing::Missing);
    }
}
