//! What determines a run: nothing else does.

use std::{collections::BTreeSet, fmt, str::FromStr};

use super::fault::FaultId;

/// Determines a run. Two runs of one plan are the same, step by step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Determines the scenario, every delay and every fault.
    pub seed: u64,
    /// How many virtual days pass before the calm at the end.
    pub days: u32,
    /// What the component runs on.
    pub variant: Variant,
    /// The faults that may happen; `None` for all that the seed brings.
    pub only: Option<BTreeSet<FaultId>>,
}

impl Plan {
    /// Plans a run of the sound component, with all faults of the seed.
    #[must_use]
    pub fn new(seed: u64, days: u32) -> Self {
        Self {
            seed,
            days,
            variant: Variant::Sound,
            only: None,
        }
    }

    /// Plans the same for a broken variant.
    #[must_use]
    pub fn variant(self, variant: Variant) -> Self {
        Self { variant, ..self }
    }

    /// Whether a fault may happen.
    #[must_use]
    pub fn permits(&self, fault: FaultId) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&fault))
    }

    /// Returns the command that runs this plan alone and shows its trace.
    #[must_use]
    pub fn command(&self) -> String {
        format!("cargo xtask simulate --replay {self}")
    }
}

/// Writes what [`FromStr`] takes: `seed:days:variant`, and after one more colon the faults that may happen.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.seed, self.days, self.variant)?;
        if let Some(only) = &self.only {
            let ids: Vec<_> = only.iter().map(ToString::to_string).collect();
            write!(f, ":{}", ids.join(","))?;
        }
        Ok(())
    }
}

/// The text is no plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPlan;

impl fmt::Display for NoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plan is seed:days:variant or seed:days:variant:fault,fault,…")
    }
}

impl std::error::Error for NoPlan {}

impl FromStr for Plan {
    type Err = NoPlan;

    fn from_str(text: &str) -> Result<Self, NoPlan> {
        let mut parts = text.splitn(4, ':');
        let mut part = || parts.next().ok_or(NoPlan);
        let seed = part()?.parse().map_err(|_| NoPlan)?;
        let days = part()?.parse().map_err(|_| NoPlan)?;
        let variant = part()?.parse()?;
        let only = match parts.next() {
            None => None,
            Some("") => Some(BTreeSet::new()),
            Some(ids) => Some(ids.split(',').map(str::parse).collect::<Result<_, _>>()?),
        };
        Ok(Self {
            seed,
            days,
            variant,
            only,
        })
    }
}

/// What the component runs on: the host as it is, or one that breaks a promise, as other token managers do. A simulation that
/// does not find these finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// A host that keeps its promises.
    Sound,
    /// The lock is held around each save only, not from the read to the save (S4). `lock` says yes at once, and each write
    /// takes the real lock for itself.
    LockAroundSave,
    /// New tokens are used before they are durable: a write after the POST is said to be done at once, and happens some seconds
    /// later, unless the process dies before.
    SaveAfterUse,
    /// A refusal is taken as the last word (S5): after it, a read of the session shows what the call knew before, and the
    /// session is written over whatever is there. Such a program takes no lock either, or nobody could overtake it. Its other
    /// writes compare and swap as they should, so that nothing but the missing second look is at fault.
    LatchWithoutReread,
    /// A claim on a parked request is kept in memory (S61): others, and whoever comes after a death, find it waiting still.
    ClaimInMemory,
}

impl Variant {
    /// Lists the broken ones.
    pub const BROKEN: [Self; 4] = [
        Self::LockAroundSave,
        Self::SaveAfterUse,
        Self::LatchWithoutReread,
        Self::ClaimInMemory,
    ];

    /// Lists all.
    pub const ALL: [Self; 5] = [
        Self::Sound,
        Self::LockAroundSave,
        Self::SaveAfterUse,
        Self::LatchWithoutReread,
        Self::ClaimInMemory,
    ];

    /// Returns the name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::LockAroundSave => "lock-around-save",
            Self::SaveAfterUse => "save-after-use",
            Self::LatchWithoutReread => "latch-without-reread",
            Self::ClaimInMemory => "claim-in-memory",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Variant {
    type Err = NoPlan;

    fn from_str(name: &str) -> Result<Self, NoPlan> {
        let mut all = Self::ALL.into_iter();
        all.find(|variant| variant.name() == name).ok_or(NoPlan)
    }
}

#[cfg(test)]
mod tests {
    use super::{Plan, Variant};

    #[test]
    fn a_plan_survives_as_text() {
        for text in [
            "7:30:sound",
            "7:30:lock-around-save:",
            "7:30:sound:0.1.22,e4",
        ] {
            let plan: Plan = text.parse().expect("a plan");
            assert_eq!(plan.to_string(), text);
        }
        assert_eq!(
            "7:30:sound".parse(),
            Ok(Plan::new(7, 30).variant(Variant::Sound))
        );
        assert!("7:30".parse::<Plan>().is_err());
    }
}
