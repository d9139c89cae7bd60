//! The files of a script that came before: found, and taken over where that is asked for.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::adoption;
use super::super::env_file::EnvFile;
use super::super::exit::Exit;
use super::super::failure::{Explained, Failure};
use super::Arguments;
use super::ask::{Asker, Choice, Question};
use super::others;
use super::questions::GrantKind;

/// Where scripts keep their tokens, in the working directory.
const TOKENS: [&str; 2] = [".credentials/procore_token.json", "procore_token.json"];

/// Where scripts keep their settings.
const SETTINGS: [&str; 2] = [".credentials/procore.env", "procore.env"];

/// The most bytes of a token file that are looked at.
const LARGEST: u64 = 64 * 1024;

/// A script's files, as far as there are any.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    token: Option<PathBuf>,
    env: Option<PathBuf>,
    /// Whether a flag has named them.
    are_named: bool,
}

/// What becomes of a script's files.
#[derive(Debug, Default)]
pub(super) struct Adoption {
    /// The file with the tokens to take over.
    pub(super) token: Option<PathBuf>,
    /// The file with the settings.
    pub(super) env: Option<PathBuf>,
    /// What the settings say.
    pub(super) settings: EnvFile,
    /// The file that is kept fresh from now on.
    pub(super) export: Option<PathBuf>,
}

#[derive(Clone, Copy)]
enum Wish {
    KeepFresh,
    LeaveFiles,
    Nothing,
}

impl Adoption {
    /// Takes over nothing. A file may be kept fresh all the same.
    pub(super) fn of_nothing(arguments: &Arguments) -> Self {
        Self {
            export: arguments.export.as_deref().map(absolute),
            ..Self::default()
        }
    }
}

impl Scripts {
    /// Looks for the files that flags name, or else in the working directory. A file without a refresh token, such as an exported
    /// one, is nothing to take over there.
    pub(super) fn find(arguments: &Arguments) -> Self {
        if arguments.no_adopt {
            return Self::default();
        }
        if arguments.token.is_some() || arguments.env.is_some() {
            return Self {
                token: arguments.token.clone(),
                env: arguments.env.clone(),
                are_named: true,
            };
        }
        let first = |paths: [&str; 2], fits: fn(&Path) -> bool| {
            let mut paths = paths.into_iter().map(PathBuf::from);
            paths.find(|path| fits(path))
        };
        // A service account gets its own tokens.
        let has_tokens = arguments.grant != Some(GrantKind::ClientCredentials);
        Self {
            token: first(TOKENS, has_refresh_token).filter(|_| has_tokens),
            env: first(SETTINGS, Path::is_file),
            are_named: false,
        }
    }

    /// Asks what becomes of them. Named ones are taken over.
    pub(super) async fn adoption(
        self,
        asker: &Asker<'_>,
        arguments: &Arguments,
    ) -> Result<Adoption, Failure> {
        let export = arguments.export.as_deref().map(absolute);
        let wish = match (&self.token, &self.env) {
            (None, None) => Wish::Nothing,
            _ if self.are_named => Wish::LeaveFiles,
            _ => self.ask(asker).await?,
        };
        if matches!(wish, Wish::Nothing) {
            return Ok(Adoption::of_nothing(arguments));
        }
        if let Some(token) = &self.token {
            check_token(token)?;
        }
        let kept = self
            .token
            .as_deref()
            .filter(|_| matches!(wish, Wish::KeepFresh));
        Ok(Adoption {
            export: export.or_else(|| kept.map(absolute)),
            settings: self
                .env
                .as_deref()
                .map_or(Ok(EnvFile::default()), settings)?,
            token: self.token,
            env: self.env,
        })
    }

    async fn ask(&self, asker: &Asker<'_>) -> Result<Wish, Failure> {
        let paths: Vec<String> = [&self.token, &self.env]
            .into_iter()
            .flatten()
            .map(|path| path.display().to_string())
            .collect();
        let others = if asker.is_attended() {
            others::seen()
        } else {
            Vec::new()
        };
        let seen = match others.as_slice() {
            [] => "look for cron jobs and keepalive scripts".to_owned(),
            others => format!("these look like some: {}", others.join("; ")),
        };
        let question = Question {
            what: "Take over an existing script",
            help: &format!(
                "Here lie {}. Taking them over spends nothing. A refresh token works once: stop every other program that refreshes this \
                 one ({seen}).",
                paths.join(" and ")
            ),
            flag: "--token FILE and --env FILE to take them over, or --no-adopt",
        };
        let mut choices = vec![
            Choice {
                value: Wish::LeaveFiles,
                label: "take them over, and leave the files as they are".to_owned(),
            },
            Choice {
                value: Wish::Nothing,
                label: "do not use them".to_owned(),
            },
        ];
        if self.token.is_some() {
            let label = "take them over, and keep the token file fresh for scripts that read it";
            let keep = Choice {
                value: Wish::KeepFresh,
                label: label.to_owned(),
            };
            choices.insert(1, keep);
        }
        asker.choose(&question, choices, 0).await
    }
}

/// Whether this is a file with a refresh token that could be spent. What is no file is not opened: a pipe would wait for its other end.
pub(super) fn has_refresh_token(path: &Path) -> bool {
    let mut text = Vec::new();
    if path.is_file()
        && let Ok(file) = File::open(path)
    {
        // What cannot be read to the end is no JSON.
        let _ = file.take(LARGEST).read_to_end(&mut text);
    }
    let value = serde_json::from_slice::<Value>(&text).unwrap_or_default();
    value.get("refresh_token").is_some_and(Value::is_string)
}

/// Finds out before anything else is asked whether the file can be taken over.
fn check_token(path: &Path) -> Result<(), Failure> {
    let text = adoption::read(path)?;
    let value = serde_json::from_slice::<Value>(&text).unwrap_or_default();
    if value.get("access_token").is_some_and(Value::is_string) {
        return Ok(());
    }
    Err(Explained::new(
        Exit::Refused,
        "not-a-token-reply",
        format!("{} holds no tokens that can be taken over.", path.display()),
        "Name the file with the JSON that the token endpoint sent, or pass --no-adopt to sign in anew.",
    )
    .into())
}

pub(super) fn settings(path: &Path) -> Result<EnvFile, Failure> {
    let text = adoption::read(path)?;
    let text = String::from_utf8_lossy(&text);
    EnvFile::parse(&text).map_err(|unknown| adoption::unknown_value(path, &unknown))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::has_refresh_token;

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("folder");
        let pipe = folder.path().join("procore_token.json");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("made");
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(has_refresh_token(&pipe)));
        let looked = receiver.recv_timeout(std::time::Duration::from_secs(10));
        assert!(!looked.expect("no waiting"));
    }

    #[test]
    fn a_file_has_one_by_its_field() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("t.json");
        for (text, has_one) in [
            (r#"{"refresh_token":"r"}"#, true),
            (r#"{"refresh_token":null}"#, false),
            ("{", false),
        ] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(has_refresh_token(&path), has_one, "{text}");
        }
    }
}
