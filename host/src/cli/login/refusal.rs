//! Why nobody was signed in, where that is not Procore's doing.

use crate::cli::exit::Exit;
use crate::cli::failure::{Explained, Failure};
use crate::cli::open::Open;

pub(super) fn nothing_to_begin(open: &Open) -> Failure {
    Explained::new(
        Exit::Refused,
        "nothing-to-begin",
        format!(
            "{} is a service account: nobody signs in, so there is nothing to begin.",
            open.name
        ),
        format!(
            "Run `procore-auth login --connection {}` without --begin, or ask for a token directly: `procore-auth token`.",
            open.name
        ),
    )
    .into()
}

pub(super) fn unattended() -> Failure {
    Explained::new(
        Exit::SignInRequired,
        "no-terminal",
        "Signing in needs a person, and there is no terminal.",
        "Run `procore-auth login` in a terminal. Without one: `--begin` prints the link and `--finish` takes the answer, \
         `--code-from -` reads the answer from a pipe, `--no-browser` waits for the callback.",
    )
    .into()
}

pub(super) fn timed_out() -> Failure {
    Explained::new(
        Exit::SignInRequired,
        "login-timeout",
        "Nobody signed in in time.",
        "Run `procore-auth login` again. Whoever signs in by the old link after all, within an hour of its making, pastes the answer to \
         `procore-auth login --finish`.",
    )
    .into()
}

/// Whether the answer belongs to another sign-in: an older tab, or a page that tries its luck. The right one may still come.
pub(super) fn is_not_ours(failure: &Failure) -> bool {
    matches!(failure, Failure::Explained(explained)
        if ["state-mismatch", "state-missing", "no-code"].contains(&explained.code.as_str()))
}

/// Says what to do about an answer that was not ours, while the wait for the right one goes on.
pub(super) fn not_ours(failure: Failure) -> Failure {
    Explained {
        remedy: "Use the newest link; the terminal still waits for its answer.".to_owned(),
        ..*failure.explained()
    }
    .into()
}

pub(super) fn no_answer() -> Failure {
    Explained::new(
        Exit::Refused,
        "no-answer",
        "The input ended without an answer.",
        "Give the address that the browser ended on, or the code that Procore showed, on a line of its own.",
    )
    .into()
}

pub(super) fn interrupted() -> Failure {
    Explained::new(
        Exit::Interrupted,
        "interrupted",
        "Stopped before anybody signed in.",
        "Run `procore-auth login` again.",
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::{is_not_ours, not_ours};
    use crate::cli::exit::Exit;
    use crate::cli::failure::Explained;

    #[test]
    fn only_a_foreign_state_lets_the_wait_go_on() {
        for code in ["state-mismatch", "state-missing", "no-code"] {
            assert!(is_not_ours(
                &Explained::new(Exit::Refused, code, "", "").into()
            ));
        }
        let denied = Explained::new(Exit::Refused, "access_denied", "", "");
        assert!(!is_not_ours(&denied.into()));
    }

    #[test]
    fn nobody_is_told_to_begin_again_while_the_wait_goes_on() {
        let again = "Run `procore-auth login` again.";
        let foreign = Explained::new(Exit::Refused, "state-mismatch", "Not ours.", again);
        let told = *not_ours(foreign.into()).explained();
        assert_eq!(told.summary, "Not ours.");
        assert!(!told.remedy.contains("again"), "{}", told.remedy);
    }
}
