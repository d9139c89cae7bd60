//! The names of files that are not yet in their place: `.KEY.N.xxxxxx`.
//!
//! `N` says of which revision of the entry the write is the successor, 0 where there is no entry; or it is another word, and then
//! the file is nothing but a copy of what is there. Anything else that begins with a key between dots was left by an earlier version.

use crate::{Key, StoreFailure};

/// What a file that is not yet in its place is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The entry that it is of.
    pub key: Key,
    /// The revision that it follows; `Some(None)` where it is the first, `None` where it is no new generation.
    pub follows: Option<Option<u64>>,
}

impl Unfinished {
    /// Reads a file's name; `None` where it is the name of something else.
    pub fn parse(name: &str) -> Option<Self> {
        let (key, rest) = name.strip_prefix('.')?.split_once('.')?;
        let follows = rest
            .split_once('.')
            .and_then(|(follows, _)| follows.parse().ok());
        let key: Result<Key, StoreFailure> = Key::new(key);
        Some(Self {
            key: key.ok()?,
            follows: follows.map(|revision| Some(revision).filter(|revision| *revision > 0)),
        })
    }
}

/// Returns what the names of all unfinished files of a key begin with. The key is followed by a dot, which no key holds: `.a.` is
/// no beginning of a file of `a-b`.
pub fn prefix(key: &Key) -> String {
    format!(".{}.", key.as_str())
}

/// Returns what the name of a new generation begins with.
pub fn successor_prefix(key: &Key, follows: Option<u64>) -> String {
    format!("{}{}.", prefix(key), follows.unwrap_or(0))
}

/// Returns what the name of the previous generation's file begins with.
pub fn previous_prefix(key: &Key) -> String {
    format!("{}previous.", prefix(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> Option<(String, Option<Option<u64>>)> {
        Unfinished::parse(name).map(|it| (it.key.as_str().to_owned(), it.follows))
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let key = Key::new("tokens").expect("valid");
        for follows in [None, Some(7)] {
            let name = format!("{}x1y2z3", successor_prefix(&key, follows));
            assert_eq!(parsed(&name), Some(("tokens".to_owned(), Some(follows))));
        }
        let name = format!("{}x1y2z3", previous_prefix(&key));
        assert_eq!(parsed(&name), Some(("tokens".to_owned(), None)));
    }

    #[test]
    fn an_earlier_versions_random_digits_are_no_revision() {
        assert_eq!(parsed(".tokens.123456"), Some(("tokens".to_owned(), None)));
    }

    #[test]
    fn the_stores_own_files_are_something_else() {
        for name in [
            ".guard",
            ".lock",
            ".install",
            "tokens",
            "tokens.previous",
            "tokens.damaged-1",
            ".A.x",
            ".",
            "..",
        ] {
            assert_eq!(parsed(name), None, "{name}");
        }
    }
}
