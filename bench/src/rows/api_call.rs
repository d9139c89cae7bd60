//! A call of the API on the loopback interface, over TLS, to a server in the same process.

use std::{pin::Pin, time::Duration};

use http::HeaderValue;
use procore_auth_host::{
    ApiRequest, Connection, HttpClient as _, HttpsClient, Outcome, RequestLimits, StreamRequest,
};
use procore_auth_tests::{Rig, plugin};

use super::{Bench, builder};
use crate::{
    load::{self, Load},
    table::{Aim, Row, Unit, seconds},
    turns::Turns,
};

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

const PATH: &str = "/rest/v1.0/me";
const URL: &str = "https://sandbox.procore.com/rest/v1.0/me";
/// Of one kind of call in one round.
const SPAN: Duration = Duration::from_secs(1);
const WARM_UP: Duration = Duration::from_millis(300);
const MANY: usize = 64;

const LIMITS: RequestLimits = RequestLimits {
    timeout: Duration::from_secs(60),
    reply_size: 8 << 20,
};

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let rig = bench.rig();
    let connection = bench.runtime.block_on(async {
        let connection = builder(plugin(), &rig).build()?;
        rig.sign_in(&connection).await;
        anyhow::Ok(connection)
    })?;
    let mut rows = Vec::new();
    for callers in [1, MANY] {
        let measured = bench
            .runtime
            .block_on(rounds(bench.rounds, callers, &rig, &connection))?;
        rows.extend(measured.rows(callers));
    }
    Ok(rows)
}

#[derive(Default)]
struct Measured {
    sent: Kind,
    streamed: Kind,
}

/// One kind of call against the client alone.
#[derive(Default)]
struct Kind {
    p50: Turns,
    throughput: Turns,
}

impl Kind {
    fn add(&mut self, ours: &Load, client: &Load) {
        self.p50.add(ours.p50, client.p50);
        self.throughput.add(ours.throughput, client.throughput);
    }
}

async fn rounds(
    rounds: usize,
    callers: usize,
    rig: &Rig,
    connection: &Connection,
) -> anyhow::Result<Measured> {
    let client = Client::of(rig, connection).await?;
    let mut measured = Measured::default();
    warm_up(callers, &client, connection).await;
    for _ in 0..rounds {
        // The server writes down every request.
        rig.procore.clear_requests();
        let sent = load::run(callers, SPAN, || send(connection)).await;
        rig.procore.clear_requests();
        let alone = load::run(callers, SPAN, || client.caller()).await;
        rig.procore.clear_requests();
        let streamed = load::run(callers, SPAN, || stream(connection)).await;
        measured.sent.add(&sent, &alone);
        measured.streamed.add(&streamed, &alone);
    }
    Ok(measured)
}

async fn warm_up(callers: usize, client: &Client, connection: &Connection) {
    load::run(callers, WARM_UP, || client.caller()).await;
    load::run(callers, WARM_UP, || send(connection)).await;
    load::run(callers, WARM_UP, || stream(connection)).await;
}

/// The connection's own client, with a token at hand.
struct Client {
    http: HttpsClient,
    bearer: HeaderValue,
}

impl Client {
    async fn of(rig: &Rig, connection: &Connection) -> anyhow::Result<Self> {
        let token = connection.access_token().await?;
        let bearer = format!("Bearer {}", token.bearer().expose());
        Ok(Self {
            http: rig.http.clone(),
            bearer: bearer.parse()?,
        })
    }

    fn caller(&self) -> impl Fn() -> Call + use<> {
        let (http, bearer) = (self.http.clone(), self.bearer.clone());
        move || {
            let (http, bearer) = (http.clone(), bearer.clone());
            Box::pin(async move {
                let request = http::Request::get(URL).header("authorization", bearer);
                let request = request.body(Vec::new()).expect("a request");
                let reply = http.send(request, LIMITS).await.expect("a reply");
                assert_eq!(reply.status(), 200);
            })
        }
    }
}

fn send(connection: &Connection) -> impl Fn() -> Call + use<> {
    let connection = connection.clone();
    move || {
        let connection = connection.clone();
        Box::pin(async move {
            match connection.send(ApiRequest::get(PATH)).await {
                Ok(Outcome::Answered(reply)) => assert_eq!(reply.status, 200),
                other => panic!("not answered: {other:?}"),
            }
        })
    }
}

fn stream(connection: &Connection) -> impl Fn() -> Call + use<> {
    let connection = connection.clone();
    move || {
        let connection = connection.clone();
        Box::pin(async move {
            let reply = connection.stream(StreamRequest::get(PATH)).await;
            let mut reply = reply.expect("a reply");
            assert_eq!(reply.status, 200);
            while reply.body.chunk().await.expect("it comes").is_some() {}
        })
    }
}

impl Measured {
    fn rows(self, callers: usize) -> Vec<Row> {
        let at = if callers == 1 {
            "1 call at a time".to_owned()
        } else {
            format!("{callers} at a time")
        };
        let kinds = [
            ("`api.send`", 0.7, self.sent),
            ("streamed call", 0.9, self.streamed),
        ];
        let mut rows = Vec::new();
        for (name, least, kind) in kinds {
            rows.push(Row {
                what: format!("{name}, {at}: p50"),
                ours: seconds(kind.p50.ours().median()),
                baseline: format!(
                    "the HTTP client alone: {}",
                    seconds(kind.p50.baseline().median())
                ),
                result: kind.p50.added(),
                unit: Unit::SecondsAdded,
                aim: Some(Aim::AtMost(100e-6)),
            });
            rows.push(Row {
                what: format!("{name}, {at}: throughput"),
                ours: format!("{:.0} /s", kind.throughput.ours().median()),
                baseline: format!(
                    "the HTTP client alone: {:.0} /s",
                    kind.throughput.baseline().median()
                ),
                result: kind.throughput.ratio(),
                unit: Unit::Times,
                aim: Some(Aim::AtLeast(least)),
            });
        }
        rows
    }
}
