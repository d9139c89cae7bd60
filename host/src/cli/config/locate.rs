//! Where the configuration and the state are, by the XDG base directory specification.

use std::env;
use std::path::{Path, PathBuf};

use crate::cli::exit::Exit;
use crate::cli::failure::{Explained, Failure};

/// What a newcomer can start from. The client secret goes to a file next to it.
const EXAMPLE: &str = "
    [connections.acme-sandbox]
    environment = \"sandbox\"    # or production, monthly-sandbox, federal
    client_id = \"…\"            # from the app's page in Procore's developer portal
    client_secret = { file = \"acme-sandbox.secret\" }    # mode 600; or { env = \"NAME\" }
    grant = \"authorization-code\"
    redirect_uri = \"http://localhost:9876/callback\"    # exactly as registered there
";

const SYSTEM: &str = "/etc/procore-auth/config.toml";

/// Returns the configuration file: the one that is named, or else the first that exists of the user's and the system's. An
/// empty name is none.
pub(crate) fn find(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) {
        return Ok(path.to_owned());
    }
    let candidates = candidates();
    candidates
        .iter()
        .find(|path| path.exists())
        .cloned()
        .ok_or_else(|| none_found(&candidates))
}

/// Returns the file that a new connection is written to: as [`find`], or else the user's, which need not exist.
pub(crate) fn for_writing(named: Option<&Path>) -> Result<PathBuf, Failure> {
    find(named).or_else(|failure| user_file().ok_or(failure))
}

/// Returns the folder of the stored tokens where the file names none.
pub(super) fn default_state() -> Result<PathBuf, Failure> {
    base("XDG_STATE_HOME", ".local/state")
        .map(|base| base.join("procore-auth"))
        .ok_or_else(|| {
            Explained::new(
                Exit::Configuration,
                "config-no-state",
                "There is no home folder to keep the tokens in.",
                "Set `state = \"/var/lib/procore-auth\"` in the configuration.",
            )
            .into()
        })
}

/// Returns the folder of what can be made anew; `None` where there is no home folder.
pub(super) fn cache() -> Option<PathBuf> {
    base("XDG_CACHE_HOME", ".cache").map(|base| base.join("procore-auth"))
}

/// Resolves a path of the file: relative to the file's folder, `~/` to the user's home.
pub(super) fn resolve(folder: &Path, path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => folder.join(path),
    }
}

fn candidates() -> Vec<PathBuf> {
    user_file().into_iter().chain([SYSTEM.into()]).collect()
}

fn user_file() -> Option<PathBuf> {
    base("XDG_CONFIG_HOME", ".config").map(|base| base.join("procore-auth/config.toml"))
}

/// The specification has relative values ignored.
fn base(variable: &str, below_home: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(below_home)))
}

fn none_found(candidates: &[PathBuf]) -> Failure {
    let mut explained = Explained::new(
        Exit::Configuration,
        "config-missing",
        "There is no configuration file.",
        "Run `procore-auth init`: it asks for what is needed, takes over an existing script's files where there are any, and signs in. \
         Or write the one above to the first of these files, or name another with --config or PROCORE_AUTH_CONFIG; then run \
         `procore-auth login`.",
    );
    explained.excerpt = Some(EXAMPLE.to_owned());
    for path in candidates {
        explained = explained.seen(format!("looked for {}", path.display()));
    }
    explained.into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::{EXAMPLE, find};

    #[test]
    fn an_empty_name_of_a_file_is_none() {
        assert_eq!(find(Some(Path::new(""))).ok(), find(None).ok());
    }

    #[test]
    fn the_example_is_valid() {
        let config = Config::parse(Path::new("/etc/c.toml"), EXAMPLE.to_owned()).expect("valid");
        config.select(None).expect("its connection");
    }
}
