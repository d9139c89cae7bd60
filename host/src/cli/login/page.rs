//! What the browser shows of a sign-in.

use axum::http::StatusCode;

use super::SignedIn;
use crate::cli::callback_page::{CURE, Page};
use crate::cli::failure::Failure;
use crate::cli::open::Open;

/// Says who signed in, and where.
pub(super) fn signed_in(open: &Open, signed_in: &SignedIn) -> Page {
    let SignedIn { identity, company } = signed_in;
    let name = if identity.name.is_empty() {
        &identity.login
    } else {
        &identity.name
    };
    Page::good(
        "Signed in to Procore",
        "You can close this tab and go back to the terminal.",
    )
    .fact("Signed in as", name)
    .fact(
        "Account",
        format!("{} (user {})", identity.login, identity.id),
    )
    .fact(
        "Company",
        company
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    )
    .fact("Environment", open.environment.as_str())
    .fact("Connection", open.name.as_str())
}

/// Explains what went wrong, with its cure.
pub(super) fn failed(failure: &Failure) -> Page {
    let title = "The sign-in did not work";
    match failure {
        Failure::Explained(explained) => {
            Page::bad(StatusCode::BAD_REQUEST, title, explained.summary.as_str())
                .section("Why", explained.cause.as_str())
                .section(CURE, explained.remedy.as_str())
                .section("Code", format!("`{}`", explained.code))
        }
        Failure::BrokenPipe => Page::bad(StatusCode::INTERNAL_SERVER_ERROR, title, ""),
    }
}
