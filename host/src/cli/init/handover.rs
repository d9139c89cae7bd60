//! The file that is kept fresh for scripts, which may be the one that the script keeps its own tokens in.
//!
//! | step | after a later failure |
//! |---|---|
//! | `export` in the connection's table | taken back |
//! | a script's own tokens are moved aside, to FILE.taken-over | put back |
//! | the access token is written | |

use std::io;
use std::path::{Path, PathBuf};

use same_file::is_same_file;

use super::super::config::ConnectionConfig;
use super::super::config_edit;
use super::super::context::Context;
use super::super::export;
use super::super::failure::Failure;
use super::super::open::{Open, Opener};
use super::super::report;
use super::scripts::{self, Adoption};

/// What stands above `export` in the configuration.
const COMMENT: &str = "Kept fresh for scripts that read it; it has no refresh token.";

/// The file that is kept fresh from now on.
pub(super) struct Handover {
    pub(super) file: PathBuf,
    /// Not where there is no token yet with enough time left.
    pub(super) is_written: bool,
}

/// A script's token file, moved aside.
struct Aside {
    from: PathBuf,
    to: PathBuf,
}

/// Checks, before anything is written, that the file can be replaced.
pub(super) fn check(adoption: &Adoption) -> Result<(), Failure> {
    match &adoption.export {
        None => Ok(()),
        Some(file) if !gives_way(adoption, file) => export::check_place(file),
        Some(file) if file.is_symlink() => Err(export::not_replaced(file, "is a link")),
        Some(_) => Ok(()),
    }
}

/// Has the access token kept in the file that is asked for; `None` where none is. After a failure everything is as before.
pub(super) async fn carry_out(
    context: &Context<'_>,
    opener: &Opener,
    open: &Open,
    adoption: &Adoption,
) -> Result<Option<Handover>, Failure> {
    let Some(file) = &adoption.export else {
        return Ok(None);
    };
    let config = opener.config();
    let written = file.to_string_lossy().into_owned();
    let edit = config_edit::set(config.path(), &open.name, "export", written, COMMENT)?;
    match write(context, opener, open, adoption, file).await {
        Ok(is_written) => {
            let before = config.get(&open.name).and_then(ConnectionConfig::export);
            tell_former(context, before, file);
            let file = file.clone();
            Ok(Some(Handover { file, is_written }))
        }
        Err(failure) => {
            if let Err(kept) = edit.undo() {
                report::failure(&context.terminal, &kept);
            }
            Err(failure)
        }
    }
}

/// Writes the file, and tells whether there was a token for it.
async fn write(
    context: &Context<'_>,
    opener: &Opener,
    open: &Open,
    adoption: &Adoption,
    file: &Path,
) -> Result<bool, Failure> {
    check(adoption)?;
    let aside = gives_way(adoption, file)
        .then(|| Aside::of(file))
        .transpose()?;
    let export = opener.export_of(&open.connection, file.to_owned());
    let written = match export.write().await {
        Ok(written) => written,
        Err(failure) => {
            return Err(match aside {
                Some(aside) => aside.put_back(failure),
                None => failure,
            });
        }
    };
    if let Some(aside) = aside {
        context.terminal.note(format_args!(
            "The script's tokens are in {} now; delete it once nothing needs it.",
            aside.to.display()
        ));
    }
    Ok(written.is_some())
}

/// Whether the file is the one whose tokens are taken over, with a refresh token in it. Files are compared, not their names.
fn gives_way(adoption: &Adoption, file: &Path) -> bool {
    let token = adoption.token.as_deref();
    let is_it = token.is_some_and(|token| is_same_file(token, file).unwrap_or(false));
    is_it && scripts::has_refresh_token(file)
}

fn tell_former(context: &Context<'_>, before: Option<&Path>, now: &Path) {
    if let Some(before) = before.filter(|before| *before != now) {
        context.terminal.note(format_args!(
            "{} is not kept fresh any more: `export` named it until now.",
            before.display()
        ));
    }
}

impl Aside {
    /// Moves a file aside. What is there already is left alone.
    fn of(file: &Path) -> Result<Self, Failure> {
        let mut name = file.as_os_str().to_owned();
        name.push(".taken-over");
        let aside = Self {
            from: file.to_owned(),
            to: PathBuf::from(name),
        };
        close(&aside.from)
            .and_then(|()| rename(&aside.from, &aside.to))
            .map_err(|error| Failure::file("move the token file to", &aside.to, &error))?;
        Ok(aside)
    }

    /// Puts it back. Where that fails, the failure says where it is.
    fn put_back(self, failure: Failure) -> Failure {
        let Err(error) = rename(&self.to, &self.from) else {
            return failure;
        };
        let explained = *failure.explained();
        let kept = format!("the script's tokens are in {}: {error}", self.to.display());
        explained.seen(kept).into()
    }
}

/// Unlike a rename of the system's, this one never takes the place of what is there.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::hard_link(from, to)?;
    std::fs::remove_file(from).inspect_err(|_| {
        // The file is where it was, under two names.
        let _ = std::fs::remove_file(to);
    })
}

/// Leaves the file to its owner alone.
#[cfg(unix)]
fn close(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn close(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::path::Path;

    use super::{Adoption, Aside, check, gives_way};

    const TOKENS: &str = r#"{"access_token":"a","refresh_token":"r"}"#;

    fn adoption(token: &Path, export: &Path) -> Adoption {
        Adoption {
            token: Some(token.to_owned()),
            export: Some(export.to_owned()),
            ..Adoption::default()
        }
    }

    #[test]
    fn a_file_is_the_same_by_any_of_its_names() {
        let folder = tempfile::tempdir().expect("folder");
        let (token, inner) = (folder.path().join("t.json"), folder.path().join("a"));
        std::fs::write(&token, TOKENS).expect("written");
        std::fs::create_dir(&inner).expect("made");
        let other_name = inner.join("../t.json");
        assert!(gives_way(&adoption(&token, &other_name), &other_name));
        check(&adoption(&token, &other_name)).expect("the token file itself");
        let copy = folder.path().join("copy.json");
        std::fs::copy(&token, &copy).expect("copied");
        let refused = check(&adoption(&token, &copy)).expect_err("has a refresh token");
        assert_eq!(refused.explained().code, "export-not-replaced");
    }

    #[test]
    fn a_link_does_not_give_way() {
        let folder = tempfile::tempdir().expect("folder");
        let (token, link) = (folder.path().join("t.json"), folder.path().join("l.json"));
        std::fs::write(&token, TOKENS).expect("written");
        std::os::unix::fs::symlink(&token, &link).expect("linked");
        let refused = check(&adoption(&token, &link)).expect_err("a link");
        assert!(refused.explained().summary.contains("is a link"));
    }

    #[test]
    fn what_was_moved_aside_is_put_back() {
        let folder = tempfile::tempdir().expect("folder");
        let token = folder.path().join("t.json");
        std::fs::write(&token, TOKENS).expect("written");
        let failure = || super::export::not_replaced(&token, "is in the way");
        let aside = Aside::of(&token).expect("moved");
        assert!(!token.exists());
        assert!(aside.put_back(failure()).explained().evidence.is_empty());
        assert_eq!(std::fs::read_to_string(&token).expect("back"), TOKENS);

        let aside = Aside::of(&token).expect("moved");
        std::fs::write(&token, "another").expect("written");
        let told = aside.put_back(failure()).explained();
        assert!(told.evidence[0].contains("t.json.taken-over"), "{told:?}");
        assert!(Aside::of(&token).is_err(), "there is one already");
        assert_eq!(std::fs::read_to_string(&token).expect("left"), "another");
    }
}
