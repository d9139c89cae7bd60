//! What Go's `oauth2.ReuseTokenSource` does for a token that is still good: takes a mutex, looks at the clock, and shares the token.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// Go's package refreshes this long before the expiry.
const EARLY: Duration = Duration::from_secs(10);

/// A token and its expiry behind a mutex.
pub(crate) struct ReuseTokenSource(Mutex<Arc<Token>>);

pub(crate) struct Token {
    #[expect(dead_code, reason = "what a caller would send")]
    access_token: String,
    expiry: SystemTime,
}

impl ReuseTokenSource {
    /// Keeps a token.
    pub(crate) fn new(access_token: String, expiry: SystemTime) -> Self {
        let token = Token {
            access_token,
            expiry,
        };
        Self(Mutex::new(Arc::new(token)))
    }

    /// Returns the token while it is good.
    pub(crate) fn token(&self) -> Option<Arc<Token>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (SystemTime::now() + EARLY < kept.expiry).then(|| Arc::clone(&kept))
    }
}
