//! Those who use the connection: agents, a keeper, a cron job, somebody at a terminal, and the person who signs in.

mod admin;
mod agent;
mod keeper;
mod visitor;

use std::sync::Arc;

use fake_procore::Options;
use procore_auth_host::{AccessToken, ApiRequest, Connection, Error, Outcome};

use self::{admin::Admin, agent::Agent, keeper::Keeper, visitor::Visitor};
use super::{
    capabilities::{SimHttp, SimSink},
    chance::Stream,
    oracle::{Served, without_token_after_the_calm},
    process::{DELIVERING, Need, Process},
    scenario::{MINUTE, Role, SECOND},
    trace::Who,
    world::{Dead, World, held},
};

/// How an actor came out of the calm at the end: whether the API accepted its token; `None` where it asks for none.
pub(crate) type Exam = Option<Result<(), String>>;

/// Lives the whole run of one actor, one process after the other.
pub(crate) async fn live(world: Arc<World>, number: u16) -> Exam {
    match world.scenario.actors[usize::from(number)].role {
        Role::Agent => lives(&world, number, Agent).await,
        Role::Keeper => lives(&world, number, Keeper).await,
        Role::Cron => lives(&world, number, Visitor::cron()).await,
        Role::Tool => lives(&world, number, Visitor::tool()).await,
        Role::Admin => lives(&world, number, Admin::default()).await,
    }
}

/// Replays what is parked once more, when all is calm and somebody is signed in.
pub(crate) async fn replay_the_rest(world: &Arc<World>) {
    let who = Who {
        actor: world.admin(),
        life: u32::MAX,
    };
    let process = Process::start(world, who);
    let connection = process.connect();
    let replayed = process.want(Need::Use, connection.replay(None)).await;
    let left = match replayed {
        Ok(_) => connection.parked().await,
        Err(error) => Err(error),
    };
    match left {
        Ok(left) => world.judge(Some(who), |oracle, _| oracle.work.on_end(&left)),
        Err(error) => world.judge(Some(who), |_, _| {
            without_token_after_the_calm(format!("nothing can be replayed: {}", error.code()))
        }),
    }
    process.end();
}

/// Delivers the alerts that still wait, when all is calm.
pub(crate) async fn deliver_the_rest(world: &Arc<World>) {
    let who = Who {
        actor: world.admin(),
        life: u32::MAX - 1,
    };
    let process = Process::start(world, who);
    let courier = process.courier();
    courier.works_again(&SimSink::name()).await;
    courier.drain(DELIVERING).await;
    world.judge(Some(who), |oracle, _| oracle.deliveries.on_end());
    process.end();
}

/// What an actor does with a life. It ends with the process, or when the actor wants a new one.
trait Habit {
    /// Spends one life. Returns how long it is until the next one begins.
    async fn spend(&mut self, process: &Arc<Process>) -> Result<u64, Dead>;

    /// Whether it uses tokens, and must come back to one.
    fn uses_tokens(&self) -> bool {
        true
    }
}

async fn lives(world: &Arc<World>, number: u16, mut habit: impl Habit) -> Exam {
    let mut life = 0;
    while world.now() < world.scenario.end {
        let who = Who {
            actor: number,
            life,
        };
        let process = Process::start(world, who);
        let mut rng = process.stream(Stream::Habit, u32::MAX);
        let pause = match habit.spend(&process).await {
            Ok(pause) => {
                process.save().await;
                pause
            }
            // Somebody starts it again.
            Err(Dead) => rng.u64(2 * SECOND..2 * MINUTE),
        };
        process.end();
        let at = process.machine().after(world.now(), pause);
        world
            .agenda
            .until(at.min(world.scenario.end.max(world.now())))
            .await;
        life += 1;
    }
    if !habit.uses_tokens() {
        return None;
    }
    let process = Process::start(
        world,
        Who {
            actor: number,
            life,
        },
    );
    let mut user = User::new(&process, true);
    match user.call().await {
        Ok(Ok(())) => Some(Ok(())),
        Ok(Err(Refused::NoToken(error))) => Some(Err(error.code().to_owned())),
        Ok(Err(Refused::Api(status))) => Some(Err(format!("the API answers {status:?}"))),
        Err(Dead) => Some(Err("it died in the calm".to_owned())),
    }
}

/// One that calls the API with tokens of its connection.
struct User {
    process: Arc<Process>,
    connection: Connection,
    /// What it was served last.
    served: Served,
    /// When that is due for a refresh.
    due: u64,
    /// Whether it remembers nothing, and so takes what is stored.
    fresh: bool,
}

/// Why a call of the API did not work.
enum Refused {
    NoToken(Error),
    /// With this status; `None` for no answer.
    Api(Option<u16>),
}

impl User {
    fn new(process: &Arc<Process>, fresh: bool) -> Self {
        Self {
            process: Arc::clone(process),
            connection: process.connect(),
            served: Served::default(),
            due: 0,
            fresh,
        }
    }

    /// Returns how long it takes until the token is due that was served last, and a little more.
    fn until_due(&self, more: u64) -> u64 {
        let process = &self.process;
        let left = process.machine().until(process.world.now(), self.due);
        left.max(SECOND) + more
    }

    /// Gets a token, calls the API, and does it once more with another token after a 401.
    async fn call(&mut self) -> Result<Result<(), Refused>, Dead> {
        let token = match self.token(None).await? {
            Ok(token) => token,
            Err(error) => return Ok(Err(Refused::NoToken(error))),
        };
        match self.get_me(&token).await? {
            Some(401) => {}
            Some(200) => return Ok(Ok(())),
            other => return Ok(Err(Refused::Api(other))),
        }
        let token = match self.token(Some(&token)).await? {
            Ok(token) => token,
            Err(error) => return Ok(Err(Refused::NoToken(error))),
        };
        match self.get_me(&token).await? {
            Some(200) => Ok(Ok(())),
            other => Ok(Err(Refused::Api(other))),
        }
    }

    /// Gets a token, in place of a rejected one if there is any.
    async fn token(
        &mut self,
        rejected: Option<&AccessToken>,
    ) -> Result<Result<AccessToken, Error>, Dead> {
        let process = Arc::clone(&self.process);
        let (world, who) = (&process.world, Some(process.who));
        let mut least = self.served;
        if std::mem::take(&mut self.fresh) {
            world.judge(who, |oracle, sight| {
                least = oracle.stored_now(sight);
                Ok(())
            });
        }
        let (need, result) = match rejected {
            None => {
                let call = self.connection.access_token();
                (Need::Use, process.want(Need::Use, call).await)
            }
            Some(token) => {
                let call = self.connection.renew_rejected(token.bearer());
                (Need::Renew, process.want(Need::Renew, call).await)
            }
        };
        process.alive()?;
        match &result {
            Ok(token) => {
                let bearer = token.bearer().expose();
                world.judge(who, |oracle, sight| {
                    oracle.on_served(sight, bearer, &mut least)
                });
                self.served = least;
                self.due = token.refresh_at();
            }
            Err(error) => note_failure(&process, need, error),
        }
        Ok(result)
    }

    /// Has the host execute a request, now or later, and never twice.
    async fn work(&mut self, number: u32) -> Result<(), Dead> {
        let process = Arc::clone(&self.process);
        let (world, who) = (&process.world, Some(process.who));
        let name = format!("{}-{number}", process.who);
        let body = format!(r#"{{"project":{{"name":"{name}"}}}}"#);
        let mut request = ApiRequest::new("POST", "/rest/v1.0/projects")
            .header("Content-Type", "application/json")
            .body(body);
        request.company_id = Some(Options::DEMO_COMPANY);
        request.park = true;
        world.oracle().work.on_begun(&name);
        let outcome = process.want(Need::Use, self.connection.send(request)).await;
        process.alive()?;
        match outcome {
            Ok(Outcome::Parked(parked)) => {
                world.note_about(who, "has work parked:", &parked.reason);
                world.oracle().work.on_kept(&name, &parked.id);
            }
            Ok(Outcome::Answered(reply)) => {
                world.note_line(who, "has work answered", None, Some(reply.status.into()));
            }
            Ok(_) => {}
            Err(error) => world.note_about(who, "cannot hand over work:", error.code()),
        }
        Ok(())
    }

    /// Calls the API with a client of its own.
    async fn get_me(&self, token: &AccessToken) -> Result<Option<u16>, Dead> {
        let environment = crate::rig::fake(self.process.world.server.environment);
        let host = environment.api_hosts()[0];
        let request = http::Request::get(format!("https://{host}/rest/v1.0/me"))
            .header(
                "authorization",
                format!("Bearer {}", token.bearer().expose()),
            )
            .body(Vec::new())
            .expect("a request");
        let reply = SimHttp(Arc::clone(&self.process))
            .exchange(request, 60 * SECOND)
            .await?;
        let status = reply.ok().map(|reply| reply.status().as_u16());
        let number = status.map(u64::from);
        self.process
            .world
            .note_line(Some(self.process.who), "the API answers", None, number);
        Ok(status)
    }
}

/// Shows a failure to the oracle, and asks for a person where one is needed.
fn note_failure(process: &Process, need: Need, error: &Error) {
    let world = &process.world;
    world.note_about(Some(process.who), "gets no token:", error.code());
    held(&world.tally).without_token += 1;
    world.judge(Some(process.who), |oracle, sight| {
        oracle.on_failed(sight, need, error)
    });
    if error.is_sign_in_required() {
        want_sign_in(world);
    }
}

fn want_sign_in(world: &World) {
    let now = world.now();
    held(&world.sign_in_wanted).get_or_insert(now);
}
