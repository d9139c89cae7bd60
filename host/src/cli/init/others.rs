//! Other programs that may refresh a script's token, as far as they can be seen: cron jobs and processes of this account.
//!
//! A name alone is told, never a whole command line: there may be secrets in it. Whoever is not seen may be there all the same.

use std::process::{Command, Stdio};

/// The most that are told.
const MOST: usize = 3;

/// Returns what looks like such a program, in a few words each.
pub(super) fn seen() -> Vec<String> {
    let mut seen = crontab();
    seen.extend(processes());
    seen.truncate(MOST);
    seen
}

fn crontab() -> Vec<String> {
    let listed = Command::new("crontab")
        .arg("-l")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let text = listed.map_or_else(|_| Vec::new(), |output| output.stdout);
    jobs(&String::from_utf8_lossy(&text))
}

/// Names the lines of a crontab that have to do with Procore, and are not ours.
fn jobs(crontab: &str) -> Vec<String> {
    let numbered = crontab.lines().enumerate();
    let jobs = numbered.filter(|(_, line)| !line.trim_start().starts_with('#') && is_one(line));
    jobs.map(|(index, _)| format!("line {} of this account's crontab", index + 1))
        .collect()
}

fn is_one(command: &str) -> bool {
    let words = command.split(|letter: char| letter.is_whitespace() || letter == '\0');
    let mut words = words.filter(|word| word.to_ascii_lowercase().contains("procore"));
    words.any(|word| {
        let name = word.rsplit('/').next().unwrap_or_default();
        let is_script = [".py", ".sh", ".js", ".ts", ".rb", ".php", ".pl"]
            .iter()
            .any(|end| name.ends_with(end));
        is_script || name.contains("procore_token") || name.contains("procore.env")
    })
}

#[cfg(target_os = "linux")]
fn processes() -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;

    let us = rustix::process::geteuid().as_raw();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        let is_process = pid.bytes().all(|byte| byte.is_ascii_digit());
        let is_ours = || entry.metadata().is_ok_and(|found| found.uid() == us);
        if !is_process || pid == own || !is_ours() {
            continue;
        }
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.trim() != "procore-auth" && is_one(&String::from_utf8_lossy(&command)) {
            found.push(format!("process {pid} ({})", name.trim()));
        }
    }
    found
}

#[cfg(not(target_os = "linux"))]
fn processes() -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::{is_one, jobs};

    #[test]
    fn scripts_are_told_by_their_line_and_ours_are_not() {
        let crontab = "# procore.py\n0 * * * * /usr/local/bin/procore-auth tick\n*/30 * * * * SECRET=x python3 /opt/procore-auth.py\n";
        assert_eq!(jobs(crontab), ["line 3 of this account's crontab"]);
    }

    /// The names that the other accounts' processes have are theirs.
    #[cfg(target_os = "linux")]
    #[test]
    fn only_processes_of_this_account_are_told() {
        use std::io::Read as _;
        use std::os::unix::process::CommandExt as _;
        use std::process::{Child, Command, Stdio};

        let told = |child: &Child| {
            let process = format!("process {} ", child.id());
            super::processes()
                .iter()
                .any(|one| one.starts_with(&process))
        };
        let script = |command: &mut Command| {
            // Reads until its input is closed. What it says shows that it is no copy of this process any more.
            let command = command.args(["-c", "echo ready; read x", "procore_refresh.py"]);
            let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn()?;
            let said = child.stdout.as_mut().expect("piped");
            said.read_exact(&mut [0; 6])?;
            std::io::Result::Ok(child)
        };
        let mut ours = script(&mut Command::new("sh")).expect("started");
        assert!(told(&ours));
        drop(ours.stdin.take());
        ours.wait().expect("ended");
        // Only root can start one of another account.
        if let Ok(mut theirs) = script(Command::new("sh").uid(65_534)) {
            assert!(!told(&theirs));
            drop(theirs.stdin.take());
            theirs.wait().expect("ended");
        }
    }

    #[test]
    fn a_process_is_one_by_its_script_or_by_the_file() {
        for (command, wanted) in [
            ("python3\0scripts/procore_refresh.py", true),
            ("node\0keepalive.js\0.credentials/procore_token.json", true),
            ("procore-auth\0run", false),
            ("vim\0procore-notes.md", false),
        ] {
            assert_eq!(is_one(command), wanted, "{command:?}");
        }
    }
}
