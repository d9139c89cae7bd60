//! The network between a simulated process and the fake Procore.

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;
use http::{Method, Request, Response, StatusCode};
use procore_auth_host::{HttpClient, HttpFailure, RequestLimits};

use super::{living, milliseconds};
use crate::simulation::{
    fault::{Call, Fault},
    process::{Process, Step},
    scenario::{Event, SECOND},
    server::{digest, issued},
    trace::Who,
    world::{Dead, World, held},
};

/// The network, as this process reaches it.
pub(crate) struct SimHttp(pub(crate) Arc<Process>);

type Reply = Result<Response<Vec<u8>>, HttpFailure>;

/// What a request to the token endpoint presents.
#[derive(Debug, Clone)]
pub(crate) struct Presented {
    /// The refresh token; `None` for an authorization code.
    pub(crate) refresh_token: Option<String>,
    /// The words by which an intent names what is spent.
    pub(crate) spends: String,
}

impl Presented {
    fn read(request: &Request<Vec<u8>>) -> Option<Self> {
        if request.uri().path() != "/oauth/token" {
            return None;
        }
        let mut presented = None;
        for (name, value) in url::form_urlencoded::parse(request.body()) {
            match &*name {
                "refresh_token" => {
                    presented = Some(Self {
                        spends: format!("\"refresh-token:{}\"", digest(&value)),
                        refresh_token: Some(value.into_owned()),
                    });
                }
                "code" => {
                    presented = Some(Self {
                        spends: format!("\"code:{}\"", digest(&value)),
                        refresh_token: None,
                    });
                }
                _ => {}
            }
        }
        presented
    }
}

#[async_trait]
impl HttpClient for SimHttp {
    async fn send(&self, request: Request<Vec<u8>>, limits: RequestLimits) -> Reply {
        living(self.exchange(request, milliseconds(limits.timeout)).await)
    }
}

fn failed(code: &'static str, sent: bool) -> Reply {
    Err(HttpFailure::new(code, "simulated", sent))
}

fn page(status: u16, kind: &str, body: &str) -> Response<Vec<u8>> {
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .body(body.as_bytes().to_vec())
        .expect("a reply")
}

impl SimHttp {
    /// Sends a request and waits for what comes of it, at most `timeout` milliseconds.
    pub(crate) async fn exchange(
        &self,
        request: Request<Vec<u8>>,
        timeout: u64,
    ) -> Result<Reply, Dead> {
        let process = &self.0;
        let presented = Presented::read(&request);
        let call = if presented.is_some() {
            Call::TokenPost
        } else {
            Call::Request
        };
        let mut step = process.enter(call).await?;
        if self.network_is_down() {
            return Ok(failed("connect", false));
        }
        if step.fault == Some(Fault::NotSent) {
            process.hit(&step);
            return Ok(failed("connect", false));
        }
        let under_way = presented
            .as_ref()
            .map(|presented| UnderWay::begin(process, presented));
        let reply = self
            .deliver(&mut step, request, presented.as_ref(), timeout)
            .await?;
        if let Some(under_way) = under_way {
            under_way.end(&reply);
        }
        process.leave(&step)?;
        Ok(reply)
    }

    async fn deliver(
        &self,
        step: &mut Step,
        request: Request<Vec<u8>>,
        presented: Option<&Presented>,
        timeout: u64,
    ) -> Result<Reply, Dead> {
        let process = &self.0;
        let (up, down) = (latency(step), latency(step));
        match step.fault {
            Some(Fault::RequestLost) => {
                process.hit(step);
                process.rest(timeout).await?;
                return Ok(failed("timeout", true));
            }
            Some(Fault::RequestLate) => {
                process.hit(step);
                let late = timeout + step.rng.u64(SECOND..60 * SECOND);
                self.deliver_late(late, request, presented.cloned());
                process.rest(timeout).await?;
                return Ok(failed("timeout", true));
            }
            _ => {}
        }
        process.rest(up).await?;
        let instead = match step.fault {
            Some(Fault::GatewayBefore) => Some(page(502, "text/html", "<html>502</html>")),
            Some(Fault::Portal) => Some(page(200, "text/html", "<html>Welcome</html>")),
            Some(Fault::TooMany) => {
                let mut reply = page(429, "application/json", r#"{"errors":"too many"}"#);
                let seconds = step.rng.u32(1..900);
                reply.headers_mut().insert("retry-after", seconds.into());
                Some(reply)
            }
            _ => None,
        };
        if let Some(reply) = instead {
            process.hit(step);
            process.rest(down).await?;
            return Ok(Ok(reply));
        }
        let mut reply = handle(&process.world, Some(process.who), request, presented);
        match step.fault {
            Some(Fault::ReplyLost) => {
                process.hit(step);
                process.rest(down).await?;
                return Ok(failed("connection-closed", true));
            }
            Some(Fault::ReplyLate) => {
                process.hit(step);
                process.rest(timeout.saturating_sub(up)).await?;
                return Ok(failed("timeout", true));
            }
            Some(Fault::GatewayAfter) => {
                process.hit(step);
                reply = page(504, "text/html", "<html>504</html>");
            }
            Some(Fault::Garbled) => {
                process.hit(step);
                reply.body_mut().splice(0..0, *b")]}',\n");
            }
            Some(Fault::CutOff) => {
                process.hit(step);
                let end = step.rng.usize(..reply.body().len().max(1));
                reply.body_mut().truncate(end);
            }
            _ => {}
        }
        process.rest(down).await?;
        Ok(Ok(reply))
    }

    /// Lets the request arrive though its sender has given up, or is dead.
    fn deliver_late(&self, late: u64, request: Request<Vec<u8>>, presented: Option<Presented>) {
        let world = Arc::clone(&self.0.world);
        let at = world.agenda.book(world.now() + late);
        tokio::spawn(async move {
            world.agenda.reach(at).await;
            handle(&world, None, request, presented.as_ref());
        });
    }

    fn network_is_down(&self) -> bool {
        let world = &self.0.world;
        let mine = world.scenario.actors[usize::from(self.0.who.actor)].machine;
        world
            .scenario
            .is_under_way(world.now(), |event| match event {
                Event::NetworkDown(machine, span) if machine == mine => Some(span),
                _ => None,
            })
    }
}

/// Has the server handle a request. `carrier` is the process to which the reply is on its way, if any.
fn handle(
    world: &World,
    carrier: Option<Who>,
    request: Request<Vec<u8>>,
    presented: Option<&Presented>,
) -> Response<Vec<u8>> {
    let down = world
        .scenario
        .is_under_way(world.now(), |event| match event {
            Event::ServerDown(span) => Some(span),
            _ => None,
        });
    if down {
        return page(503, "text/html", "<html>503</html>");
    }
    let project = named_project(&request);
    let handled = world.server.handle(world.now(), request);
    if let Some(name) = project.filter(|_| handled.response.status() == StatusCode::CREATED) {
        world.note_about(carrier, "the API executes", &name);
        world.judge(carrier, |oracle, _| oracle.work.on_executed(&name));
    }
    if let Some(presented) = presented {
        let status = handled.response.status().as_u16();
        world.note_line(carrier, "token endpoint answers", None, Some(status.into()));
        if let Some(issued) = issued(&handled) {
            let mut tally = held(&world.tally);
            match presented.refresh_token {
                Some(_) => tally.refreshes += 1,
                None => tally.sign_ins += 1,
            }
            drop(tally);
            world.judge(carrier, |oracle, sight| {
                oracle.on_commit(sight, carrier, presented, issued)
            });
        }
    }
    handled.response
}

/// Returns the name of the project that a request is to create.
fn named_project(request: &Request<Vec<u8>>) -> Option<String> {
    if request.method() != Method::POST || request.uri().path() == "/oauth/token" {
        return None;
    }
    let body: serde_json::Value = serde_json::from_slice(request.body()).ok()?;
    Some(body["project"]["name"].as_str()?.to_owned())
}

/// Mostly a quick network, sometimes a slow one.
fn latency(step: &mut Step) -> u64 {
    match step.rng.u8(..20) {
        0 => step.rng.u64(2 * SECOND..12 * SECOND),
        1..6 => step.rng.u64(200..2 * SECOND),
        _ => step.rng.u64(15..200),
    }
}

/// A request to the token endpoint that is under way. It ends also where nobody waits for it any more.
struct UnderWay {
    process: Arc<Process>,
    ended: bool,
}

impl UnderWay {
    fn begin(process: &Arc<Process>, presented: &Presented) -> Self {
        process.asked.store(true, Ordering::Relaxed);
        let who = process.who;
        let world = &process.world;
        world.note(
            Some(who),
            match presented.refresh_token {
                Some(_) => "POSTs a refresh token",
                None => "POSTs a code",
            },
        );
        held(&world.tally).token_posts += 1;
        let needs = held(&process.needs).clone();
        let wall = process.wall();
        world.judge(Some(who), |oracle, sight| {
            oracle.on_post(sight, who, presented, &needs, wall)
        });
        Self {
            process: Arc::clone(process),
            ended: false,
        }
    }

    fn end(mut self, reply: &Reply) {
        self.ended = true;
        let process = &self.process;
        let body = reply.as_ref().ok().map(Response::body);
        let refused =
            body.is_some_and(|body| body.windows(13).any(|part| part == b"invalid_grant"));
        process.refused.store(refused, Ordering::Relaxed);
        process.world.judge(Some(process.who), |oracle, sight| {
            oracle.on_reply(sight, process.who, body.map_or(&[], Vec::as_slice))
        });
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.ended {
            let process = &self.process;
            process.world.judge(Some(process.who), |oracle, sight| {
                oracle.on_reply(sight, process.who, &[])
            });
        }
    }
}
