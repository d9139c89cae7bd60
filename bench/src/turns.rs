//! Two costs, measured in turns: what disturbs the machine for a while disturbs both.

/// What the rounds found, ours and the baseline's, in the order of the rounds.
#[derive(Default)]
pub(crate) struct Turns {
    ours: Vec<f64>,
    baseline: Vec<f64>,
}

impl Turns {
    /// Adds a round.
    pub(crate) fn add(&mut self, ours: f64, baseline: f64) {
        self.ours.push(ours);
        self.baseline.push(baseline);
    }

    /// Returns our figures.
    pub(crate) fn ours(&self) -> Figures {
        Figures::of(self.ours.iter().copied())
    }

    /// Returns the baseline's.
    pub(crate) fn baseline(&self) -> Figures {
        Figures::of(self.baseline.iter().copied())
    }

    /// Returns ours as a multiple of the baseline, round by round.
    pub(crate) fn ratio(&self) -> Figures {
        Figures::of(self.rounds().map(|(ours, baseline)| ours / baseline))
    }

    /// Returns by how much ours exceeds the baseline, round by round.
    pub(crate) fn added(&self) -> Figures {
        Figures::of(self.rounds().map(|(ours, baseline)| ours - baseline))
    }

    fn rounds(&self) -> impl Iterator<Item = (f64, f64)> {
        self.ours.iter().copied().zip(self.baseline.iter().copied())
    }
}

/// Figures of several rounds, at least one.
#[derive(Clone)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    /// Sorts them.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        assert!(!figures.is_empty(), "no round was measured");
        Self(figures)
    }

    /// Returns the middle one; of an even number, the greater of the two.
    pub(crate) fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// Returns the least.
    pub(crate) fn least(&self) -> f64 {
        self.0[0]
    }

    /// Returns the greatest.
    pub(crate) fn greatest(&self) -> f64 {
        self.0[self.0.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_one_round_and_not_of_medians() {
        let mut turns = Turns::default();
        for (ours, baseline) in [(1.0, 1.0), (30.0, 10.0), (8.0, 4.0)] {
            turns.add(ours, baseline);
        }
        let (ratio, added) = (turns.ratio(), turns.added());
        assert_eq!(
            (ratio.least(), ratio.median(), ratio.greatest()),
            (1.0, 2.0, 3.0)
        );
        assert_eq!(added.median(), 4.0);
    }
}
