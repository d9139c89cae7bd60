//! What a seed makes of a run: who takes part, on which machines, and what befalls them from outside.

use fastrand::Rng;

use super::{
    chance::{Stream, stream},
    fault::FaultId,
    plan::{Plan, Variant},
};
use fake_procore::Rotation;
use procore_auth_host::Environment;

/// Milliseconds.
pub(crate) const SECOND: u64 = 1_000;
/// Milliseconds.
pub(crate) const MINUTE: u64 = 60 * SECOND;
/// Milliseconds.
pub(crate) const HOUR: u64 = 60 * MINUTE;
/// Milliseconds.
pub(crate) const DAY: u64 = 24 * HOUR;

/// The calm at the end, in which everybody must come back to a token.
pub(crate) const CALM: u64 = 4 * HOUR;

/// The longest time for which the disk takes no writes.
const LONGEST_DISK_OUTAGE: u64 = 3 * HOUR;

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A process that lives long, asks for tokens and calls the API with them.
    Agent,
    /// `procore-auth run`: comes when it was told to.
    Keeper,
    /// `procore-auth tick --next-visit 60m`: a fresh process an hour.
    Cron,
    /// Somebody at a terminal now and then.
    Tool,
    /// The person who signs in when an alert asks for it.
    Admin,
}

/// One who takes part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Actor {
    pub(crate) role: Role,
    /// The number of its machine.
    pub(crate) machine: usize,
}

/// What befalls from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The client secret is reset; the configuration follows after this long.
    SecretReset(u64),
    /// The refresh token is revoked; its access token lives on.
    RefreshTokenRevoked,
    /// A person disconnects the app: all tokens die.
    GrantRevoked,
    /// All tokens of the environment die.
    Wipe,
    /// Yesterday's copy of the session's newest generation is put back.
    SessionFileRestored,
    /// Yesterday's copy of the session is put back, both generations.
    SessionRestored,
    /// Yesterday's copy of the whole store is put back.
    StoreRestored,
    /// A machine's wall clock is set to this far from the true time, and mended after so long.
    ClockSet(usize, i64, u64),
    /// A machine sleeps for this long.
    Suspended(usize, u64),
    /// The server answers 503 for this long.
    ServerDown(u64),
    /// A machine reaches nobody for this long.
    NetworkDown(usize, u64),
    /// The disk takes no writes for this long, and says this of it.
    DiskRefuses(&'static str, u64),
    /// The disk cannot be read for this long.
    DiskUnreadable(u64),
    /// What takes alerts to people does not answer for this long.
    SinkDown(u64),
}

impl Event {
    /// Returns the name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SecretReset(_) => "client secret reset",
            Self::RefreshTokenRevoked => "refresh token revoked",
            Self::GrantRevoked => "app disconnected",
            Self::Wipe => "monthly wipe",
            Self::SessionFileRestored => "session file restored from a backup",
            Self::SessionRestored => "session restored from a backup",
            Self::StoreRestored => "store restored from a backup",
            Self::ClockSet(..) => "clock step",
            Self::Suspended(..) => "suspension",
            Self::ServerDown(_) => "server down",
            Self::NetworkDown(..) => "network down",
            Self::DiskRefuses("full", _) => "disk full",
            Self::DiskRefuses("read-only", _) => "disk read-only",
            Self::DiskRefuses(..) => "disk denies permission",
            Self::DiskUnreadable(_) => "disk unreadable",
            Self::SinkDown(_) => "alert sink down",
        }
    }
}

/// An event with its moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    pub(crate) id: FaultId,
    pub(crate) at: u64,
    pub(crate) event: Event,
}

/// What a seed makes of a run.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) environment: Environment,
    pub(crate) rotation: Rotation,
    /// How long access tokens live, in seconds.
    pub(crate) lifetime: u64,
    pub(crate) access_token_bytes: usize,
    pub(crate) actors: Vec<Actor>,
    pub(crate) machines: usize,
    /// How often capability calls go wrong, relative to ordinary weather.
    pub(crate) weather: f64,
    /// Whether the lock excludes. It does not on some file systems, nor for a program that takes none.
    pub(crate) lock_excludes: bool,
    /// By time.
    pub(crate) events: Vec<Planned>,
    /// When the faults end.
    pub(crate) calm: u64,
    /// When the run ends.
    pub(crate) end: u64,
}

impl Scenario {
    /// Draws the scenario. Events that the plan leaves out are left out here.
    pub(crate) fn of(plan: &Plan) -> Self {
        let mut rng = stream(plan.seed, Stream::Scenario, &[]);
        let calm = u64::from(plan.days) * DAY;
        let environment = if rng.u8(..8) == 0 {
            Environment::MonthlySandbox
        } else {
            Environment::Production
        };
        let rotation = if rng.u8(..3) == 0 {
            Rotation::Grace
        } else {
            Rotation::Strict
        };
        let lifetime = match rng.u8(..10) {
            0 => 900,
            1 | 2 => 7200,
            _ => 5400,
        };
        let access_token_bytes = if rng.u8(..8) == 0 { 1100 } else { 200 };
        let machines = rng.usize(1..3);
        let actors = actors(&mut rng, machines);
        let weather = rng.choice([0.3, 1.0, 1.0, 1.0, 3.0]).unwrap_or(1.0);
        let lock_excludes = plan.variant != Variant::Sound || rng.u8(..8) != 0;
        let mut events = Vec::new();
        let monthly = environment == Environment::MonthlySandbox;
        for (number, day) in (0..plan.days).enumerate() {
            let mut rng = stream(plan.seed, Stream::Scenario, &[1, number as u64]);
            draw_day(&mut rng, u64::from(day), machines, monthly, &mut events);
        }
        events.retain(|planned| plan.permits(planned.id));
        events.sort_by_key(|planned| planned.at);
        Self {
            environment,
            rotation,
            lifetime,
            access_token_bytes,
            actors,
            machines,
            weather,
            lock_excludes,
            events,
            calm,
            end: calm + CALM,
        }
    }

    /// Whether no machine's wall clock is ever wrong.
    pub(crate) fn clocks_are_honest(&self) -> bool {
        let is_step = |planned: &Planned| matches!(planned.event, Event::ClockSet(..));
        !self.events.iter().any(is_step)
    }

    /// Whether an event of which `chosen` says the length is under way.
    pub(crate) fn is_under_way(&self, now: u64, chosen: impl Fn(Event) -> Option<u64>) -> bool {
        let began = self
            .events
            .iter()
            .take_while(|planned| planned.at <= now)
            .filter_map(|planned| Some((planned.at, chosen(planned.event)?)));
        now < self.calm && began.into_iter().any(|(at, length)| now < at + length)
    }
}

fn actors(rng: &mut Rng, machines: usize) -> Vec<Actor> {
    let mut roles = vec![Role::Agent];
    for (role, share) in [
        (Role::Agent, 4),
        (Role::Agent, 2),
        (Role::Keeper, 5),
        (Role::Cron, 3),
        (Role::Tool, 3),
    ] {
        if rng.u8(..8) < share {
            roles.push(role);
        }
    }
    if roles.len() == 1 {
        roles.push(Role::Agent);
    }
    roles.push(Role::Admin);
    let placed = roles.into_iter().map(|role| Actor {
        role,
        machine: rng.usize(..machines),
    });
    placed.collect()
}

/// The number of kinds of events of one day.
const KINDS: u32 = 16;

/// Draws the events of one day. Each kind has its own number, so that the names of the others do not depend on it.
fn draw_day(rng: &mut Rng, day: u64, machines: usize, monthly: bool, events: &mut Vec<Planned>) {
    let mut number = u32::try_from(day).unwrap_or_default() * KINDS;
    let mut draw = |rng: &mut Rng, share: f64, make: &dyn Fn(&mut Rng) -> Event| {
        let mut own = rng.fork();
        let happens = own.f64() < share;
        let at = day * DAY + own.u64(10 * MINUTE..DAY);
        let event = make(&mut own);
        number += 1;
        if happens {
            let id = FaultId::Event(number);
            events.push(Planned { id, at, event });
        }
    };
    draw(rng, 0.02, &|rng| {
        Event::SecretReset(rng.u64(20 * MINUTE..5 * HOUR))
    });
    draw(rng, 0.02, &|_| Event::RefreshTokenRevoked);
    draw(rng, 0.02, &|_| Event::GrantRevoked);
    let wiped = monthly && day % 30 == 6;
    draw(rng, f64::from(u8::from(wiped)), &|_| Event::Wipe);
    draw(rng, 0.03, &|_| Event::SessionRestored);
    draw(rng, 0.03, &|_| Event::SessionFileRestored);
    draw(rng, 0.02, &|_| Event::StoreRestored);
    draw(rng, 0.03, &|rng| {
        Event::ClockSet(rng.usize(..machines), step(rng), rng.u64(MINUTE..12 * HOUR))
    });
    draw(rng, 0.05, &|rng| {
        let most = if rng.bool() { 8 * HOUR } else { 20 * MINUTE };
        Event::Suspended(rng.usize(..machines), rng.u64(MINUTE..most))
    });
    draw(rng, 0.1, &|rng| {
        Event::ServerDown(rng.u64(MINUTE..2 * HOUR))
    });
    draw(rng, 0.1, &|rng| {
        Event::NetworkDown(rng.usize(..machines), rng.u64(MINUTE..3 * HOUR))
    });
    for code in ["full", "read-only", "permission-denied"] {
        draw(rng, 0.2, &|rng| {
            let most = if rng.u8(..4) > 0 {
                MINUTE
            } else {
                LONGEST_DISK_OUTAGE
            };
            Event::DiskRefuses(code, rng.u64(SECOND..most))
        });
    }
    draw(rng, 0.2, &|rng| {
        Event::DiskUnreadable(rng.u64(SECOND..5 * MINUTE))
    });
    draw(rng, 0.2, &|rng| Event::SinkDown(rng.u64(MINUTE..12 * HOUR)));
}

/// How wrong a clock is set: mostly by minutes.
fn step(rng: &mut Rng) -> i64 {
    let most = rng.choice([10, 10, 10, 600]).unwrap_or(10) * 60_000;
    rng.i64(-most..most)
}
