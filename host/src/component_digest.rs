//! Which component it is, to the byte.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

use crate::hex::hex;

/// The SHA-256 of a component: what a configuration pins, and what `sha256sum` prints.
///
/// Prints as 64 lower-case hexadecimal digits; parses from digits of either case, since tools differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ComponentDigest([u8; 32]);

/// A text that is no SHA-256. Does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidComponentDigest {
    /// There are more or fewer than 64 characters.
    #[error("a SHA-256 has 64 hexadecimal digits, and this has {0} characters")]
    Length(usize),
    /// There is a character that is no hexadecimal digit.
    #[error("character {0} of this SHA-256 is no hexadecimal digit")]
    Digit(usize),
}

impl ComponentDigest {
    /// Returns the digest of a component in its binary form.
    pub fn of(component: &[u8]) -> Self {
        Self(Sha256::digest(component).into())
    }
}

impl FromStr for ComponentDigest {
    type Err = InvalidComponentDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let count = text.chars().count();
        if count != 64 {
            return Err(InvalidComponentDigest::Length(count));
        }
        let mut bytes = [0; 32];
        for (index, digit) in text.chars().enumerate() {
            let value = digit
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
                .ok_or(InvalidComponentDigest::Digit(index + 1))?;
            bytes[index / 2] = bytes[index / 2] << 4 | value;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for ComponentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for ComponentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ComponentDigest({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of no bytes at all, from FIPS 180-4's examples.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn it_is_what_sha256sum_prints() {
        assert_eq!(ComponentDigest::of(b"").to_string(), EMPTY);
    }

    #[test]
    fn digits_of_either_case_are_the_same_digest() {
        for text in [EMPTY.to_owned(), EMPTY.to_ascii_uppercase()] {
            assert_eq!(text.parse(), Ok(ComponentDigest::of(b"")));
        }
    }

    #[test]
    fn what_is_no_digest_is_refused_with_the_place() {
        let parse = |text: &str| text.parse::<ComponentDigest>().expect_err("none");
        assert_eq!(parse(""), InvalidComponentDigest::Length(0));
        assert_eq!(parse(&EMPTY[1..]), InvalidComponentDigest::Length(63));
        let longer = format!("{EMPTY}0");
        assert_eq!(parse(&longer), InvalidComponentDigest::Length(65));
        let foreign = format!("{}ü{}", &EMPTY[..9], &EMPTY[10..]);
        assert_eq!(parse(&foreign), InvalidComponentDigest::Digit(10));
    }
}
