//! Replies that are too large for the plugin.

use async_trait::async_trait;
use procore_auth_host::{HttpClient, HttpFailure, HttpsClient, Limits, RequestLimits};

/// How many bytes a padded reply has.
const SIZE: usize = 24 << 20;

/// Lets the server answer as it does, and puts more blanks behind that than a plugin within [`Padding::limits`] has memory for: it
/// traps between the reply and whatever it would do next.
pub struct Padding {
    /// What talks to the server.
    pub http: HttpsClient,
    /// How the paths begin whose replies are padded.
    pub under: &'static str,
}

impl Padding {
    /// Returns limits that let such a reply into the host and not into the plugin. They hold where little may be parked, since
    /// memory for that is always granted.
    pub fn limits() -> Limits {
        let mut limits = Limits::default();
        limits.memory = 2 << 20;
        limits.reply_size = 32 << 20;
        limits
    }
}

#[async_trait]
impl HttpClient for Padding {
    async fn send(
        &self,
        request: http::Request<Vec<u8>>,
        limits: RequestLimits,
    ) -> Result<http::Response<Vec<u8>>, HttpFailure> {
        let padded = request.uri().path().starts_with(self.under);
        let mut reply = self.http.send(request, limits).await?;
        if padded {
            reply.body_mut().resize(SIZE, b' ');
        }
        Ok(reply)
    }
}
