//! What a process that is to be killed does: it wants tokens, all the time.

use std::{io::Read as _, path::Path, sync::Arc, time::Duration};

use super::workplace::Workplace;
use crate::{Rig, fast_clock::FastClock, rig::SANDBOX};
use http::HeaderValue;
use procore_auth_host::{
    AccessToken, ApiRequest, Clock as _, Connection, Error, Event, HttpClient, HttpFailure,
    HttpsClient, Journal as _, JsonLinesJournal, Plugin, RequestLimits, Severity,
};

/// The header in which a worker names itself to the server.
pub const WORKER: &str = "x-worker";
/// The code of the event by which a worker says that it works.
pub const READY: &str = "worker-ready";
/// The code of the event by which a worker tells of an error; the error's code is in the field `code`.
pub const FAILED: &str = "worker-failed";

const LIMITS: RequestLimits = RequestLimits {
    timeout: Duration::from_secs(30),
    reply_size: 1 << 20,
};

/// Works until standard input ends. `name` is the worker's alone; `seed` decides what it does when.
pub async fn work(workplace: &Path, name: &str, seed: u64) {
    let workplace = Workplace::read(workplace);
    let journal = Arc::new(JsonLinesJournal::open(&workplace.journal).expect("a journal"));
    let client = Arc::new(Named {
        inner: workplace.client(),
        name: HeaderValue::from_str(name).expect("a name"),
    });
    // SAFETY: the driver precompiled it in a folder of its own, which nobody else may enter and which outlives the workers.
    let plugin = unsafe { Plugin::from_precompiled(&workplace.plugin) }.expect("the plugin");
    let connection = Connection::builder(&plugin, Rig::settings(SANDBOX))
        .http(Arc::clone(&client) as _)
        .store(Arc::new(workplace.open_store()))
        .clock(Arc::new(FastClock::new(workplace.pace)))
        .journal(Arc::clone(&journal) as _)
        .actor(name)
        .build()
        .expect("complete");
    let mut worker = Worker {
        name: name.to_owned(),
        connection,
        client,
        journal,
        clock: FastClock::new(workplace.pace),
        dice: fastrand::Rng::with_seed(seed),
        token: None,
    };
    worker.tell(READY, "");
    let mut end = end_of_input();
    loop {
        let pause = Duration::from_millis(worker.dice.u64(0..8));
        tokio::select! {
            _ = &mut end => return,
            () = tokio::time::sleep(pause) => {}
        }
        worker.step().await;
    }
}

/// Ends when the driver closes the pipe, or dies.
fn end_of_input() -> tokio::task::JoinHandle<()> {
    let (told, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = told.send(());
    });
    tokio::spawn(async move {
        let _ = ended.await;
    })
}

struct Worker {
    name: String,
    connection: Connection,
    client: Arc<Named>,
    journal: Arc<JsonLinesJournal>,
    clock: FastClock,
    dice: fastrand::Rng,
    token: Option<AccessToken>,
}

impl Worker {
    async fn step(&mut self) {
        match self.dice.u8(0..20) {
            0 => self.visit().await,
            1 => self.send().await,
            2..5 => self.call_with_a_client_of_its_own().await,
            _ => self.fetch().await,
        }
    }

    async fn fetch(&mut self) {
        let result = self.connection.access_token().await;
        self.keep(result);
    }

    async fn visit(&mut self) {
        if let Err(error) = self.connection.upkeep(None).await {
            self.tell_error(&error);
        }
    }

    async fn send(&mut self) {
        let request = ApiRequest::get("/rest/v1.0/me");
        if let Err(error) = self.connection.send(request).await {
            self.tell_error(&error);
        }
    }

    /// Calls the API with the last token, which another process may have rotated away since: then the answer is a real 401.
    async fn call_with_a_client_of_its_own(&mut self) {
        let Some(token) = self.token.clone() else {
            return self.fetch().await;
        };
        let request = http::Request::get("https://sandbox.procore.com/rest/v1.0/me")
            .header(
                "authorization",
                format!("Bearer {}", token.bearer().expose()),
            )
            .body(Vec::new())
            .expect("a request");
        let answer = self.client.send(request, LIMITS).await;
        if answer.is_ok_and(|answer| answer.status() == 401) {
            let result = self.connection.renew_rejected(token.bearer()).await;
            self.keep(result);
        }
    }

    fn keep(&mut self, result: Result<AccessToken, Error>) {
        match result {
            Ok(token) => self.token = Some(token),
            Err(error) => self.tell_error(&error),
        }
    }

    fn tell_error(&self, error: &Error) {
        self.tell(FAILED, error.code());
    }

    fn tell(&self, what: &str, code: &str) {
        let at = self.clock.now();
        let event = Event::new(at, Severity::Debug, what, "")
            .with("code", code)
            .with("at", at.to_string());
        self.journal.record(&self.name, &event);
    }
}

/// A client that says whose it is.
struct Named {
    inner: HttpsClient,
    name: HeaderValue,
}

#[async_trait::async_trait]
impl HttpClient for Named {
    async fn send(
        &self,
        mut request: http::Request<Vec<u8>>,
        limits: RequestLimits,
    ) -> Result<http::Response<Vec<u8>>, HttpFailure> {
        request.headers_mut().insert(WORKER, self.name.clone());
        self.inner.send(request, limits).await
    }
}
