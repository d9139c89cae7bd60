//! The exit code that stands for a diagnosis of the plugin's: the one with which the other verbs end where they meet it.
//!
//! A diagnosis does not say who can cure it; an error does, and a finding is mostly not one. So the codes are listed, and the tests hold
//! the list against the plugin's sources.

use crate::cli::exit::Exit;

/// Returns the exit code for a diagnosis with this code. The set is open: what a server says that nobody knows is about the configuration,
/// as in the plugin.
pub(super) fn exit_of(code: &str) -> Exit {
    listed(code).unwrap_or(Exit::Configuration)
}

fn listed(code: &str) -> Option<Exit> {
    Some(match code {
        // The argument: what was typed, pasted or named.
        "access_denied" | "already-signed-in" | "code-already-used" | "invalid-request"
        | "no-code" | "no-pending-login" | "no-such-request" | "not-a-token-reply"
        | "nothing-to-adopt" | "request-unreadable" | "state-mismatch" | "state-missing" => {
            Exit::Refused
        }
        // The configuration, here or at Procore.
        "app-not-connected"
        | "company-id-missing"
        | "forbidden"
        | "invalid_client"
        | "invalid_redirect_uri"
        | "invalid_request"
        | "invalid_scope"
        | "mixed-environments"
        | "no-sign-in-needed"
        | "no-urls"
        | "not-found"
        | "redirect-uri-mismatch"
        | "redirect-uri-refused"
        | "token-rejected"
        | "unauthorized_client"
        | "unsupported_grant_type"
        | "wrong-environment"
        | "wrong-host" => Exit::Configuration,
        "connection-changed" | "invalid_grant" | "no-refresh-token" | "not-signed-in"
        | "restored-backup" => Exit::SignInRequired,
        // It passes.
        "connect"
        | "connection-closed"
        | "deadline"
        | "dns"
        | "invalid-reply"
        | "no-answer"
        | "parked-full"
        | "proxy"
        | "rate-limited"
        | "refresh-outcome-unknown"
        | "reply-too-large"
        | "server_error"
        | "temporarily_unavailable"
        | "timeout"
        | "tls"
        | "unexpected-html"
        | "unexpected-redirect"
        | "unexpected-reply"
        | "unusable-reply" => Exit::Unavailable,
        "lock-wait" | "parking-contended" | "replayed-elsewhere" | "request-changed" => Exit::Busy,
        "insecure-permissions"
        | "invalid-key"
        | "key-unavailable"
        | "locks-unsupported"
        | "lost-race"
        | "newer-format"
        | "not-encrypted"
        | "permission-denied"
        | "read-only"
        | "session-unreadable"
        | "too-large"
        | "wrong-key" => Exit::Storage,
        "unknown-outcome" => Exit::UnknownOutcome,
        "no-api-host" | "no-progress" => Exit::Internal,
        "replay-unfinished" => Exit::Parked,
        // The next call renews it, and goes on.
        "token-unknown" => Exit::AtRisk,
        _ => return of_status(code.strip_prefix("http-")?.parse().ok()?),
    })
}

/// An answer without an explanation. The API explains those that are no server's trouble and yet not about the request.
fn of_status(status: u16) -> Option<Exit> {
    Some(match status {
        0..400 | 401 | 403 | 404 | 408 | 429 | 500.. => Exit::Unavailable,
        400..500 => Exit::Configuration,
    })
}

#[cfg(test)]
#[allow(dead_code, reason = "the runbook's tests read more of it")]
#[path = "../../../tests/tool/runbook/codes.rs"]
mod codes;

#[cfg(test)]
mod tests {
    use super::codes::Codes;
    use super::{Exit, exit_of, listed};

    #[test]
    fn every_diagnosis_of_the_plugin_is_listed() {
        let codes = Codes::of_the_sources();
        let codes: Vec<_> = codes.diagnoses.iter().collect();
        assert!(codes.len() > 45, "they are found: {codes:?}");
        let unlisted = codes.iter().filter(|code| listed(code).is_none());
        let unlisted: Vec<_> = unlisted.collect();
        assert!(unlisted.is_empty(), "{unlisted:?}");
    }

    /// Where the plugin makes an error of a diagnosis on the spot, its kind says how the other verbs end.
    #[test]
    fn the_exit_code_is_that_of_the_other_verbs() {
        let codes = Codes::of_the_sources();
        assert!(codes.kinds.len() >= 12, "they are found: {:?}", codes.kinds);
        for (code, kind) in &codes.kinds {
            let exit = match kind.as_str() {
                "InvalidInput" => Exit::Refused,
                "Configuration" => Exit::Configuration,
                "SignInRequired" => Exit::SignInRequired,
                "Unavailable" => Exit::Unavailable,
                "Busy" => Exit::Busy,
                "Storage" => Exit::Storage,
                "UnknownOutcome" => Exit::UnknownOutcome,
                "Internal" => Exit::Internal,
                other => panic!("a new kind: {other}"),
            };
            assert_eq!(exit_of(code), exit, "{code}");
        }
    }

    /// Those whose kind stands elsewhere in the plugin, and those that come from a server's status.
    #[test]
    fn who_can_cure_it_is_told_of_the_others_too() {
        for (code, exit) in [
            ("access_denied", Exit::Refused),
            ("invalid_grant", Exit::SignInRequired),
            ("invalid_client", Exit::Configuration),
            ("refresh-outcome-unknown", Exit::Unavailable),
            ("token-unknown", Exit::AtRisk),
            ("http-503", Exit::Unavailable),
            ("http-429", Exit::Unavailable),
            ("http-403", Exit::Unavailable),
            ("http-422", Exit::Configuration),
            ("a_new_error", Exit::Configuration),
        ] {
            assert_eq!(exit_of(code), exit, "{code}");
        }
    }
}
