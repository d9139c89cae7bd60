//! Calls as a service account while the user grant of a connection is dead.
//!
//! One plugin instance serves one connection, so a fallback is a connection of its own, with tokens and a store of its own; the
//! host decides which of the two serves. It does so only where an embedder gave a fallback, only where a user grant has died, and
//! never silently: every event of the fallback names the connection that it stands in for, its beginning is an alert, its end is
//! told, and what it gave says so ([`AccessToken::acts_as_fallback`], [`crate::ApiResponse::acts_as_fallback`]).

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    AccessToken, ApiRequest, Connection, Error, Grant, Health, Key, Outcome, Secret, Settings,
    Severity, Write, time::rfc3339,
};

/// The entry in the fallback's store that is there while it is in use: all processes tell of it once.
const MARK: &str = "fallback-in-use";

/// A connection cannot be the fallback of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnfitFallback {
    /// The connection that it is for has no user grant that could die.
    #[error("only a connection with the grant authorization-code has a fallback")]
    NoUserGrant,
    /// It is no service account: somebody would have to sign in.
    #[error("a fallback has the grant client-credentials")]
    NotClientCredentials,
    /// Calls would reach other data.
    #[error("a fallback is of the same environment")]
    OtherEnvironment,
    /// Its events could not say for which connection they are.
    #[error("a connection is the fallback of one other only")]
    Taken,
}

/// Whether an error is what a fallback is for: a user grant has died. Where nobody ever signed in, or somebody signed out, there is
/// no user to stand in for.
pub(crate) fn is_called_for(error: &Error) -> bool {
    error.is_sign_in_required() && error.code() != "not-signed-in"
}

/// The service account that stands in.
pub(crate) struct Fallback {
    connection: Connection,
    /// Whether this process knows that it was told.
    told: AtomicBool,
}

impl Fallback {
    pub(crate) fn new(connection: Connection, of: &Settings) -> Result<Self, UnfitFallback> {
        let own = connection.settings();
        if of.grant == Grant::ClientCredentials {
            return Err(UnfitFallback::NoUserGrant);
        }
        if own.grant != Grant::ClientCredentials {
            return Err(UnfitFallback::NotClientCredentials);
        }
        if own.environment != of.environment {
            return Err(UnfitFallback::OtherEnvironment);
        }
        if !connection.lent().recorder.stand_in_for(&of.name) {
            return Err(UnfitFallback::Taken);
        }
        Ok(Self {
            connection,
            told: AtomicBool::new(false),
        })
    }

    /// Gets a token of the service account, instead of a rejected one where there is one; `dead` is why the user grant gave none,
    /// and stays the answer where the service account gives none either.
    pub(crate) async fn token(
        &self,
        rejected: Option<&Secret>,
        dead: Error,
    ) -> Result<AccessToken, Error> {
        // Where the user's token was rejected, the service account's is another and is not renewed.
        let token = match rejected {
            None => self.connection.access_token().await,
            Some(rejected) => self.connection.renew_rejected(rejected).await,
        };
        match token {
            Ok(token) => {
                self.begin(&dead).await;
                Ok(token.of_fallback())
            }
            Err(_) => Err(dead),
        }
    }

    /// Sends a request as the service account. It is never parked there, since a person would wait for it elsewhere: `None` where
    /// it was not executed.
    pub(crate) async fn send(
        &self,
        mut request: ApiRequest,
        dead: &Error,
    ) -> Option<Result<Outcome, Error>> {
        request.park = false;
        match self.connection.send(request).await {
            Ok(Outcome::Answered(mut response)) => {
                self.begin(dead).await;
                response.acts_as_fallback = true;
                Some(Ok(Outcome::Answered(response)))
            }
            Ok(parked) => Some(Ok(parked)),
            Err(error) if is_unexecuted(&error) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Tells, once for all processes, that the service account stands in.
    async fn begin(&self, dead: &Error) {
        if self.told.swap(true, Ordering::Relaxed) {
            return;
        }
        let lent = self.connection.lent();
        let since = rfc3339(lent.clock.now());
        let is_news = match Key::new(MARK) {
            // Who wrote it tells. Where nobody can write, everybody does: better twice than never.
            Ok(key) => !matches!(
                lent.store.put(&key, since.as_bytes(), None).await,
                Ok(Write::Conflict(_))
            ),
            Err(_) => true,
        };
        if is_news {
            let diagnosis = dead.diagnosis();
            lent.recorder.record(
                Severity::Alert,
                "fallback-in-use",
                "Calls are made as the service account: the user grant is dead.",
                vec![
                    ("cause".to_owned(), diagnosis.summary.clone()),
                    ("remedy".to_owned(), diagnosis.remedy.clone()),
                ],
            );
        }
    }

    /// Tells, once for all processes, that the user grant is back, or that somebody signed out.
    pub(crate) async fn end(&self) {
        self.told.store(false, Ordering::Relaxed);
        let lent = self.connection.lent();
        let Ok(key) = Key::new(MARK) else { return };
        // Where the mark cannot be read or deleted, the next one tries.
        if let Ok(Some(mark)) = lent.store.get(&key).await
            && let Ok(Write::Stored(_)) = lent.store.delete(&key, mark.revision).await
        {
            lent.recorder.record(
                Severity::Info,
                "fallback-ended",
                "Calls are no longer made as the service account.",
                Vec::new(),
            );
        }
    }

    /// Returns whether calls were made as the service account since the user grant died, and nothing is known to keep them from it.
    pub(crate) async fn is_in_use(&self) -> bool {
        let Ok(key) = Key::new(MARK) else {
            return false;
        };
        let mark = self.connection.lent().store.get(&key).await;
        if !mark.is_ok_and(|mark| mark.is_some()) {
            return false;
        }
        let status = Box::pin(self.connection.status()).await;
        status.is_ok_and(|status| status.health <= Health::AtRisk)
    }
}
/// Whether the error says that the request was not executed. What the plugin was stopped at, or could not store, may have been.
fn is_unexecuted(error: &Error) -> bool {
    error.is_sign_in_required()
        || error.is_configuration()
        || error.is_unavailable()
        || error.is_busy()
}
