//! Programs that share a folder, one step at a time: whose turn it is and how long a step takes is drawn from a seed.

use std::{
    collections::BTreeMap,
    mem,
    rc::Rc,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use procore_auth_lending::StoreFailure;

use super::{Ground, LONGEST_PAUSE, Lease, MARGIN, TERM, millis};

/// The moment at which the clock starts.
const START: u64 = 1_795_392_000_000;

/// The wait that a request announces.
const REQUEST: Duration = Duration::from_secs(30);

/// How long a program waits for the lease.
const PATIENCE: Duration = Duration::from_secs(600);

/// A folder and a clock, and the programs that use them.
struct World {
    state: Mutex<State>,
    turn: Condvar,
}

struct State {
    random: fastrand::Rng,
    now: u64,
    /// When each program goes on; `None` where it has ended.
    programs: Vec<Option<u64>>,
    running: usize,
    /// The files by their names: a file that was removed can still be written.
    names: BTreeMap<String, usize>,
    files: Vec<(Vec<u8>, u64)>,
    /// Until when the last request is at the server, whatever becomes of its sender.
    sending_until: u64,
    sent: usize,
    violations: usize,
}

/// One program's view.
struct Program {
    world: Arc<World>,
    id: usize,
    life: Life,
}

/// What becomes of a program.
#[derive(Clone, Copy)]
struct Life {
    /// In a thousand steps: how often it is stopped for long, and how often it dies.
    stops: u32,
    deaths: u32,
    /// How often it takes the lease.
    rounds: usize,
}

impl Life {
    const ONCE: Self = Self {
        stops: 0,
        deaths: 0,
        rounds: 1,
    };
}

impl World {
    fn new(seed: u64, programs: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                random: fastrand::Rng::with_seed(seed),
                now: START,
                programs: vec![Some(START); programs],
                running: 0,
                names: BTreeMap::new(),
                files: Vec::new(),
                sending_until: 0,
                sent: 0,
                violations: 0,
            }),
            turn: Condvar::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }
}

impl State {
    /// Draws whose turn is next; time passes where nobody's has come.
    fn choose(&mut self) {
        let Some(next) = self.programs.iter().flatten().min() else {
            return;
        };
        self.now = self.now.max(*next);
        let ready: Vec<_> = (0..self.programs.len())
            .filter(|id| self.programs[*id].is_some_and(|at| at <= self.now))
            .collect();
        self.running = ready[self.random.usize(..ready.len())];
    }
}

impl Program {
    /// Waits for its first turn.
    fn begin(&self) {
        let state = self.world.state();
        let waited = self
            .world
            .turn
            .wait_while(state, |state| state.running != self.id);
        drop(waited.expect("no panic"));
    }

    /// Lets others go on, for `span` at least. Returns the world at its next turn; `None` where it does not live to see it.
    fn pass(&self, span: Duration) -> Option<MutexGuard<'_, State>> {
        let mut state = self.world.state();
        state.programs[self.id]?;
        let mut span = millis(span);
        let draw = state.random.u32(..1000);
        if draw < self.life.deaths {
            self.leave(state);
            return None;
        }
        if draw < self.life.deaths + self.life.stops {
            span += state.random.u64(..180_000);
        }
        span += state.random.u64(..3);
        state.programs[self.id] = Some(state.now + span);
        state.choose();
        self.world.turn.notify_all();
        let waited = self
            .world
            .turn
            .wait_while(state, |state| state.running != self.id);
        Some(waited.expect("no panic"))
    }

    fn leave(&self, mut state: MutexGuard<'_, State>) {
        state.programs[self.id] = None;
        state.choose();
        self.world.turn.notify_all();
    }

    fn step(&self) -> Result<MutexGuard<'_, State>, StoreFailure> {
        self.pass(Duration::ZERO).ok_or_else(died)
    }

    /// Takes the lease again and again, and sends a request each time that it may.
    fn live(self: &Rc<Self>) -> Result<(), StoreFailure> {
        self.begin();
        for _ in 0..self.life.rounds {
            if let Some(mut lease) = Lease::acquire(self, PATIENCE)?
                && lease.extend(REQUEST)?
            {
                self.send()?;
            }
            drop(self.step()?);
        }
        Ok(())
    }

    fn send(&self) -> Result<(), StoreFailure> {
        let mut state = self.world.state();
        if state.programs[self.id].is_none() {
            return Err(died());
        }
        state.sent += 1;
        state.violations += usize::from(state.now < state.sending_until);
        let wait = Duration::from_millis(state.random.u64(..millis(REQUEST)));
        state.sending_until = state.now + millis(wait);
        drop(state);
        self.pass(wait).map(drop).ok_or_else(died)
    }
}

impl Ground for Program {
    type File = usize;

    fn names(&self) -> Result<Vec<String>, StoreFailure> {
        Ok(self.step()?.names.keys().cloned().collect())
    }

    fn read(&self, name: &str, _: usize) -> Result<Option<Vec<u8>>, StoreFailure> {
        let state = self.step()?;
        let file = state.names.get(name);
        Ok(file.map(|file| state.files[*file].0.clone()))
    }

    fn changed(&self, name: &str) -> Option<u64> {
        let state = self.step().ok()?;
        let file = state.names.get(name)?;
        Some(state.files[*file].1)
    }

    fn create_new(&self, name: &str) -> Result<Option<usize>, StoreFailure> {
        let mut state = self.step()?;
        if state.names.contains_key(name) {
            return Ok(None);
        }
        let (file, now) = (state.files.len(), state.now);
        state.files.push((Vec::new(), now));
        state.names.insert(name.to_owned(), file);
        Ok(Some(file))
    }

    fn write(&self, file: &usize, bytes: &[u8]) -> Result<(), StoreFailure> {
        let mut state = self.step()?;
        let now = state.now;
        state.files[*file] = (bytes.to_vec(), now);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StoreFailure> {
        self.step()?.names.remove(name);
        Ok(())
    }

    fn now(&self) -> u64 {
        drop(self.step());
        self.world.state().now
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.world.state().now)
    }

    fn sleep(&self, span: Duration) {
        let _ = self.pass(span);
    }

    fn nonce(&self) -> String {
        format!("{:016x}", self.world.state().random.u64(..))
    }
}

fn died() -> StoreFailure {
    StoreFailure::new("io", "died")
}

/// Returns how many requests were sent, and how many while another one was under way.
fn run(seed: u64, programs: usize, life: Life) -> (usize, usize) {
    let world = World::new(seed, programs);
    world.state().choose();
    thread::scope(|scope| {
        for id in 0..programs {
            let world = Arc::clone(&world);
            scope.spawn(move || {
                let program = Rc::new(Program { world, id, life });
                if program.live().is_ok() {
                    program.leave(program.world.state());
                }
            });
        }
    });
    let state = world.state();
    (state.sent, state.violations)
}

#[test]
fn one_sends_at_a_time_however_long_programs_are_stopped_and_whenever_they_die() {
    let mut sent = 0;
    for seed in 0..300 {
        let life = Life {
            stops: 40,
            deaths: seed % 3,
            rounds: 20,
        };
        let (of_seed, violations) = run(u64::from(seed), 2 + seed as usize % 4, life);
        assert_eq!(violations, 0, "seed {seed}");
        sent += of_seed;
    }
    assert!(sent > 1000, "{sent} requests");
}

#[test]
fn each_of_ten_gets_its_turn() {
    for seed in 0..20 {
        assert_eq!(run(seed, 10, Life::ONCE), (10, 0), "seed {seed}");
    }
}

/// A world with one program, for what needs no second one at the same time.
fn alone() -> Rc<Program> {
    Rc::new(Program {
        world: World::new(0, 1),
        id: 0,
        life: Life::ONCE,
    })
}

#[test]
fn the_dead_are_followed_after_the_wait_they_announced_and_a_minute() {
    let (ground, hour) = (alone(), Duration::from_secs(3600));
    let acquire = |wait| Lease::acquire(&ground, wait).expect("works");
    for announced in [Duration::ZERO, REQUEST] {
        let mut lease = acquire(hour).expect("free");
        assert!(lease.extend(announced).expect("works"));
        let died = ground.elapsed();
        mem::forget(lease);
        assert!(acquire(announced + TERM - MARGIN).is_none());
        let next = acquire(hour).expect("it is over");
        assert!(next.followed_the_dead);
        assert!(ground.elapsed() - died <= announced + TERM + LONGEST_PAUSE * 2);
    }
}

#[test]
fn a_clock_that_was_set_back_keeps_nobody_waiting() {
    let ground = alone();
    mem::forget(Lease::acquire(&ground, Duration::ZERO).expect("works"));
    ground.world.state().now -= 86_400_000;
    let next = Lease::acquire(&ground, Duration::ZERO).expect("works");
    assert!(next.is_some());
}

#[test]
fn who_overslept_has_its_lease_where_nobody_followed() {
    let ground = alone();
    let acquire = || Lease::acquire(&ground, Duration::ZERO).expect("works");
    let mut lease = acquire().expect("free");
    drop(ground.pass(TERM * 10));
    assert!(lease.extend(REQUEST).expect("works"));
    assert!(acquire().is_none());
    drop(ground.pass(TERM * 10));
    let next = acquire().expect("it is over");
    assert!(!lease.extend(REQUEST).expect("works"));
    drop(lease);
    assert!(next.is_ours().expect("works"));
}
