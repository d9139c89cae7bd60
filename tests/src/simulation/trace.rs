//! What happened, step by step: the last lines for people, and a digest of all for comparing runs.

use std::{
    collections::VecDeque,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

/// How many lines are kept.
const KEPT: usize = 60;

/// Names a process: its actor's number and how many lives that actor has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Who {
    pub(crate) actor: u16,
    pub(crate) life: u32,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.actor, self.life)
    }
}

/// One step.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Line {
    pub(crate) at: u64,
    /// `None` for what comes from outside.
    pub(crate) who: Option<Who>,
    pub(crate) what: &'static str,
    pub(crate) detail: Option<Box<str>>,
    pub(crate) number: Option<u64>,
}

/// Steps are hashed as they come, and formatted only where somebody reads them.
#[derive(Debug)]
pub(crate) struct Trace {
    digest: DefaultHasher,
    steps: u64,
    lines: VecDeque<Line>,
    kept: usize,
}

impl Trace {
    /// Keeps the last lines, or all of them.
    pub(crate) fn new(all: bool) -> Self {
        Self {
            digest: DefaultHasher::new(),
            steps: 0,
            lines: VecDeque::new(),
            kept: if all { usize::MAX } else { KEPT },
        }
    }

    /// Notes a step.
    pub(crate) fn note(&mut self, line: Line) {
        line.hash(&mut self.digest);
        self.steps += 1;
        if self.lines.len() == self.kept {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Returns how many steps there were.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Returns a number that two runs share only if they took the same steps.
    pub(crate) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// Returns the lines as text, with the actors' names.
    pub(crate) fn lines(&self, names: &[String]) -> Vec<String> {
        let text = |line: &Line| {
            let who = line.who.map_or_else(String::new, |who| {
                format!("{}#{}", names[usize::from(who.actor)], who.life)
            });
            let detail = line.detail.as_deref().unwrap_or_default();
            let number = line
                .number
                .map_or_else(String::new, |number| format!(" {number}"));
            format!(
                "{} {who:12} {}{}{detail}{number}",
                moment(line.at),
                line.what,
                if detail.is_empty() { "" } else { " " },
            )
        };
        self.lines.iter().map(text).collect()
    }
}

/// Writes a virtual time as days and time of day.
pub(crate) fn moment(at: u64) -> String {
    let (seconds, milliseconds) = (at / 1000, at % 1000);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    format!(
        "day {days} {:02}:{:02}:{:02}.{milliseconds:03}",
        hours % 24,
        minutes % 60,
        seconds % 60
    )
}
