//! What a run of the crash test came to, for people.

use std::{collections::BTreeMap, fmt, time::Duration};

/// Where a process was when it was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It had not begun to work.
    Starting,
    /// It waited, slept, called the API, or held the lock without having written anything.
    BetweenRefreshes,
    /// Its intent was durable, and its request had not reached the server.
    Intent,
    /// Its request had reached the server, which had not committed it.
    Asked,
    /// The server had committed, and the reply was not in any file: the window.
    Committed,
    /// The reply was whole in a file that was not yet in its place.
    ReplyWritten,
    /// The reply was durable, the new tokens were not yet in use.
    ReplySaved,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::BetweenRefreshes => "between refreshes",
            Self::Intent => "intent saved, nothing at the server",
            Self::Asked => "request at the server, not committed",
            Self::Committed => "committed, reply not written",
            Self::ReplyWritten => "reply written, not yet in place",
            Self::ReplySaved => "reply saved, not yet read",
        })
    }
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    /// How many processes ran at once.
    pub processes: usize,
    /// What decided the moments.
    pub seed: u64,
    /// How many processes were killed, by where they were.
    pub kills: BTreeMap<Phase, usize>,
    /// How many refresh tokens the server exchanged.
    pub refreshes: usize,
    /// How many requests with a refresh token reached it.
    pub posts: usize,
    /// How often the newest refresh token was nowhere to be found, and nothing said so.
    pub lost: usize,
    /// How often a refresh token was sent again without need.
    pub double_refreshes: usize,
    /// How many kills hit the window between the server's commit and the first durable byte of its reply.
    pub windows: usize,
    /// How many alerts there were, by code.
    pub alerts: BTreeMap<String, usize>,
    /// How often a process said that it went on after an interrupted refresh.
    pub interruptions_told: usize,
    /// How many errors the callers got, by code.
    pub errors: BTreeMap<String, usize>,
    /// How often a person had to sign in.
    pub sign_ins: usize,
    /// How long a worker took from its start to its first request, at the median.
    pub start: Duration,
    /// The most files of interrupted writes that were there at once.
    pub most_leftovers: usize,
    /// How long it took.
    pub elapsed: Duration,
}

impl Report {
    /// Counts the kills.
    pub fn killed(&self) -> usize {
        self.kills.values().sum()
    }

    /// Counts the kills that interrupted a refresh.
    pub fn interrupted(&self) -> usize {
        let inside = |phase: &Phase| *phase >= Phase::Intent;
        let kills = self.kills.iter();
        kills
            .filter(|(phase, _)| inside(phase))
            .map(|(_, n)| n)
            .sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(f, "seed                  {}", self.seed)?;
        writeln!(f, "processes             {}", self.processes)?;
        writeln!(f, "kills                 {}", self.killed())?;
        for (phase, count) in &self.kills {
            writeln!(f, "  {phase:<38} {count}")?;
        }
        writeln!(f, "refreshes             {}", self.refreshes)?;
        writeln!(
            f,
            "refreshes per second  {:.1}",
            self.refreshes as f64 / seconds
        )?;
        writeln!(f, "requests for tokens   {}", self.posts)?;
        writeln!(f, "lost tokens           {}", self.lost)?;
        writeln!(f, "double refreshes      {}", self.double_refreshes)?;
        writeln!(
            f,
            "ambiguous intents     {} ({} of all kills, {} of the {} that interrupted a refresh)",
            self.windows,
            share(self.windows, self.killed()),
            share(self.windows, self.interrupted()),
            self.interrupted()
        )?;
        writeln!(f, "interruptions told    {}", self.interruptions_told)?;
        writeln!(f, "alerts                {}", list(&self.alerts))?;
        writeln!(f, "errors of callers     {}", list(&self.errors))?;
        writeln!(f, "sign-ins              {}", self.sign_ins)?;
        writeln!(
            f,
            "start of a process    {} ms (median)",
            self.start.as_millis()
        )?;
        writeln!(f, "leftover files        {} at most", self.most_leftovers)?;
        write!(f, "elapsed               {seconds:.1} s")
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn share(part: usize, whole: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

fn list(counts: &BTreeMap<String, usize>) -> String {
    let counts: Vec<_> = counts
        .iter()
        .map(|(code, n)| format!("{n} {code}"))
        .collect();
    if counts.is_empty() {
        "none".to_owned()
    } else {
        counts.join(", ")
    }
}
