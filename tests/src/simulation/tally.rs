//! What came together in a run, or in many.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::fault::Hit;

/// What came together in a run, or in many.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// How many runs.
    pub runs: u64,
    /// How many simulated connection-days.
    pub days: u64,
    /// How many steps were taken and judged.
    pub steps: u64,
    /// How many calls of the plugin the actors made.
    pub calls: u64,
    /// How many requests were sent to the token endpoint.
    pub token_posts: u64,
    /// How many refreshes the server carried out.
    pub refreshes: u64,
    /// How many sign-ins it carried out.
    pub sign_ins: u64,
    /// How many processes died.
    pub crashes: u64,
    /// How many new pairs were lost where nobody can help it, each with a durable intent that says so.
    pub lost_pairs: u64,
    /// How often an actor got no token.
    pub without_token: u64,
    /// How many requests that agents handed over the server has executed.
    pub executions: u64,
    /// How many of them the host had kept for later, since the whole store was put back last.
    pub parked: u64,
    /// How many alerts were recorded.
    pub alerts: u64,
    /// How many of them have reached people.
    pub delivered: u64,
    /// How often each kind of fault happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// How many runs broke an invariant.
    pub violations: u64,
}

impl Tally {
    /// Counts the faults that happened.
    pub(crate) fn count_faults(&mut self, hits: &[Hit]) {
        for hit in hits {
            *self.faults.entry(hit.kind).or_default() += 1;
        }
    }

    /// Adds what came together elsewhere.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.runs, other.runs),
            (&mut self.days, other.days),
            (&mut self.steps, other.steps),
            (&mut self.calls, other.calls),
            (&mut self.token_posts, other.token_posts),
            (&mut self.refreshes, other.refreshes),
            (&mut self.sign_ins, other.sign_ins),
            (&mut self.crashes, other.crashes),
            (&mut self.lost_pairs, other.lost_pairs),
            (&mut self.without_token, other.without_token),
            (&mut self.executions, other.executions),
            (&mut self.parked, other.parked),
            (&mut self.alerts, other.alerts),
            (&mut self.delivered, other.delivered),
            (&mut self.violations, other.violations),
        ] {
            *mine += theirs;
        }
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }

    /// Returns the table for people, with the time that it took.
    #[must_use]
    pub fn table(&self, took: Duration) -> Table<'_> {
        Table(self, took)
    }
}

/// A [`Tally`] as text.
#[derive(Debug)]
pub struct Table<'t>(&'t Tally, Duration);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(tally, took) = self;
        let seconds = took.as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let per_second = tally.days as f64 / seconds;
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let share = 100.0 * tally.lost_pairs as f64 / tally.refreshes.max(1) as f64;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, value: String| {
            writeln!(f, "{name:36} {value:>12}")
        };
        row(f, "runs", tally.runs.to_string())?;
        row(f, "connection-days", tally.days.to_string())?;
        row(f, "wall time", format!("{seconds:.1} s"))?;
        row(f, "connection-days a second", format!("{per_second:.0}"))?;
        row(f, "steps judged", tally.steps.to_string())?;
        row(f, "plugin calls by actors", tally.calls.to_string())?;
        row(f, "token POSTs", tally.token_posts.to_string())?;
        row(f, "refreshes", tally.refreshes.to_string())?;
        row(f, "sign-ins", tally.sign_ins.to_string())?;
        row(f, "processes that died", tally.crashes.to_string())?;
        row(
            f,
            "pairs lost, with an intent",
            tally.lost_pairs.to_string(),
        )?;
        row(f, "  of all refreshes", format!("{share:.2} %"))?;
        row(f, "calls without a token", tally.without_token.to_string())?;
        row(f, "requests executed", tally.executions.to_string())?;
        row(f, "requests kept for later", tally.parked.to_string())?;
        row(f, "alerts", tally.alerts.to_string())?;
        row(f, "  delivered", tally.delivered.to_string())?;
        writeln!(f, "faults")?;
        for (kind, count) in &tally.faults {
            row(f, &format!("  {kind}"), count.to_string())?;
        }
        row(f, "violations", tally.violations.to_string())
    }
}
