//! The session as it stands in the store, read without the plugin's own code.

use memchr::memmem;

/// The text of a session; empty where there is none. A field is looked for by its name: a token's value cannot contain one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'s>(pub(crate) &'s str);

impl<'s> Shown<'s> {
    fn after(self, name: &str) -> Option<&'s str> {
        let at = memmem::find(self.0.as_bytes(), name.as_bytes())?;
        self.0.get(at + name.len()..)
    }

    fn number(self, name: &str) -> Option<u64> {
        let rest = self.after(name)?;
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        rest[..end].parse().ok()
    }

    fn text(self, name: &str) -> Option<&'s str> {
        Some(self.after(name)?.split_once('"')?.0)
    }

    /// Whether an intent names what is spent, in these words.
    pub(crate) fn intends(self, spends: &str) -> bool {
        let intent = self.after("\"intent\":{\"spends\":");
        intent.is_some_and(|intent| intent.starts_with(spends))
    }

    /// Returns the digest of the refresh token that is latched as dead.
    pub(crate) fn refused_token(self) -> Option<&'s str> {
        self.text("\"verdict\":{\"about\":\"refresh-token:")
    }

    pub(crate) fn access_token(self) -> Option<&'s str> {
        self.text("\"tokens\":{\"access_token\":\"")
    }

    pub(crate) fn refresh_at(self) -> Option<u64> {
        self.number("\"refresh_at\":")
    }

    pub(crate) fn expires_at(self) -> Option<u64> {
        self.number("\"expires_at\":")
    }

    /// Returns the end of the backoff.
    pub(crate) fn not_before(self) -> Option<u64> {
        self.number("\"not_before\":")
    }

    pub(crate) fn is_rejected(self) -> bool {
        self.0.contains("\"rejected\":true")
    }

    /// Whether it says that people were told that calls do not work.
    pub(crate) fn is_told_dark(self) -> bool {
        self.0.contains("\"dark\":true")
    }
}
