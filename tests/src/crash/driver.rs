//! Starts workers, kills them, looks at what they left, and keeps the account.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use fake_procore::{Commit, Options, Recorded, Rotation, VirtualClock};
use procore_auth_host::Connection;
use tempfile::TempDir;

use super::{
    account::{self, Death, Post},
    events::Events,
    look::Look,
    process::{Process, Program},
    report::{Phase, Report},
    worker::WORKER,
    workplace::Workplace,
};
use crate::{
    Rig,
    fast_clock::{FastClock, Pace},
    rig::{SANDBOX, fake},
};

/// The alerts that belong to a run: a lost reply that turned out to be lost for good, and a token that the API refused twice.
const EXPECTED_ALERTS: [&str; 2] = ["invalid_grant", "token-rejected"];

/// How many codes may run out on a busy machine before that is a failure.
const TRIES_TO_SIGN_IN: usize = 50;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The worker's program.
    pub worker: PathBuf,
    /// How many processes share the store.
    pub processes: usize,
    /// How many of them are killed, one after the other.
    pub kills: usize,
    /// What the server does with a refresh token that was used.
    pub rotation: Rotation,
    /// Decides who is killed when. What the system makes of it is not the same twice.
    pub seed: u64,
    /// How many times faster than real the time of server and workers runs.
    pub speed: u64,
    /// The mean pause between two kills.
    pub pause: Duration,
    /// How long an access token lives, by their clocks.
    pub lifetime: Duration,
    /// How long they work at least, by their clocks.
    pub lasting: Duration,
}

impl Plan {
    /// The shortest lifetime that is believed: as many refreshes as there can be.
    pub const SHORTEST_LIFETIME: Duration = Duration::from_secs(60);
}

/// Runs the plan. Fails at the first breach, with its evidence and the seed.
pub async fn run(plan: Plan) -> Result<Report, String> {
    let seed = plan.seed;
    let mut driver = Driver::start(plan).await;
    let outcome = driver.run().await;
    match outcome {
        Ok(()) => Ok(driver.report),
        Err(breach) => Err(format!("seed {seed}: {breach}\n{}", driver.report)),
    }
}

struct Driver {
    plan: Plan,
    rig: Rig,
    home: TempDir,
    program: Program,
    pace: Pace,
    /// The person who signs in where that is needed.
    person: Connection,
    processes: Vec<Process>,
    started: HashMap<String, u64>,
    /// How many workers were started so far.
    births: usize,
    dice: fastrand::Rng,
    events: Events,
    deaths: HashMap<String, Death>,
    report: Report,
    began: Instant,
}

impl Driver {
    async fn start(plan: Plan) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let pace = Pace::start(plan.speed);
        let mut options = Options {
            time: pace.time_source(),
            seed: plan.seed,
            ..Options::demo()
        };
        options.policy.rotation = plan.rotation;
        options.policy.lifetime_seconds = plan.lifetime.as_secs();
        options.policy.rate_limit.hourly = u32::MAX;
        let rig = Rig::with(options, VirtualClock::at(0)).await;
        let (workplace, file) = Workplace::prepare(home.path(), &rig, pace);
        let program = Program {
            path: plan.worker.clone(),
            workplace: file,
        };
        let person = rig
            .builder(Rig::settings(SANDBOX))
            .store(Arc::new(workplace.open_store()))
            .clock(Arc::new(FastClock::new(pace)))
            .actor("person")
            .build()
            .expect("complete");
        Self {
            report: Report {
                processes: plan.processes,
                seed: plan.seed,
                ..Report::default()
            },
            dice: fastrand::Rng::with_seed(plan.seed),
            events: Events::of(workplace.journal),
            plan,
            rig,
            home,
            program,
            pace,
            person,
            processes: Vec::new(),
            started: HashMap::new(),
            births: 0,
            deaths: HashMap::new(),
            began: Instant::now(),
        }
    }

    async fn run(&mut self) -> Result<(), String> {
        self.sign_in_the_person().await;
        for _ in 0..self.plan.processes {
            let process = self.birth();
            self.processes.push(process);
        }
        self.began = Instant::now();
        let end = self.pace.now() + self.plan.lasting.as_millis() as u64;
        for _ in 0..self.plan.kills {
            let twice_the_mean = self.plan.pause.as_micros() as u64 * 2;
            let pause = Duration::from_micros(self.dice.u64(0..=twice_the_mean));
            tokio::time::sleep(pause).await;
            let must_sign_in = self.kill_one()?;
            if must_sign_in {
                self.sign_in().await;
            }
        }
        while self.pace.now() < end {
            let left = Duration::from_millis(end - self.pace.now());
            let speed = u32::try_from(self.plan.speed).expect("small");
            tokio::time::sleep(left / speed + Duration::from_millis(1)).await;
        }
        self.come_to_rest().await?;
        self.settle()
    }

    /// Kills a worker, looks at what it left, and starts another in its place. Returns whether a person must sign in.
    fn kill_one(&mut self) -> Result<bool, String> {
        // Where all stand still before, the look is what the killed one left, exactly. Otherwise the kill comes as it does in life.
        let in_step = self.dice.bool();
        if in_step {
            self.processes.iter().for_each(Process::freeze);
        }
        let victim = self.choose_victim();
        let at = self.pace.now();
        let victim = self.processes.swap_remove(victim);
        let name = victim.name.clone();
        victim.kill();
        if !in_step {
            self.processes.iter().for_each(Process::freeze);
        }
        let look = self.look();
        let phase = self.phase(&name, look.as_ref().ok());
        self.processes.iter().for_each(Process::thaw);
        let look = look?;
        *self.report.kills.entry(phase).or_default() += 1;
        let must_sign_in = look.has_verdict();
        let looked_at = self.pace.now();
        let death = Death {
            at,
            looked_at,
            look,
        };
        self.deaths.insert(name, death);
        if let Some(ended) = self
            .processes
            .iter_mut()
            .find_map(|process| process.has_ended().then_some(&process.name))
        {
            return Err(format!("{ended} ended by itself"));
        }
        let next = self.birth();
        self.processes.push(next);
        Ok(must_sign_in)
    }

    /// Chooses anyone, or the one that is in the middle of a refresh.
    fn choose_victim(&mut self) -> usize {
        let look = Look::at(&self.folder()).ok();
        let refreshing = look.as_ref().and_then(Look::intent_by);
        let refreshing = self
            .processes
            .iter()
            .position(|process| Some(process.name.as_str()) == refreshing);
        let anyone = self.dice.usize(0..self.processes.len());
        if self.dice.bool() {
            refreshing.unwrap_or(anyone)
        } else {
            anyone
        }
    }

    /// Looks at the files, and checks that the newest refresh token is there or its absence is known. Nobody writes meanwhile.
    fn look(&mut self) -> Result<Look, String> {
        self.events.read()?;
        let look = Look::at(&self.folder())?;
        self.report.most_leftovers = self.report.most_leftovers.max(look.leftovers);
        if !self.is_accounted_for(&look) {
            self.report.lost += 1;
            let outline = look.outline();
            return Err(format!("the newest refresh token is lost: {outline}"));
        }
        Ok(look)
    }

    /// Whether the store has a refresh token that the server accepts, or says why not.
    fn is_accounted_for(&self, look: &Look) -> bool {
        // In grace mode a late request of a killed process may bring a newer one that nobody gets, and this one goes on living.
        if self.is_live(look) {
            return true;
        }
        let Some(newest) = self.rig.procore.newest_refresh_token(fake(SANDBOX)) else {
            return look.has_verdict();
        };
        let told = |spent: String| look.intends(&spent) || look.has_given_up(&spent);
        look.holds(&newest) || self.spent_for(&newest).is_some_and(told)
    }

    /// Whether the store's current refresh token is one that the server accepts.
    fn is_live(&self, look: &Look) -> bool {
        let current = look.refresh_token();
        current.is_some_and(|it| self.rig.procore.refresh_token_is_live(fake(SANDBOX), it))
    }

    /// Returns the refresh token that was spent for this one; none where it came with a sign-in.
    fn spent_for(&self, refresh_token: &str) -> Option<String> {
        let posts = self.posts();
        let mut spent = posts.iter().rev().filter(|post| post.committed);
        spent
            .find(|post| {
                let successor = self.rig.procore.successor_of(fake(SANDBOX), &post.token);
                successor.as_deref() == Some(refresh_token)
            })
            .map(|post| post.token.clone())
    }

    fn phase(&self, name: &str, look: Option<&Look>) -> Phase {
        if !self.events.ready.contains_key(name) {
            return Phase::Starting;
        }
        let Some(look) = look.filter(|look| look.intent_by() == Some(name)) else {
            return Phase::BetweenRefreshes;
        };
        if look.has_reply() {
            return Phase::ReplySaved;
        }
        let posts = self.posts();
        match posts
            .iter()
            .rev()
            .find(|post| post.by == name && look.intends(&post.token))
        {
            None => Phase::Intent,
            Some(post) if look.will_leave(&post.token) => Phase::ReplyWritten,
            Some(post) if post.committed => Phase::Committed,
            Some(_) => Phase::Asked,
        }
    }

    async fn sign_in(&mut self) {
        self.sign_in_the_person().await;
        self.report.sign_ins += 1;
    }

    /// The ten minutes for which a code lives are ten milliseconds at the greatest speed. Whoever is too late begins again.
    async fn sign_in_the_person(&self) {
        for _ in 0..TRIES_TO_SIGN_IN {
            match self.rig.try_to_sign_in(&self.person).await {
                Ok(()) => return,
                Err(error) => assert_eq!(error.code(), "invalid_grant", "{error}"),
            }
        }
        panic!("{TRIES_TO_SIGN_IN} codes ran out before they were exchanged");
    }

    /// Ends all workers well, and finishes what the killed ones began.
    async fn come_to_rest(&mut self) -> Result<(), String> {
        for process in self.processes.drain(..) {
            let name = process.name.clone();
            if !process.end() {
                return Err(format!("{name} did not end well"));
            }
        }
        self.report.elapsed = self.began.elapsed();
        if self.person.access_token().await.is_err() {
            self.sign_in().await;
        }
        self.person
            .access_token()
            .await
            .map_err(|error| format!("at rest: {error}"))?;
        let look = self.look()?;
        if self.is_live(&look) && look.intent_by().is_none() && !look.has_reply() {
            Ok(())
        } else {
            Err(format!("not at rest: {}", look.outline()))
        }
    }

    /// Closes the account.
    fn settle(&mut self) -> Result<(), String> {
        let posts = self.posts();
        let account = account::settle(&posts, &self.deaths);
        self.report.start = median(self.starts());
        let report = &mut self.report;
        report.posts = posts.len();
        report.refreshes = posts.iter().filter(|post| post.committed).count();
        report.windows = account.windows;
        report.double_refreshes = account.double_refreshes.len();
        report.alerts = self.events.alerts.clone();
        for alert in self.rig.journal.alerts() {
            *report.alerts.entry(alert.code).or_default() += 1;
        }
        report.errors = self.events.errors.clone();
        report.interruptions_told = self
            .events
            .others
            .get("interrupted-refresh")
            .copied()
            .unwrap_or_default();
        self.judge(&account.double_refreshes)
    }

    fn judge(&self, double_refreshes: &[String]) -> Result<(), String> {
        let report = &self.report;
        if !double_refreshes.is_empty() {
            return Err(format!("double refreshes: {}", double_refreshes.join("; ")));
        }
        let unexpected = report.alerts.keys().chain(report.errors.keys());
        if let Some(code) = unexpected
            .into_iter()
            .find(|code| !EXPECTED_ALERTS.contains(&code.as_str()))
        {
            return Err(format!("an unexpected {code}"));
        }
        let told = report
            .alerts
            .get("invalid_grant")
            .copied()
            .unwrap_or_default();
        let strict = self.plan.rotation == Rotation::Strict;
        if strict && (told < report.windows || report.sign_ins != report.windows) {
            return Err(format!(
                "{} lost replies, {told} alerts, {} sign-ins",
                report.windows, report.sign_ins
            ));
        }
        if !strict && (told, report.sign_ins) != (0, 0) {
            return Err(format!(
                "{told} alerts and {} sign-ins in spite of the grace",
                report.sign_ins
            ));
        }
        if report.interruptions_told < report.windows {
            return Err(format!(
                "{} lost replies, {} were told",
                report.windows, report.interruptions_told
            ));
        }
        if report.most_leftovers > self.plan.processes {
            return Err(format!("{} leftover files", report.most_leftovers));
        }
        Ok(())
    }

    fn birth(&mut self) -> Process {
        self.births += 1;
        let name = format!("worker-{}", self.births);
        self.started.insert(name.clone(), self.pace.now());
        Process::start(&self.program, name, self.dice.u64(..))
    }

    /// Returns all requests with a refresh token that reached the server, in the order in which they arrived.
    fn posts(&self) -> Vec<Post> {
        let requests = self.rig.procore.requests();
        requests.iter().filter_map(post).collect()
    }

    /// Returns how long each worker took to begin.
    fn starts(&self) -> Vec<Duration> {
        let ready = self.events.ready.iter();
        let took = ready.filter_map(|(name, at)| Some(at.saturating_sub(*self.started.get(name)?)));
        took.map(|milliseconds| {
            Duration::from_millis(milliseconds) / u32::try_from(self.plan.speed).expect("small")
        })
        .collect()
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("store/acme")
    }
}

fn post(request: &Recorded) -> Option<Post> {
    let token = request
        .refresh_token()
        .filter(|_| request.is_token_post())?;
    Some(Post {
        by: request.header(WORKER).unwrap_or("person").to_owned(),
        token: token.to_owned(),
        at: request.at_ms,
        committed: request.commit == Some(Commit::Rotation),
    })
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all.get(all.len() / 2).copied().unwrap_or_default()
}
