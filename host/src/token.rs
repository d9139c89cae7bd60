//! Access tokens.

use std::{fmt, sync::Arc};

use crossbeam_utils::CachePadded;

use crate::{Secret, bindings::exports::procore::auth::auth as contract};

/// An access token with its times. Cloning it copies no secret: all clones share one.
///
/// Times are milliseconds since 1970-01-01T00:00:00Z, by the connection's clock.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(
    // Two reference counts, so that each thread can have one of its own; padded, so that no two share a cache line.
    Arc<CachePadded<Arc<Content>>>,
);

#[derive(PartialEq, Eq)]
struct Content {
    bearer: Secret,
    refresh_at: u64,
    expires_at: u64,
    acts_as_fallback: bool,
}

impl AccessToken {
    pub(crate) fn new(bearer: Secret, refresh_at: u64, expires_at: u64) -> Self {
        Self::of(Arc::new(Content {
            bearer,
            refresh_at,
            expires_at,
            acts_as_fallback: false,
        }))
    }

    fn of(content: Arc<Content>) -> Self {
        Self(Arc::new(CachePadded::new(content)))
    }

    /// Returns the same token with a reference count of its own: cloning it and cloning this one write to no common memory.
    pub(crate) fn with_own_refcount(&self) -> Self {
        Self::of(Arc::clone(&self.0))
    }

    /// Returns the same token, marked as one of a fallback.
    pub(crate) fn of_fallback(&self) -> Self {
        let content = self.content();
        Self::of(Arc::new(Content {
            bearer: content.bearer.clone(),
            refresh_at: content.refresh_at,
            expires_at: content.expires_at,
            acts_as_fallback: true,
        }))
    }

    fn content(&self) -> &Content {
        &self.0
    }

    /// Returns the value for `Authorization: Bearer`: opaque, possibly longer than 1 kB.
    pub fn bearer(&self) -> &Secret {
        &self.content().bearer
    }

    /// Returns the moment from which on one should ask again. It has passed already where a refresh is overdue and the token
    /// still lives.
    pub fn refresh_at(&self) -> u64 {
        self.content().refresh_at
    }

    /// Returns the moment at which the server stops accepting the token.
    pub fn expires_at(&self) -> u64 {
        self.content().expires_at
    }

    /// Returns whether it acts as the service account of [`crate::ConnectionBuilder::fallback`], and not as the user: other
    /// permissions, and another name in Procore's records.
    pub fn acts_as_fallback(&self) -> bool {
        self.content().acts_as_fallback
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("bearer", &self.content().bearer)
            .field("refresh_at", &self.content().refresh_at)
            .field("expires_at", &self.content().expires_at)
            .field("acts_as_fallback", &self.content().acts_as_fallback)
            .finish()
    }
}

impl From<contract::Token> for AccessToken {
    fn from(token: contract::Token) -> Self {
        Self::new(
            Secret::new(token.bearer),
            token.refresh_at,
            token.expires_at,
        )
    }
}
