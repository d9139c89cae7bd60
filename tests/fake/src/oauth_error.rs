//! The errors of the login host: codes, texts, statuses and headers.

use serde_json::json;

use crate::policy::{Dialect, Policy};
use crate::reply::Reply;

const REALM: &str = "Doorkeeper";

/// An error of OAuth 2.0 (RFC 6749, sections 4.1.2.1 and 5.2), or of Doorkeeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OAuthError {
    MissingParameter(&'static str),
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
    InvalidRedirectUri,
    InvalidCodeChallengeMethod,
    AccessDenied,
    /// A revocation that names no client, or another's token.
    RevocationRefused,
}

impl OAuthError {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::MissingParameter(_) => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient | Self::RevocationRefused => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidCodeChallengeMethod => "invalid_code_challenge_method",
            Self::AccessDenied => "access_denied",
        }
    }

    pub(crate) fn description(self, dialect: Dialect) -> String {
        let text = match (self, dialect) {
            (Self::MissingParameter(name), Dialect::Current) => {
                return format!("Missing required parameter: {name}.");
            }
            (Self::MissingParameter(_), _) => {
                "The request is missing a required parameter, includes an unsupported parameter value, or is otherwise malformed."
            }
            (Self::InvalidClient, Dialect::Current) => {
                "Client authentication failed due to unknown client, no client authentication included, or unsupported \
                 authentication method."
            }
            (Self::InvalidClient, Dialect::Old) => "Client authentication failed.",
            (Self::InvalidGrant, Dialect::Current) => {
                "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the \
                 authorization request, or was issued to another client."
            }
            (Self::InvalidGrant, Dialect::Old) => {
                "The provided authorization grant is invalid, expired, or revoked."
            }
            (Self::UnauthorizedClient, _) => {
                "The client is not authorized to perform this request using this method."
            }
            (Self::UnsupportedGrantType, _) => {
                "The authorization grant type is not supported by the authorization server."
            }
            (Self::UnsupportedResponseType, _) => {
                "The authorization server does not support this response type."
            }
            (Self::InvalidRedirectUri, Dialect::Current) => {
                "The requested redirect uri is malformed or doesn't match client redirect URI."
            }
            (Self::InvalidRedirectUri, Dialect::Old) => "The redirect uri included is not valid.",
            (Self::InvalidCodeChallengeMethod, _) => "The code_challenge_method must be S256.",
            (Self::AccessDenied, _) => {
                "The resource owner or authorization server denied the request."
            }
            (Self::RevocationRefused, _) => "You are not authorized to revoke this token",
        };
        text.to_owned()
    }

    pub(crate) fn status(self, policy: &Policy) -> u16 {
        match self {
            Self::InvalidClient | Self::UnauthorizedClient => 401,
            Self::InvalidGrant => policy.invalid_grant_status,
            Self::RevocationRefused => 403,
            _ => 400,
        }
    }

    /// Returns the reply of the token and revocation endpoints.
    pub(crate) fn reply(self, policy: &Policy) -> Reply {
        let (code, description) = (self.code(), self.description(policy.dialect));
        Reply::json(
            self.status(policy),
            &json!({"error": code, "error_description": description}),
        )
        .header("cache-control", "no-store")
        .header("www-authenticate", challenge(code, &description))
    }

    /// Returns the page that a browser sees.
    pub(crate) fn page(self, policy: &Policy) -> Reply {
        let description = self.description(policy.dialect);
        Reply::html(
            self.status(policy),
            &format!(
                "<html><body><h1>An error has occurred</h1><pre>{description}</pre><p>{}</p></body></html>",
                self.code()
            ),
        )
    }
}

/// Returns the value of `WWW-Authenticate` (RFC 6750, section 3).
pub(crate) fn challenge(code: &str, description: &str) -> String {
    format!(r#"Bearer realm="{REALM}", error="{code}", error_description="{description}""#)
}
