//! The page that the table stands on: `docs/performance.md`, between two marks.

use std::{fs, path::Path, process::Command};

use anyhow::Context as _;

use crate::table::{HEAD, Row};

const BEGIN: &str = "<!-- bench: begin -->\n";
const END: &str = "<!-- bench: end -->";

/// What the rows were measured under.
pub(crate) struct Conditions {
    /// How often ours and the baseline took turns.
    pub(crate) rounds: usize,
    /// The greatest load average before any of the rows, which are a load themselves.
    pub(crate) load: f64,
}

/// Puts the rows in place of those that stand there.
pub(crate) fn write(page: &Path, conditions: &Conditions, rows: &[Row]) -> anyhow::Result<()> {
    let text = fs::read_to_string(page).with_context(|| page.display().to_string())?;
    fs::write(page, replaced(&text, &section(conditions, rows))?)?;
    Ok(())
}

/// The machine and the table.
pub(crate) fn section(conditions: &Conditions, rows: &[Row]) -> String {
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    format!("{}\n\n{HEAD}\n{rows}", machine(conditions))
}

fn replaced(text: &str, section: &str) -> anyhow::Result<String> {
    let marked = text.split_once(BEGIN);
    let (before, rest) = marked.context("no mark where the table begins")?;
    let (_, after) = rest.split_once(END).context("no mark where it ends")?;
    Ok([before, BEGIN, section, END, after].concat())
}

/// Names what decides how fast everything is.
fn machine(conditions: &Conditions) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |model| {
        model.trim_start_matches([' ', '\t', ':'])
    });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Measured on {}: {model}, {cores} cores, Linux {}, {}. {} rounds; the load average was {:.1} at most before a row.",
        said_by("date", &["-u", "+%Y-%m-%d"]),
        said_by("uname", &["-r"]),
        said_by("rustc", &["--version"]),
        conditions.rounds,
        conditions.load,
    )
}

/// Returns how many tasks ran or waited to run, on the average of the last minute; 0 where the system does not tell.
pub(crate) fn load_average() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let minute = load.split(' ').next().unwrap_or_default();
    minute.parse().unwrap_or_default()
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| format!("unknown {program}"),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_the_marks_is_replaced() {
        let page = format!("a\n{BEGIN}old\n{END}\nb\n");
        let expected = format!("a\n{BEGIN}new\n{END}\nb\n");
        assert_eq!(replaced(&page, "new\n").expect("marked"), expected);
        assert!(replaced("a", "new").is_err());
    }
}
