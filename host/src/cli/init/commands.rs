//! Commands for a person to run: of this program, on this configuration, from any folder.

use std::path::Path;

use procore_auth_host::ConnectionName;

use super::super::config::Config;

/// How long until the next of the hourly visits, with what delays them.
const NEXT_VISIT: &str = "62m";

/// Words commands, each argument quoted as the shell wants it.
pub(super) struct Commands {
    program: String,
    config: String,
}

impl Commands {
    /// For the program as it is installed, and the file of this configuration.
    pub(super) fn on(config: &Config) -> Self {
        let program = std::env::current_exe();
        let program = program.unwrap_or_else(|_| "procore-auth".into());
        let config = config.path();
        let config = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
        Self::of(&program, &config)
    }

    fn of(program: &Path, config: &Path) -> Self {
        Self {
            program: quoted(&program.to_string_lossy()),
            config: quoted(&config.to_string_lossy()),
        }
    }

    /// Keeps all connections of the file alive, in the foreground.
    pub(super) fn run(&self) -> String {
        format!("{} run --config {}", self.program, self.config)
    }

    /// A line of the crontab that does the same.
    pub(super) fn cron(&self) -> String {
        let command = format!(
            "{} tick --next-visit {NEXT_VISIT} --config {}",
            self.program, self.config
        );
        // cron ends a command at the first bare one.
        format!("0 * * * * {}", command.replace('%', "\\%"))
    }

    /// Carries out `arguments` on the connection.
    pub(super) fn on_connection(&self, arguments: &str, name: &ConnectionName) -> String {
        format!(
            "{} {arguments} --connection {name} --config {}",
            self.program, self.config
        )
    }
}

#[cfg(not(windows))]
fn quoted(text: &str) -> String {
    // Only a text with a NUL cannot be quoted, and no path has one.
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}

/// No path has a quotation mark in it here.
#[cfg(windows)]
fn quoted(text: &str) -> String {
    match text.contains(' ') {
        true => format!("\"{text}\""),
        false => text.to_owned(),
    }
}

#[cfg(all(test, not(windows)))]
mod tests {
    use std::path::Path;

    use super::Commands;

    #[test]
    fn a_path_is_one_argument() {
        let (program, config) = ("/opt/my tools/procore-auth", "/home/o'neil/a $HOME/c.toml");
        let commands = Commands::of(Path::new(program), Path::new(config));
        let split = shlex::split(&commands.run()).expect("quoted");
        assert_eq!(split, [program, "run", "--config", config]);
        let name = "acme".parse().expect("valid");
        let split = shlex::split(&commands.on_connection("doctor", &name));
        let expected = [
            program,
            "doctor",
            "--connection",
            "acme",
            "--config",
            config,
        ];
        assert_eq!(split.expect("quoted"), expected);
    }

    #[test]
    fn what_needs_no_quotes_has_none() {
        let commands = Commands::of(Path::new("/usr/bin/procore-auth"), Path::new("/etc/c.toml"));
        assert_eq!(
            commands.run(),
            "/usr/bin/procore-auth run --config /etc/c.toml"
        );
    }

    #[test]
    fn cron_is_given_no_bare_percent_sign() {
        let commands = Commands::of(Path::new("/opt/100%/procore-auth"), Path::new("/c%20.toml"));
        let line = commands.cron();
        assert_eq!(line.matches('%').count(), line.matches("\\%").count());
        let command = line.strip_prefix("0 * * * * ").expect("hourly");
        let split = shlex::split(&command.replace("\\%", "%")).expect("quoted");
        assert_eq!(
            (&*split[0], &*split[5]),
            ("/opt/100%/procore-auth", "/c%20.toml")
        );
    }
}
