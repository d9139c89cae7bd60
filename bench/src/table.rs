//! The table, as it stands in `docs/performance.md`.

use std::fmt;

use crate::turns::Figures;

/// One measurement and what it is judged by.
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// What it took.
    pub(crate) ours: String,
    /// What was measured in turns with it, and what that took.
    pub(crate) baseline: String,
    /// The figures that the aim is about.
    pub(crate) result: Figures,
    /// What they are.
    pub(crate) unit: Unit,
    /// What they should be; `None` where the row is for information.
    pub(crate) aim: Option<Aim>,
}

/// What a result is.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Times the baseline.
    Times,
    /// Seconds more than the baseline.
    SecondsAdded,
    /// Bytes.
    Bytes,
    /// A number of things.
    Count,
}

/// What a result should be.
#[derive(Clone, Copy)]
pub(crate) enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

impl Aim {
    fn is_met(self, result: f64) -> bool {
        match self {
            Self::AtMost(limit) => result <= limit,
            Self::AtLeast(limit) => result >= limit,
        }
    }

    fn with(self, unit: Unit) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {}", unit.show(limit)),
            Self::AtLeast(limit) => format!("≥ {}", unit.show(limit)),
        }
    }
}

impl Unit {
    fn show(self, figure: f64) -> String {
        match self {
            Self::Times if figure >= 100.0 => format!("{figure:.0} ×"),
            Self::Times => format!("{figure:.2} ×"),
            Self::SecondsAdded => seconds(figure),
            Self::Bytes => format!("{:.1} KB", figure / 1000.0),
            Self::Count => format!("{figure:.0}"),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |figure| self.unit.show(figure);
        let result = show(self.result.median());
        let (least, greatest) = (show(self.result.least()), show(self.result.greatest()));
        let spread = if least == greatest {
            String::new()
        } else {
            format!(" ({least} – {greatest})")
        };
        let (aim, verdict) = match self.aim {
            None => ("–".to_owned(), "–"),
            Some(aim) if aim.is_met(self.result.median()) => (aim.with(self.unit), "met"),
            Some(aim) => (aim.with(self.unit), "**missed**"),
        };
        write!(
            f,
            "| {} | {} | {} | {result}{spread} | {aim} | {verdict} |",
            self.what, self.ours, self.baseline
        )
    }
}

/// The table's head.
pub(crate) const HEAD: &str =
    "| what | measured | baseline | result (least – greatest) | aim | |\n|---|---|---|---|---|---|";

/// Shows a time with three significant digits.
pub(crate) fn seconds(time: f64) -> String {
    let (figure, unit) = match time.abs() {
        t if t < 1e-6 => (time * 1e9, "ns"),
        t if t < 1e-3 => (time * 1e6, "µs"),
        t if t < 1.0 => (time * 1e3, "ms"),
        _ => (time, "s"),
    };
    let digits = match figure.abs() {
        f if f < 10.0 => 2,
        f if f < 100.0 => 1,
        _ => 0,
    };
    format!("{figure:.digits$} {unit}")
}

/// Shows a size in memory.
pub(crate) fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_its_aim_is_met() {
        let row = |aim| Row {
            what: "a".into(),
            ours: "b".into(),
            baseline: "c".into(),
            result: Figures::of([0.9, 1.1, 1.0]),
            unit: Unit::Times,
            aim: Some(aim),
        };
        assert_eq!(
            row(Aim::AtMost(1.0)).to_string(),
            "| a | b | c | 1.00 × (0.90 × – 1.10 ×) | ≤ 1.00 × | met |"
        );
        assert!(row(Aim::AtLeast(1.05)).to_string().contains("missed"));
    }

    #[test]
    fn a_time_has_three_digits() {
        let shown = [3.14159e-8, 0.000_031_4, 0.0314, 31.4].map(seconds);
        assert_eq!(shown, ["31.4 ns", "31.4 µs", "31.4 ms", "31.4 s"]);
    }
}
