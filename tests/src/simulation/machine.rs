//! A machine: the clocks of the processes on it, and when it sleeps.

use super::scenario::{Event, Scenario};

/// The true wall clock at the start of a run: 2026-11-23T00:00:00Z.
pub(crate) const START: u64 = 1_795_392_000_000;

/// One machine, with all that is going to befall it.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// Moments, and how far the wall clock is off from then on.
    steps: Vec<(u64, i64)>,
    /// From when to when it sleeps; they do not overlap.
    asleep: Vec<(u64, u64)>,
}

impl Machine {
    /// Picks what befalls the machine with this number. In the calm it is awake and right.
    pub(crate) fn of(scenario: &Scenario, number: usize) -> Self {
        let mut steps = Vec::new();
        let mut asleep: Vec<(u64, u64)> = Vec::new();
        for planned in &scenario.events {
            match planned.event {
                Event::ClockSet(machine, off) if machine == number => {
                    steps.push((planned.at, off));
                }
                Event::Suspended(machine, span) if machine == number => {
                    let from = asleep
                        .last()
                        .map_or(planned.at, |last| planned.at.max(last.1));
                    asleep.push((from, (planned.at + span).min(scenario.calm).max(from)));
                }
                _ => {}
            }
        }
        steps.push((scenario.calm, 0));
        Self { steps, asleep }
    }

    /// Returns what the wall clock shows, in milliseconds since 1970.
    pub(crate) fn wall(&self, now: u64) -> u64 {
        let step = self.steps.iter().rfind(|(at, _)| *at <= now);
        (START + now).saturating_add_signed(step.map_or(0, |(_, off)| *off))
    }

    /// Returns how long the machine has been awake since the start.
    pub(crate) fn awake(&self, now: u64) -> u64 {
        let slept = self.asleep.iter().map(|(from, to)| {
            let to = (*to).min(now);
            to.saturating_sub(*from)
        });
        now - slept.sum::<u64>()
    }

    /// Returns the moment at which the machine has been awake for `span` more, and is awake.
    pub(crate) fn after(&self, now: u64, span: u64) -> u64 {
        let mut at = now;
        let mut left = span;
        for (from, to) in self.asleep.iter().filter(|(_, to)| *to > now) {
            if at >= *from {
                at = at.max(*to);
            } else if at + left < *from {
                break;
            } else {
                left -= from - at;
                at = *to;
            }
        }
        at + left
    }

    /// Returns how long it takes until the wall clock shows a moment, if nobody sets it.
    pub(crate) fn until(&self, now: u64, wall: u64) -> u64 {
        wall.saturating_sub(self.wall(now))
    }
}

#[cfg(test)]
mod tests {
    use super::{Machine, START};

    #[test]
    fn a_machine_that_sleeps_stands_still() {
        let machine = Machine {
            steps: vec![(50, -10), (90, 0)],
            asleep: vec![(100, 200), (300, 400)],
        };
        assert_eq!(
            (machine.wall(49), machine.wall(60)),
            (START + 49, START + 50)
        );
        assert_eq!((machine.awake(100), machine.awake(150)), (100, 100));
        assert_eq!((machine.awake(250), machine.awake(500)), (150, 300));
        assert_eq!(machine.after(10, 20), 30);
        assert_eq!(machine.after(90, 20), 210);
        assert_eq!(machine.after(150, 20), 220);
        assert_eq!(machine.after(90, 200), 490);
        assert_eq!(machine.after(100, 0), 200);
    }
}
