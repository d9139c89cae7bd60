//! The client secret: where it is kept, and what it is. It never stands on the command line; a flag says where it is.

use std::path::{Path, PathBuf};

use procore_auth_host::{ConnectionName, Secret};

use super::super::config_edit::SecretPlace;
use super::super::exit::Exit;
use super::super::failure::{Explained, Failure};
use super::super::secret_reference::{
    KeyringEntry, SecretFile, SecretReference, Unreadable, VariableName,
};
use super::super::typed::Input;
use super::ask::{Asker, Choice, Question};
use super::questions::Questions;

/// Where a secret that is typed or piped in is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Keep {
    /// A file of mode 600 next to the configuration
    File,
    /// The operating system's keyring
    Keyring,
}

/// What is chosen of the places.
#[derive(Clone, Copy)]
enum Kept {
    Here(Keep),
    Variable,
}

/// Returns the secret, and where it goes.
pub(super) async fn ask(
    questions: &Questions<'_>,
    name: &ConnectionName,
) -> Result<(Secret, SecretPlace), Failure> {
    let arguments = questions.arguments;
    match arguments.client_secret.as_deref() {
        Some("-") => {
            let secret = piped()?;
            Ok((
                secret,
                place(arguments.secret_in.unwrap_or(Keep::File), name)?,
            ))
        }
        Some(reference) => referred(reference),
        None => typed(questions, name).await,
    }
}

async fn typed(
    questions: &Questions<'_>,
    name: &ConnectionName,
) -> Result<(Secret, SecretPlace), Failure> {
    let said = questions.script.client_secret.clone();
    let kept = match (questions.arguments.secret_in, &said) {
        (Some(keep), _) => Kept::Here(keep),
        (None, Some(_)) if !questions.asker.is_attended() => Kept::Here(Keep::File),
        (None, _) => where_kept(questions, name).await?,
    };
    let keep = match kept {
        Kept::Here(keep) => keep,
        Kept::Variable => return variable(questions).await,
    };
    let place = place(keep, name)?;
    if let Some(said) = said {
        return Ok((said, place));
    }
    Ok((questions.asker.secret(&QUESTION, None).await?, place))
}

/// Asks for another secret. Enter alone answers with the one there is.
pub(super) async fn again(asker: &Asker<'_>, known: &Secret) -> Result<Secret, Failure> {
    let question = Question {
        help: "Enter alone takes the same again. Nothing is shown while you type or paste; Ctrl-U clears it.",
        ..QUESTION
    };
    asker.secret(&question, Some(known)).await
}

const QUESTION: Question<'static> = Question {
    what: "Client secret",
    help: "On the app's page, next to the client id. Nothing is shown while you type or paste; Ctrl-U clears it.",
    flag: FLAG,
};

const FLAG: &str =
    "--client-secret with env:NAME, file:PATH, keyring:NAME, or - for standard input";

async fn where_kept(questions: &Questions<'_>, name: &ConnectionName) -> Result<Kept, Failure> {
    let question = Question {
        what: "Where the client secret is kept",
        help: "The configuration says only where it is. A file works everywhere; the keyring needs a desktop session; a variable must be \
               set for everything that runs procore-auth.",
        flag: FLAG,
    };
    if !questions.asker.is_attended() {
        // The keyring need not be looked for.
        questions.asker.begin(&question)?;
    }
    let mut choices = vec![Choice {
        value: Kept::Here(Keep::File),
        label: format!("a file {name}.secret next to the configuration, for this account alone"),
    }];
    if keyring_works(name).await {
        choices.push(Choice {
            value: Kept::Here(Keep::Keyring),
            label: "the keyring of this desktop".to_owned(),
        });
    }
    choices.push(Choice {
        value: Kept::Variable,
        label: "an environment variable, which is set already".to_owned(),
    });
    questions.asker.choose(&question, choices, 0).await
}

/// Whether there is a keyring that answers.
async fn keyring_works(name: &ConnectionName) -> bool {
    let Ok(entry) = KeyringEntry::parse(name.to_string()) else {
        return false;
    };
    let exists = tokio::task::spawn_blocking(move || entry.exists().is_ok());
    exists.await.unwrap_or(false)
}

async fn variable(questions: &Questions<'_>) -> Result<(Secret, SecretPlace), Failure> {
    let question = Question {
        what: "Variable with the client secret",
        help: "Its name, not the secret. It is read now, and by every process later on.",
        flag: "--client-secret env:NAME",
    };
    let check = |answer: &str| {
        let name = VariableName::parse(answer.to_owned());
        let read = name.and_then(|name| name.read());
        read.map(|_| ())
            .map_err(|e| format!("{}: {}", e.message, e.cure))
    };
    let default = Some("PROCORE_CLIENT_SECRET".to_owned());
    let name = questions.asker.line(&question, default, check).await?;
    referred(&format!("env:{name}"))
}

fn place(keep: Keep, name: &ConnectionName) -> Result<SecretPlace, Failure> {
    Ok(match keep {
        Keep::File => SecretPlace::NextToIt,
        Keep::Keyring => {
            SecretPlace::Keyring(KeyringEntry::parse(name.to_string()).map_err(refused)?)
        }
    })
}

/// Reads `env:NAME`, `file:PATH` or `keyring:NAME`. A refusal does not repeat it: it may be the secret.
fn referred(reference: &str) -> Result<(Secret, SecretPlace), Failure> {
    let (reference, written) = parse(reference)?;
    let secret = reference.read().map_err(refused)?;
    Ok((secret, SecretPlace::There(written)))
}

/// Returns the reference, and how the configuration words it.
pub(super) fn parse(reference: &str) -> Result<(SecretReference, String), Failure> {
    Ok(match reference.split_once(':') {
        Some(("env", name)) => {
            let parsed = VariableName::parse(name.to_owned()).map_err(refused)?;
            (
                SecretReference::Env(parsed),
                format!("{{ env = {} }}", quoted(name)),
            )
        }
        Some(("file", path)) => {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
            let text = absolute.to_string_lossy().into_owned();
            let file = SecretFile::new(absolute, path);
            (
                SecretReference::File(file),
                format!("{{ file = {} }}", quoted(&text)),
            )
        }
        Some(("keyring", name)) => {
            let entry = KeyringEntry::parse(name.to_owned()).map_err(refused)?;
            (
                SecretReference::Keyring(entry, None),
                format!("{{ keyring = {} }}", quoted(name)),
            )
        }
        _ => return Err(no_reference()),
    })
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

pub(super) fn piped() -> Result<Secret, Failure> {
    let text = Input::from_argument(Path::new("-")).read_all()?;
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    if text.is_empty() {
        let summary = "Standard input holds no secret.";
        let remedy = "Pipe it in: `procore-auth init --client-secret - < FILE`.";
        return Err(Explained::new(Exit::Refused, "no-secret", summary, remedy).into());
    }
    Ok(Secret::new(text))
}

fn refused(Unreadable { message, cure }: Unreadable) -> Failure {
    Explained::new(
        Exit::Refused,
        "secret-unreadable",
        format!("The client secret: {message}."),
        cure,
    )
    .into()
}

fn no_reference() -> Failure {
    Explained::new(
        Exit::Refused,
        "secret-in-arguments",
        "--client-secret does not say where the secret is.",
        "Give env:NAME, file:PATH, keyring:NAME, or - for standard input. If it was the secret itself: every process of this machine \
         can read command lines, and the shell keeps them; make a new one in the developer portal.",
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::referred;

    #[test]
    fn a_secret_in_place_of_a_reference_is_refused_and_not_repeated() {
        for secret in [
            "hunter2",
            "hunter2:x",
            "env:hunter 2",
            "keyring:hunter 2",
            "file:hunter2",
        ] {
            let refused = referred(secret).expect_err("no reference").explained();
            assert!(!format!("{refused:?}").contains("hunter"), "{refused:?}");
        }
    }
}
