//! `procore-auth.wasi.wasm` in stock wasmtime: nothing but `wasmtime-wasi` and `wasmtime-wasi-http` is linked.
//!
//! Its requests go to the fake Procore, since the TLS of `wasmtime-wasi-http` trusts the web's authorities only: the hook that a
//! runtime has for that sends them with an HTTPS client that trusts the fake's.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use fake_procore::{CredentialPair, FakeProcore, Options, VirtualClock};
use http_body_util::{BodyExt as _, Full};
use procore_auth_host::{
    Clock, ConnectTo, Connection, Environment, FileStore, Grant, HttpClient as _, HttpsClient,
    Plugin, RequestLimits, Secret, Settings,
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use wasmtime::{
    Config, Engine, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{
    FsPerms, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
    p2::pipe::MemoryOutputPipe,
};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

/// The plugin, composed: what it gives.
pub mod given {
    #![allow(missing_docs, reason = "generated code")]
    wasmtime::component::bindgen!({
        inline: "
            package test:composed;
            world given {
                export procore:auth/auth@0.1.0;
                export procore:auth/api@0.1.0;
                export procore:auth/advice@0.1.0;
            }
        ",
        path: "../../wit",
        world: "test:composed/given",
        exports: { default: async },
    });
}

/// The adapter alone: what it lends.
pub mod lent {
    #![allow(missing_docs, reason = "generated code")]
    wasmtime::component::bindgen!({
        inline: "
            package test:adapter;
            world lent {
                export procore:auth/connection@0.1.0;
                export procore:auth/http@0.1.0;
                export procore:auth/clock@0.1.0;
                export procore:auth/random@0.1.0;
                export procore:auth/store@0.1.0;
                export procore:auth/journal@0.1.0;
            }
        ",
        path: "../../wit",
        world: "test:adapter/lent",
        exports: { default: async },
    });
}

/// The moment at which the virtual clock starts: 2026-11-23T00:00:00Z.
const START: u64 = 1_795_392_000_000;

/// How long the fake's access tokens live.
pub const LIFETIME: Duration = Duration::from_secs(5400);

/// Where the scenarios play.
const SANDBOX: fake_procore::Environment = fake_procore::Environment::Sandbox;

/// The connection's name, and that of its folder.
pub const NAME: &str = "acme";

/// The redirect URI of a user who signs in.
pub const REDIRECT_URI: &str = "http://localhost:9876/callback";

/// The fake Procore, a folder of stores, and the time of all sides.
pub struct World {
    /// The server.
    pub procore: FakeProcore,
    /// The time.
    pub clock: VirtualClock,
    /// The folder of the stores.
    pub stores: TempDir,
    /// The folder with the client secret.
    pub secrets: TempDir,
    http: HttpsClient,
    grant: Grant,
}

impl World {
    /// Starts a world in which a service account signs itself in.
    pub async fn with_service_account() -> Self {
        Self::with(Grant::ClientCredentials).await
    }

    /// Starts a world in which a user signs in.
    pub async fn with_user() -> Self {
        let redirect_uri = REDIRECT_URI.to_owned();
        Self::with(Grant::AuthorizationCode { redirect_uri }).await
    }

    async fn with(grant: Grant) -> Self {
        keep_files_private();
        let clock = VirtualClock::at(START);
        let options = Options {
            time: clock.time_source(),
            ..Options::demo()
        };
        let procore = FakeProcore::start(options).await.expect("the fake starts");
        let secrets = tempfile::tempdir().expect("a folder");
        fs::write(secrets.path().join("secret"), format!("{}\n", secret())).expect("written");
        Self {
            http: client(&procore),
            procore,
            clock,
            stores: tempfile::tempdir().expect("a folder"),
            secrets,
            grant,
        }
    }

    /// Returns the connection's folder.
    pub fn folder(&self) -> PathBuf {
        self.stores.path().join(NAME)
    }

    /// Moves the time on.
    pub fn advance(&self, span: Duration) {
        self.clock.advance_seconds(span.as_secs());
    }

    /// Returns a fresh instance of the composed component.
    pub async fn instance(&self) -> Instance<given::Given> {
        let (mut store, stderr, _) = self.store(&[]);
        let linker = linker();
        let instance = given::Given::instantiate_async(&mut store, composed(), &linker).await;
        let given = instance.expect("instantiated with WASI alone");
        Instance {
            store,
            given,
            stderr,
        }
    }

    /// Returns a fresh instance of the adapter alone.
    pub async fn adapter(&self) -> Instance<lent::Lent> {
        let (mut store, stderr, _) = self.store(&[]);
        let linker = linker();
        let instance = lent::Lent::instantiate_async(&mut store, adapter(), &linker).await;
        let given = instance.expect("instantiated with WASI alone");
        Instance {
            store,
            given,
            stderr,
        }
    }

    /// Runs the command line, as `wasmtime run` does. Returns whether it went well, and what it printed.
    pub async fn run(&self, words: &[&str]) -> (bool, String, String) {
        let (mut store, stderr, stdout) = self.store(words);
        let linker = linker();
        let command = wasmtime_wasi::p2::bindings::Command::instantiate_async(
            &mut store,
            composed(),
            &linker,
        )
        .await;
        let command = command.expect("instantiated");
        let ended = command
            .wasi_cli_run()
            .call_run(&mut store)
            .await
            .expect("no trap");
        (ended.is_ok(), text(&stdout), text(&stderr))
    }

    /// Returns a connection of a native host on the same store.
    pub fn native(&self) -> Connection {
        let mut settings = Settings::new(
            NAME.parse().expect("a name"),
            Environment::Sandbox,
            Options::demo_client_id(CredentialPair::Sandbox),
            Secret::new(secret()),
            self.grant.clone(),
        );
        settings.company_id = Some(Options::DEMO_COMPANY);
        let store = FileStore::open(self.stores.path(), &settings.name).expect("a store");
        Connection::builder(plugin(), settings)
            .http(Arc::new(self.http.clone()))
            .store(Arc::new(store))
            .clock(Arc::new(NativeClock(self.clock.clone(), Instant::now())))
            .build()
            .expect("complete")
    }

    /// Opens a sign-in link and returns the address that the browser would end on.
    pub async fn browse(&self, url: &str) -> String {
        let limits = RequestLimits {
            timeout: Duration::from_secs(10),
            reply_size: 1 << 20,
        };
        let request = http::Request::get(url).body(Vec::new()).expect("a request");
        let reply = self.http.send(request, limits).await.expect("a reply");
        let location = reply.headers().get("location").expect("a redirect");
        location.to_str().expect("text").to_owned()
    }

    fn store(&self, words: &[&str]) -> (Store<State>, MemoryOutputPipe, MemoryOutputPipe) {
        let (stderr, stdout) = (
            MemoryOutputPipe::new(1 << 20),
            MemoryOutputPipe::new(1 << 20),
        );
        let mut wasi = WasiCtxBuilder::new();
        wasi.arg("procore-auth")
            .args(words)
            .env("PROCORE_AUTH_CONNECTION", NAME)
            .env("PROCORE_AUTH_STORE", "/stores")
            .env("PROCORE_ENVIRONMENT", "sandbox")
            .env(
                "PROCORE_CLIENT_ID",
                Options::demo_client_id(CredentialPair::Sandbox),
            )
            .env("PROCORE_CLIENT_SECRET_FILE", "/secrets/secret")
            .env("PROCORE_COMPANY_ID", Options::DEMO_COMPANY.to_string())
            .stderr(stderr.clone())
            .stdout(stdout.clone())
            .wall_clock(WasiClock(self.clock.clone()));
        if let Grant::AuthorizationCode { redirect_uri } = &self.grant {
            wasi.env("PROCORE_REDIRECT_URI", redirect_uri);
        }
        wasi.preopened_dir(self.stores.path(), "/stores", FsPerms::ReadWrite)
            .expect("a folder");
        wasi.preopened_dir(self.secrets.path(), "/secrets", FsPerms::ReadOnly)
            .expect("a folder");
        let state = State {
            wasi: wasi.build(),
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            hooks: ToTheFake(self.http.clone()),
        };
        (Store::new(engine(), state), stderr, stdout)
    }
}

/// An instance with the store that it lives in.
pub struct Instance<T> {
    /// wasmtime's store.
    pub store: Store<State>,
    /// What it exports.
    pub given: T,
    stderr: MemoryOutputPipe,
}

impl<T> Instance<T> {
    /// Returns what it wrote to standard error.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }
}

fn text(pipe: &MemoryOutputPipe) -> String {
    String::from_utf8(pipe.contents().to_vec()).expect("text")
}

/// What wasmtime's own WASI needs.
pub struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: ToTheFake,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

/// Carries requests to the fake, over TLS and under Procore's own names.
struct ToTheFake(HttpsClient);

type Done = Box<dyn Future<Output = Result<(), HttpError>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Done), HttpError>;

impl WasiHttpHooks for ToTheFake {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Done,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let http = self.0.clone();
        Box::new(async move {
            let (mut parts, body) = request.into_parts();
            // The client sets it from the body.
            parts.headers.remove(http::header::CONTENT_LENGTH);
            let body = body.collect().await?.to_bytes().to_vec();
            let limits = RequestLimits {
                timeout: Duration::from_secs(30),
                reply_size: 16 << 20,
            };
            let reply = http
                .send(http::Request::from_parts(parts, body), limits)
                .await;
            let reply = reply.map_err(|_| HttpError::ConnectionRefused)?;
            let reply = reply.map(|body| {
                Full::from(body)
                    .map_err(|never| match never {})
                    .boxed_unsync()
            });
            let done: Done = Box::new(std::future::ready(Ok(())));
            Ok((reply, done))
        })
    }
}

struct WasiClock(VirtualClock);

impl HostWallClock for WasiClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.now())
    }
}

struct NativeClock(VirtualClock, Instant);

#[async_trait::async_trait]
impl Clock for NativeClock {
    fn now(&self) -> u64 {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.1.elapsed()
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

/// Returns the client secret of the demo app.
pub fn secret() -> &'static str {
    Options::demo_client_secret(SANDBOX.credential_pair())
}

/// Returns the bytes of a component in `dist`.
///
/// # Panics
///
/// Where it was not built from the sources as they are now: a test that ran all the same would say nothing.
pub fn built(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let record = fs::read_to_string(root.join("dist/procore-auth.wasi.wasm.inputs"));
    let record = record.expect("the component was never built; run: cargo xtask wasi --build");
    for line in record.lines() {
        let (digest, path) = line.split_once("  ").expect("sha256sum's format");
        let now = fs::read(root.join(path)).map(|bytes| hex(&Sha256::digest(bytes)));
        assert!(
            now.is_ok_and(|now| now == digest),
            "{path} has changed since the component was built; run: cargo xtask wasi --build"
        );
    }
    fs::read(root.join("dist").join(name)).expect("it was built")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn composed() -> &'static Component {
    static COMPOSED: OnceLock<Component> = OnceLock::new();
    COMPOSED.get_or_init(|| compile("procore-auth.wasi.wasm"))
}

fn adapter() -> &'static Component {
    static ADAPTER: OnceLock<Component> = OnceLock::new();
    ADAPTER.get_or_init(|| compile("procore-auth.wasi-adapter.wasm"))
}

fn compile(name: &str) -> Component {
    Component::new(engine(), built(name)).expect("a component")
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(&Config::new()).expect("an engine"))
}

fn linker() -> Linker<State> {
    let mut linker = Linker::new(engine());
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).expect("WASI HTTP");
    linker
}

fn plugin() -> &'static Plugin {
    static PLUGIN: OnceLock<Plugin> = OnceLock::new();
    PLUGIN.get_or_init(|| Plugin::bundled().expect("the bundled plugin loads"))
}

/// WASI has no modes: a runtime makes files private by its own umask.
fn keep_files_private() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Makes a client that knows the way to the fake.
fn client(procore: &FakeProcore) -> HttpsClient {
    let connect_to = procore.connect_to().into_iter().map(|(from, to)| {
        format!("{from}={to}")
            .parse::<ConnectTo>()
            .expect("an override")
    });
    HttpsClient::builder()
        .extra_ca_pem(procore.ca_pem().as_bytes().to_vec())
        .connect_to(connect_to)
        .build()
        .expect("a client")
}
