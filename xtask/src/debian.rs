//! Debian packages: which are missing, and installing them where that is allowed.

use std::process::{Command, Stdio};

use anyhow::bail;

use crate::step;

/// Sees to it that `packages` are installed.
///
/// Installs what is missing only on a Debian-like system, as root or with a `sudo` that asks no password, and never at the cost
/// of a package that is there; says what it does. Fails otherwise.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    if !succeeds(Command::new("apt-get").arg("--version")) {
        bail!("this system has no apt-get");
    }
    let Some(rights) = Rights::find() else {
        bail!("installing needs root, or a sudo without a password");
    };
    eprintln!("Installing Debian packages: {}", missing.join(" "));
    let mut update = rights.apt_get();
    step::run("package lists", update.args(["update", "--quiet=2"]))?;
    let mut install = rights.apt_get();
    install.args(["install", "--yes", "--quiet=2", "--no-install-recommends"]);
    // A package that is there stays, whatever it conflicts with.
    install.arg("--no-remove").args(missing);
    step::run("packages", &mut install)
}

/// Those of `packages` that are not installed.
fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let missing = |name: &&str| !installed(name);
    packages.iter().copied().filter(missing).collect()
}

fn installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status}", package]);
    query
        .output()
        .is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

/// By which right packages are installed.
enum Rights {
    Root,
    Sudo,
}

impl Rights {
    fn find() -> Option<Self> {
        let id = Command::new("id").arg("-u").output().ok()?;
        if id.stdout.trim_ascii() == b"0" {
            return Some(Self::Root);
        }
        succeeds(Command::new("sudo").args(["-n", "true"])).then_some(Self::Sudo)
    }

    /// `apt-get` that asks nothing, tries a download again, and waits for another one to finish.
    fn apt_get(&self) -> Command {
        let mut command = match self {
            Self::Root => Command::new("env"),
            Self::Sudo => {
                let mut sudo = Command::new("sudo");
                sudo.args(["-n", "env"]);
                sudo
            }
        };
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        command.args(["--option", "Acquire::Retries=3"]);
        command.args(["--option", "DPkg::Lock::Timeout=300"]);
        // Whoever reads standard output wants the tests' own.
        command.stdin(Stdio::null()).stdout(std::io::stderr());
        command
    }
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
