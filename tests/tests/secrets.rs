//! Section G: a busy life, with everything that is said and written down on the way searched for every secret.

use std::{
    fmt::Debug,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use fake_procore::{Alteration, Answer, Fault, Options, Reply, Target};
use procore_auth_host::alerts::{Format, Outbox, Route};
use procore_auth_host::{
    ApiRequest, Connection, EncryptedStore, EncryptionKey, Error, FileStore, JsonLinesJournal,
    Secret, Settings, SystemRandom, TracingJournal,
};
use procore_auth_tests::{
    RecordingStore, Rig,
    rig::{SANDBOX, fake},
    stored,
};
use serde::Serialize;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

const ME: &str = "/rest/v1.0/me";
const PROJECTS: &str = "/rest/v1.0/projects";

/// Everything that was said. Clones share it.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    fn note(&self, text: &str) {
        let mut said = self.0.lock().expect("not poisoned");
        said.extend_from_slice(text.as_bytes());
        said.push(b'\n');
    }

    fn debug(&self, value: &impl Debug) {
        self.note(&format!("{value:?}\n{value:#?}"));
    }

    fn json(&self, value: &impl Serialize) {
        self.note(&serde_json::to_string(value).expect("JSON"));
    }

    fn error(&self, error: &Error) {
        self.note(&format!("{error}\n{error:#}"));
        self.debug(error);
        self.debug(error.diagnosis());
        self.json(error.diagnosis());
    }

    fn result<T: Debug>(&self, result: Result<T, Error>) -> Option<T> {
        self.debug(&result);
        result.map_err(|error| self.error(&error)).ok()
    }

    fn text(&self) -> String {
        let said = self.0.lock().expect("not poisoned");
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Said {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl log::Log for Said {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.note(&format!("{} {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

/// Captures every log line of every crate, at every level.
fn listen() -> Said {
    let said = Said::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(said.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("the first");
    log::set_boxed_logger(Box::new(said.clone())).expect("the first");
    log::set_max_level(log::LevelFilter::Trace);
    said
}

/// One life, and what it says.
struct Life {
    rig: Rig,
    said: Said,
    store: RecordingStore,
    settings: Settings,
}

impl Life {
    fn process(&self) -> Connection {
        let builder = self.rig.builder(self.settings.clone());
        let builder = builder.store(Arc::new(self.store.clone()));
        let connection = builder.journal(Arc::new(TracingJournal));
        let connection = connection.build().expect("complete");
        self.said.debug(&connection);
        connection
    }

    async fn sign_in(&self, connection: &Connection) {
        let login = connection.begin_login().await.expect("a link");
        let callback = self.rig.browse(&login.authorize_url).await;
        let callback = Secret::new(callback);
        self.said.debug(&callback);
        self.said
            .result(connection.finish_login(callback.clone()).await);
        self.said.result(connection.finish_login(callback).await);
    }

    /// Everything that can be asked without changing anything.
    async fn look_around(&self, connection: &Connection) {
        if let Some(status) = self.said.result(connection.status().await) {
            self.said.json(&status);
        }
        if let Some(parked) = self.said.result(connection.parked().await) {
            self.said.json(&parked);
        }
        if let Some(found) = self.said.result(connection.diagnose().await) {
            self.said.json(&found);
        }
        self.said.debug(connection.settings());
    }

    async fn token(&self, connection: &Connection) {
        self.said.result(connection.access_token().await);
        self.look_around(connection).await;
    }

    async fn call(&self, connection: &Connection, request: ApiRequest) {
        self.said.debug(&request);
        self.said.result(connection.send(request).await);
    }

    /// All that a server that echoes what it got could say.
    async fn echoes(&self, status: u16) -> Vec<Reply> {
        let access = stored::access_token(&self.store).await;
        let refresh = stored::refresh_token(&self.store).await;
        let secret = self.settings.client_secret.expose();
        let all = format!("{access} {refresh} {secret}");
        vec![
            Reply::json(
                status,
                &json!({"error": "invalid_request", "error_description": all}),
            ),
            Reply::json(
                status,
                &json!({"error": refresh, "error_description": refresh}),
            ),
            Reply::json(
                status,
                &json!({"error": "odd", "error_description": format!("[{refresh}]")}),
            ),
            Reply::json(
                status,
                &json!({"access_token": format!("{access} {refresh}")}),
            ),
            Reply::json(status, &json!({"errors": all, "message": all})),
            Reply::html(status, &format!("<html>{all}</html>")),
            Reply::new(status, "text/plain", all.clone()),
            Reply::new(status, &format!("text/{refresh}"), all),
            Reply::empty(status).header("x-request-id", refresh.clone()),
            Reply::empty(status).header(
                "www-authenticate",
                format!("Bearer realm=\"x\", error=\"{refresh}\", error_description=\"{access}\""),
            ),
            Reply::empty(status).header("retry-after", refresh),
        ]
    }
}

fn parked(path: &str) -> ApiRequest {
    let mut request = ApiRequest::new("POST", path)
        .header("X-Api-Key", "callers-header-secret-1f0c")
        .body("callers-body-secret-77ab");
    request.park = true;
    request
}

async fn refreshes_calls_and_renewals(life: &Life, connection: &Connection) {
    life.said.result(connection.verify().await);
    life.rig.advance_to_refresh();
    life.token(connection).await;
    let token = connection.access_token().await.expect("a token");
    life.said.debug(&token);
    let rejected = token.bearer().expose();
    life.rig
        .procore
        .expire_access_token(fake(SANDBOX), rejected);
    life.call(connection, ApiRequest::get(ME)).await;
    life.said
        .result(connection.renew_rejected(token.bearer()).await);
    let query = format!("{ME}?access_token={rejected}");
    life.call(connection, ApiRequest::get(query)).await;
    let forbidden = ApiRequest::get(ME).header("Authorization", format!("Bearer {rejected}"));
    life.call(connection, forbidden).await;
}

async fn echoing_servers(life: &Life, connection: &Connection) {
    for status in [200, 400, 401, 403, 500] {
        for reply in life.echoes(status).await {
            life.rig.advance_to_expiry();
            let fault = Fault::uncommitted(reply.clone());
            life.rig.procore.inject(Target::Token, fault);
            life.token(connection).await;
            life.rig.advance_to_expiry();
            // What counted as a refusal of the client ends with its credentials: sign in anew.
            if connection.access_token().await.is_err() {
                life.sign_in(connection).await;
            }
            let fault = Fault::uncommitted(reply);
            life.rig.procore.inject_times(2, &Target::Api, &fault);
            life.call(connection, ApiRequest::get(ME)).await;
            life.rig.procore.clear_faults();
            life.rig.advance_to_expiry();
            let fault = Fault::uncommitted(Answer::Close);
            life.rig.procore.inject(Target::TokenInfo, fault);
            life.look_around(connection).await;
            life.rig.procore.clear_faults();
        }
    }
}

async fn lost_and_garbled(life: &Life, connection: &Connection) {
    for fault in [
        Fault::altered(Alteration::Garbled),
        Fault::altered(Alteration::Truncated(700)),
        Fault::altered(Alteration::Without("access_token".to_owned())),
        Fault::altered(Alteration::With("error".to_owned(), json!("odd"))),
        Fault::committed(Answer::Close),
        Fault::committed(Reply::captive_portal()),
    ] {
        life.rig.advance_to_refresh();
        life.rig.procore.inject(Target::Token, fault);
        life.token(connection).await;
        life.rig.advance_to_expiry();
        life.token(connection).await;
        life.call(connection, parked(&format!("{PROJECTS}?per_page=5")))
            .await;
        life.look_around(connection).await;
        life.sign_in(connection).await;
        life.token(connection).await;
    }
    life.said.result(connection.replay(None).await);
    life.said.result(connection.upkeep(None).await);
    life.look_around(connection).await;
}

async fn failing_sign_ins(life: &Life, connection: &Connection) {
    let login = connection.begin_login().await.expect("a link");
    let callback = life.rig.browse(&login.authorize_url).await;
    let code = callback.split("code=").nth(1).expect("a code").to_owned();
    for wrong in [
        callback.replace("state=", "state=0"),
        callback.replace("state=", "other="),
        callback.replace("code=", "error="),
        code.clone(),
        format!("http://localhost:9876/callback?error={code}&state={code}"),
        format!("https://[{code}"),
    ] {
        life.said
            .result(connection.finish_login(Secret::new(wrong)).await);
    }
    for status in [200, 400, 500] {
        for reply in life.echoes(status).await {
            life.rig
                .procore
                .inject(Target::Token, Fault::uncommitted(reply));
            let again = Secret::new(callback.clone());
            life.said.result(connection.finish_login(again).await);
        }
    }
    life.rig.procore.clear_faults();
    let saved = format!("{{\"access_token\": \"{code}\", \"refresh_token\"");
    life.said
        .result(connection.adopt(saved.into_bytes(), true).await);
    let saved = json!({"access_token": format!("{code} {code}"), "expires_in": code});
    life.said
        .result(connection.adopt(saved.to_string().into_bytes(), true).await);
}

async fn failing_stores(life: &Life, connection: &Connection) {
    life.rig.advance_to_expiry();
    life.store.fail_writes(3);
    life.token(connection).await;
    life.store.fail_writes(0);
    let key = procore_auth_host::Key::new("session").expect("a key");
    let store: &dyn procore_auth_host::Store = &life.store;
    let entry = store.get(&key).await.expect("readable").expect("there");
    life.said.debug(&entry);
    let torn = &entry.value[..entry.value.len() / 2];
    let torn = store
        .put(&key, torn, Some(entry.revision))
        .await
        .expect("torn");
    life.said.debug(&torn);
    let restarted = life.process();
    life.token(&restarted).await;
    life.said.result(restarted.upkeep(None).await);
    let conflict = store.put(&key, b"", None).await.expect("a conflict");
    life.said.debug(&conflict);
}

/// Returns what must not be found: each secret, and pieces of it that are long enough to be no accident.
fn needles(life: &Life) -> Vec<String> {
    let mut secrets = life.rig.procore.secrets_issued();
    secrets.push(life.settings.client_secret.expose().to_owned());
    for own in ["callers-header-secret-1f0c", "callers-body-secret-77ab"] {
        secrets.push(own.to_owned());
    }
    let pieces = |secret: String| {
        // An access token begins with the same words each time: its tail and its middle tell.
        let (middle, end) = (secret.len() / 2, secret.len());
        let cut = |from: usize| secret.get(from..end.min(from + 20)).map(ToOwned::to_owned);
        [
            cut(middle),
            cut(end.saturating_sub(20)),
            Some(secret.clone()),
        ]
    };
    let pieces = secrets.into_iter().flat_map(pieces).flatten();
    pieces.filter(|piece| piece.len() >= 16).collect()
}

/// The files in which one of the secrets stands.
fn files_with(needles: &[String], folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("readable");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).expect("readable");
        let text = String::from_utf8_lossy(&bytes);
        needles.iter().any(|needle| text.contains(needle.as_str()))
    };
    files.filter(holds).collect()
}

#[tokio::test]
async fn s57_no_secret_is_found_in_anything_that_is_said() {
    // Compiling the component says gigabytes, and knows no secret yet.
    procore_auth_tests::plugin();
    let said = listen();
    let rig = Rig::start().await;
    let pair = fake(SANDBOX).credential_pair();
    let secret = rig
        .procore
        .reset_client_secret(pair, Options::demo_client_id(pair))
        .expect("registered");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events.jsonl");
    let journal = JsonLinesJournal::open(&file).expect("a journal");
    let name = &Rig::settings(SANDBOX).name;
    let store = FileStore::open(folder.path(), name).expect("a store");
    let key = EncryptionKey::generate(&SystemRandom);
    let store = EncryptedStore::new(store, name, key.clone());
    said.debug(&store);
    let life = Life {
        settings: Rig::settings_with(|settings| settings.client_secret = Secret::new(secret)),
        store: RecordingStore::new(store),
        said,
        rig,
    };
    let builder = life.rig.builder(life.settings.clone());
    let builder = builder.store(Arc::new(life.store.clone()));
    let ops = Route::to("ops".parse().expect("a name"));
    let outbox = Outbox::builder(folder.path().join(".alerts"))
        .route(ops)
        .build();
    let builder = builder
        .journal(Arc::new(journal))
        .journal(outbox.clone())
        .journal(Arc::new(TracingJournal));
    let connection = builder.build().expect("complete");

    life.token(&connection).await;
    life.sign_in(&connection).await;
    refreshes_calls_and_renewals(&life, &connection).await;
    echoing_servers(&life, &connection).await;
    lost_and_garbled(&life, &connection).await;
    failing_sign_ins(&life, &connection).await;
    life.said.result(connection.revoke().await);
    life.sign_in(&connection).await;
    failing_stores(&life, &connection).await;

    life.said.debug(&life.rig.journal.events());
    let written = fs::read_to_string(&file).expect("events");
    assert!(written.lines().count() > 100);
    life.said.note(&written);
    let alerts = outbox.waiting().expect("readable");
    assert!(alerts.len() > 3);
    for waiting in &alerts {
        life.said.debug(waiting);
        for format in [Format::Generic, Format::Slack, Format::Teams] {
            let written = format.write(&waiting.alert);
            life.said.note(&String::from_utf8_lossy(&written));
        }
    }
    let text = life.said.text();
    assert!(text.contains("token-refreshed") && text.contains("TRACE"));
    let mut needles = needles(&life);
    needles.push(key.to_text().expose().to_owned());
    for needle in &needles {
        let found = text.lines().find(|line| line.contains(needle));
        assert_eq!(found, None, "holds {needle}");
    }
    let files = files_with(&needles, &folder.path().join(name.as_str()));
    assert_eq!(files, Vec::<PathBuf>::new(), "encryption hides them");
}
