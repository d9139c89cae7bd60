//! The credential pair, asked of the login host before anything is written: a wrong one is told while it can be corrected, and leaves no
//! connection behind. Nothing is spent by it.

use procore_auth_host::{Environment, Settings};

use super::super::config_edit::SecretPlace;
use super::super::credential_probe::{self, Known, Stranger};
use super::super::exit::Exit;
use super::super::failure::{Explained, Failure};
use super::super::open::Opener;
use super::super::report;
use super::questions::Questions;

/// Why a pair will not do.
pub(super) struct Refusal {
    pub(super) explained: Explained,
    /// The environment that it is of.
    pub(super) of: Option<Environment>,
}

/// Returns the answers with a pair that the login host knows. Where it does not, a person is asked again, and a program is refused.
pub(super) async fn agreed(
    questions: &Questions<'_>,
    opener: &Opener,
    (mut settings, place): (Settings, SecretPlace),
) -> Result<(Settings, SecretPlace), Failure> {
    while let Some(refusal) = refused(opener, &settings).await {
        if !questions.asker.is_attended() {
            return Err(refusal.explained.into());
        }
        let told = report::text(&refusal.explained);
        questions.context.terminal.note(format_args!("\n{told}"));
        let first = refusal.of.unwrap_or(settings.environment);
        questions.pair_again(&mut settings, &place, first).await?;
    }
    Ok((settings, place))
}

/// Asks the login host; `None` where it knows the pair, or cannot be asked.
pub(super) async fn refused(opener: &Opener, settings: &Settings) -> Option<Refusal> {
    match credential_probe::ask(opener, settings).await {
        Ok(Known::NotHere(stranger)) => Some(Refusal::of(settings.environment, stranger)),
        Ok(Known::Here | Known::HereWithoutCodes) => None,
        Ok(Known::Unclear(why)) => {
            tracing::info!(%why, "the credential pair was not checked");
            None
        }
        Err(error) => {
            tracing::info!(%error, "the credential pair was not checked");
            None
        }
    }
}

impl Refusal {
    fn of(own: Environment, stranger: Stranger) -> Self {
        let mut explained = match stranger.of {
            Some(other) => wrong_environment(own, other),
            None => report::explain(Exit::Refused, &stranger.refused),
        };
        explained.evidence = stranger.evidence;
        explained.evidence.push("nothing was written".to_owned());
        Self {
            explained,
            of: stranger.of,
        }
    }
}

fn wrong_environment(own: Environment, other: Environment) -> Explained {
    let (own, other) = (own.as_str(), other.as_str());
    Explained::new(
        Exit::Refused,
        "wrong-environment",
        format!("The client id and secret are those of {other}, and not of {own}."),
        format!(
            "Choose {other} (--environment {other}), or take the pair of {own} from the app's page in the developer portal."
        ),
    )
    .because("Each environment has a credential pair of its own.")
}
