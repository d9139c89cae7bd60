//! The real `procore-auth` program in processes of its own, in a home of its own.
//!
//! Every process runs at the most talkative log level, and what it prints is searched for secrets when it ends: only `token` may
//! print one, and only to standard output.

use std::{
    ffi::OsStr,
    fmt, fs,
    net::{Ipv4Addr, Ipv6Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use fake_procore::{CredentialPair, Environment, FakeProcore, Options, TokenPair};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, Command},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use crate::{Rig, doorkeeper::Doorkeeper, record};

/// For one step of a process; a busy machine is slow.
const DEADLINE: Duration = Duration::from_secs(60);

/// The connection of the configurations written here.
pub const CONNECTION: &str = "acme";

/// The redirect URI that has Procore show the code on a page.
pub const OUT_OF_BAND: &str = fake_procore::OUT_OF_BAND;

type Secrets = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// The program, its home, and the environment variables that it gets. It inherits none but `PATH`.
pub struct Tool {
    program: PathBuf,
    home: TempDir,
    variables: Vec<(String, String)>,
    secrets: Secrets,
}

impl Tool {
    /// Prepares a home without any configuration. `secrets` lists what must never be printed.
    pub fn new(
        program: impl Into<PathBuf>,
        secrets: impl Fn() -> Vec<String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            program: program.into(),
            home: tempfile::tempdir().expect("a folder"),
            variables: Vec::new(),
            secrets: Arc::new(secrets),
        }
        .with("PROCORE_AUTH_LOG", "trace")
    }

    /// Sets an environment variable for all processes to come.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the path of a file in the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file in the home, for its owner alone, and returns its path as text.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("written");
        set_mode(&path, 0o600);
        path.to_str().expect("UTF-8").to_owned()
    }

    /// Writes the configuration file, and has the program use it.
    #[must_use]
    pub fn configured(self, text: &str) -> Self {
        let path = self.write("config.toml", text);
        self.with("PROCORE_AUTH_CONFIG", &path)
    }

    /// Replaces a piece of the configuration file.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let path = self.path("config.toml");
        let text = fs::read_to_string(&path).expect("configured");
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).expect("written");
    }

    /// Runs the program to its end, without input.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        self.start(arguments).end().await
    }

    /// Runs the program to its end with something to read.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Finished {
        let mut running = self.start(arguments);
        running.write(input).await;
        running.end().await
    }

    /// Prints the access token.
    pub async fn token(&self) -> String {
        let finished = self.run(&["token"]).await;
        finished.code_is(0).out.trim_end().to_owned()
    }

    /// Returns the environment variables that the program gets.
    pub fn variables(&self) -> Vec<(String, String)> {
        let path = std::env::var("PATH").unwrap_or_default();
        let home = self.home.path().to_string_lossy().into_owned();
        let own = [("PATH".to_owned(), path), ("HOME".to_owned(), home)];
        own.into_iter().chain(self.variables.clone()).collect()
    }

    /// Starts the program.
    pub fn start(&self, arguments: &[impl AsRef<OsStr>]) -> Running {
        let line = arguments.iter().map(|a| a.as_ref().to_string_lossy());
        let line = line.collect::<Vec<_>>().join(" ");
        let mut command = Command::new(&self.program);
        command.args(arguments);
        self.spawn(command, line)
    }

    /// Starts a script of the shell `bash`, in the same home and with the same variables.
    pub fn shell(&self, script: &str) -> Running {
        let mut command = Command::new("bash");
        command.args(["-c", script]);
        self.spawn(command, script.to_owned())
    }

    fn spawn(&self, mut command: Command, line: String) -> Running {
        command
            .env_clear()
            .envs(self.variables())
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the program starts");
        Running {
            line,
            input: child.stdin.take(),
            out: Stream::read(child.stdout.take().expect("piped")),
            err: Stream::read(child.stderr.take().expect("piped")),
            child,
            secrets: Arc::clone(&self.secrets),
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        record::folder(self.home.path());
    }
}

/// Against the fake Procore.
impl Tool {
    /// Prepares a home with one connection to the demo app in the developer sandbox, with a redirect URI of its own.
    pub fn on_fake(program: &str, rig: &Rig) -> Self {
        let redirect_uri = format!("http://localhost:{}/callback", free_port());
        register(&rig.procore, &redirect_uri);
        let secrets = {
            let procore = Arc::clone(&rig.procore);
            move || procore.secrets_issued()
        };
        let tool = Self::new(program, secrets).with(
            "PROCORE_CLIENT_SECRET",
            Options::demo_client_secret(CredentialPair::Sandbox),
        );
        tool.write("ca.pem", rig.procore.ca_pem());
        let connect_to = rig.connect_to();
        tool.configured(&format!(
            "state = \"state\"\n\n[network]\nextra_ca = \"ca.pem\"\nconnect_to = {connect_to:?}\n\n{}company_id = {}\n",
            connection(
                Options::demo_client_id(CredentialPair::Sandbox),
                &redirect_uri
            ),
            Options::DEMO_COMPANY,
        ))
    }

    /// Signs in through the callback server, with the demo user before the browser.
    pub async fn log_in(&self, rig: &Rig) {
        let mut login = self.start(&["login", "--no-browser"]);
        let callback = rig.browse(&login.link().await).await;
        assert_eq!(visit(&callback).await.0, 200);
        login.end().await.code_is(0);
    }

    /// Returns the port of the redirect URI.
    pub fn port(&self) -> u16 {
        let text = fs::read_to_string(self.path("config.toml")).expect("configured");
        let (_, rest) = text.split_once("http://localhost:").expect("localhost");
        let (port, _) = rest.split_once('/').expect("a path");
        port.parse().expect("a port")
    }

    /// Signs the demo user in by handing over a pair that was issued `age` ago, as a script would have saved it.
    pub async fn signed_in(&self, procore: &FakeProcore, age: Duration) -> TokenPair {
        let pair = issue(procore);
        if age.as_secs() > pair.expires_in {
            procore.expire_access_token(Environment::Sandbox, &pair.access_token);
        }
        let files = self.script_files(&pair, age);
        let import = [
            "import",
            "--token",
            &files.0,
            "--env",
            &files.1,
            "--connection",
            CONNECTION,
        ];
        let finished = self.run(&import).await;
        assert!(
            matches!(finished.code, Some(0 | 11)),
            "taken over\n{finished}"
        );
        pair
    }

    /// Writes what a script would have saved: its tokens, issued `age` ago, and its settings.
    pub fn script_files(&self, pair: &TokenPair, age: Duration) -> (String, String) {
        let mut token = pair.to_json();
        token["created_at"] = Value::from(pair.created_at - age.as_secs());
        let settings = format!(
            "# sandbox\nPROCORE_CLIENT_ID={}\nPROCORE_CLIENT_SECRET={}\nPROCORE_COMPANY_ID={}\n\
             PROCORE_AUTH_URL=https://login-sandbox.procore.com/oauth/authorize\n\
             PROCORE_TOKEN_URL=https://login-sandbox.procore.com/oauth/token\n\
             PROCORE_API_BASE=https://sandbox.procore.com\nPROCORE_REDIRECT_URI=http://localhost:9876/callback\n",
            Options::demo_client_id(CredentialPair::Sandbox),
            Options::demo_client_secret(CredentialPair::Sandbox),
            Options::DEMO_COMPANY,
        );
        (
            self.write(".credentials/procore_token.json", &token.to_string()),
            self.write(".credentials/procore.env", &settings),
        )
    }
}

/// Against a real Doorkeeper.
impl Tool {
    /// Prepares a home with one connection to the server, which plays the developer sandbox.
    pub fn on_doorkeeper(program: &str, server: &Doorkeeper, redirect_uri: &str) -> Self {
        let secret = server.client_secret().to_owned();
        let tool = Self::new(program, move || vec![secret.clone()]);
        tool.write("client.secret", &format!("{}\n", server.client_secret()));
        let connection = connection(server.client_id(), redirect_uri).replace(
            "env = \"PROCORE_CLIENT_SECRET\"",
            "file = \"client.secret\"",
        );
        tool.configured(&format!(
            "state = \"state\"\n\n[network]\nconnect_to = {:?}\n\n{connection}",
            server.connect_to()
        ))
    }

    /// Has the connection act as the app's service account.
    pub fn use_service_account(&self) {
        let path = self.path("config.toml");
        let text = fs::read_to_string(&path).expect("configured");
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("redirect_uri"));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        fs::write(
            path,
            text.replace("authorization-code", "client-credentials"),
        )
        .expect("written");
    }
}

/// Issues a pair as if the demo user had signed in.
pub fn issue(procore: &FakeProcore) -> TokenPair {
    let client_id = Options::demo_client_id(CredentialPair::Sandbox);
    procore
        .issue_pair(Environment::Sandbox, client_id, Options::DEMO_USER)
        .expect("registered")
}

/// Registers a redirect URI for the demo app.
pub fn register(procore: &FakeProcore, redirect_uri: &str) {
    let client_id = Options::demo_client_id(CredentialPair::Sandbox);
    procore
        .change_app(CredentialPair::Sandbox, client_id, |app| {
            app.redirect_uris.push(redirect_uri.to_owned());
        })
        .expect("registered");
}

fn connection(client_id: &str, redirect_uri: &str) -> String {
    format!(
        "[connections.{CONNECTION}]\nenvironment = \"sandbox\"\nclient_id = \"{client_id}\"\n\
         client_secret = {{ env = \"PROCORE_CLIENT_SECRET\" }}\ngrant = \"authorization-code\"\n\
         redirect_uri = \"{redirect_uri}\"\n"
    )
}

/// Returns a port that is free on both loopback addresses, and that the system gives to nobody by itself.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % 97).expect("small") * 200;
    loop {
        let port = 10_000 + offset + NEXT.fetch_add(1, Ordering::Relaxed) % 200;
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port));
        let taken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
        if v4.is_ok() && !v6.is_err_and(|error| taken(&error)) {
            return port;
        }
    }
}

/// Sets who may do what with a file.
pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
}

/// A process of the program.
pub struct Running {
    line: String,
    child: Child,
    input: Option<ChildStdin>,
    out: Stream,
    err: Stream,
    secrets: Secrets,
}

impl Running {
    /// Types a line, or pipes text in.
    pub async fn write(&mut self, text: &str) {
        let input = self.input.as_mut().expect("open");
        // A process that does not read its input is no failure.
        let _ = input.write_all(text.as_bytes()).await;
        let _ = input.flush().await;
    }

    /// Closes the input.
    pub fn close(&mut self) {
        drop(self.input.take());
    }

    /// Waits until one of the two outputs has a line with this text, and returns that line.
    pub async fn says(&mut self, text: &str) -> String {
        let found = timeout(DEADLINE, async {
            tokio::select! {
                line = self.out.line_with(text) => line,
                line = self.err.line_with(text) => line,
            }
        })
        .await;
        found.unwrap_or_else(|_| panic!("{text:?} is never said\n{self}"))
    }

    /// Waits for the link to sign in with.
    pub async fn link(&mut self) -> String {
        let line = self.says("/oauth/authorize?").await;
        let start = line.find("https://").expect("a link");
        let link = line[start..].split(['"', ' ']).next().expect("a link");
        link.to_owned()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub async fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let mut kill = Command::new("kill");
        let status = kill.args([&format!("-{name}"), &pid]).status().await;
        assert!(status.expect("kill runs").success());
    }

    /// Returns the process's id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("running")
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("known").is_none()
    }

    /// Closes the input and waits for the end.
    pub async fn end(mut self) -> Finished {
        drop(self.input.take());
        let Ok(status) = timeout(DEADLINE, self.child.wait()).await else {
            panic!("it never ends\n{self}");
        };
        let finished = Finished {
            code: status.expect("a status").code(),
            line: self.line,
            out: self.out.whole().await,
            err: self.err.whole().await,
        };
        finished.assert_silent((self.secrets)());
        // Not the command line: tests put a secret there, to see it refused.
        let said = finished.without_token();
        record::output(&[said.out, said.err].join("\n"));
        finished
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (out, err) = (self.out.so_far(), self.err.so_far());
        write!(f, "$ procore-auth {}\n{out}\n{err}", self.line)
    }
}

/// Waits until this many of the processes wait for a lock that another one holds.
pub async fn wait_for_lock(processes: &[Running], count: usize) {
    let waiting = timeout(DEADLINE, async {
        while processes.iter().filter(|p| is_waiting(p.pid())).count() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waiting.await.is_ok(), "they never wait");
}

/// Linux lists who waits for which lock; `->` marks a waiter.
fn is_waiting(pid: u32) -> bool {
    let pid = pid.to_string();
    let locks = fs::read_to_string("/proc/locks").expect("Linux");
    locks
        .lines()
        .any(|line| line.contains("->") && line.split_whitespace().any(|word| word == pid))
}

/// Opens a URL of the program's own, as a browser does: follows redirects, and asks again where the page says so. Returns the
/// status and the page.
pub async fn visit(url: &str) -> (u16, String) {
    visit_with(url, &[]).await
}

/// Opens a URL of the program's own with headers.
pub async fn visit_with(url: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let visited = timeout(DEADLINE, async {
        let mut reply = look_at(url, headers).await;
        while reply.headers().contains_key("refresh") {
            reply = look_at(reply.url().as_str(), headers).await;
        }
        reply
    });
    let reply = visited.await.expect("an outcome");
    (reply.status().as_u16(), reply.text().await.expect("a page"))
}

/// Opens a URL of the program's own, follows redirects, and takes the first page as it is.
pub async fn look_at(url: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    // Plain HTTP, yet the client wants a provider of cryptography. Another test may have set it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build();
    let mut request = client.expect("a client").get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("a reply")
}

/// What a process of the program left.
#[derive(Debug)]
pub struct Finished {
    /// The arguments, for messages.
    line: String,
    /// The exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Finished {
    /// Checks the exit code.
    #[track_caller]
    pub fn code_is(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Checks that standard output or standard error has this text.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "{text:?} is not said\n{self}"
        );
        self
    }

    /// Parses standard output as one JSON document a line, and returns the last.
    #[track_caller]
    pub fn json(&self) -> Value {
        let parsed = self.out.lines().map(serde_json::from_str::<Value>);
        let documents: Result<Vec<Value>, _> = parsed.collect();
        let mut documents = documents.unwrap_or_else(|error| panic!("{error}\n{self}"));
        documents.pop().unwrap_or_else(|| panic!("no JSON\n{self}"))
    }

    /// The same without what only a recipient may see: the output of `token`.
    fn without_token(&self) -> Self {
        let out = if self.may_print() {
            String::new()
        } else {
            self.out.clone()
        };
        Self {
            code: self.code,
            line: self.line.clone(),
            err: self.err.clone(),
            out,
        }
    }

    fn may_print(&self) -> bool {
        self.line.split(' ').any(|word| word == "token")
    }

    fn assert_silent(&self, secrets: Vec<String>) {
        let may_print = self.may_print();
        for secret in secrets {
            assert!(
                !self.err.contains(&secret) && (may_print || !self.out.contains(&secret)),
                "a secret was printed by {:?}",
                self.line
            );
        }
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            code,
            out,
            err,
        } = self;
        write!(f, "$ procore-auth {line}\n{out}\n{err}\nexit {code:?}")
    }
}

/// What a process has written so far.
struct Stream {
    text: watch::Receiver<String>,
    reading: JoinHandle<()>,
}

impl Stream {
    fn read(mut source: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (sender, text) = watch::channel(String::new());
        let reading = tokio::spawn(async move {
            let mut bytes = Vec::new();
            while let Ok(1..) = source.read_buf(&mut bytes).await {
                sender.send_replace(String::from_utf8_lossy(&bytes).into_owned());
            }
        });
        Self { text, reading }
    }

    fn so_far(&self) -> String {
        self.text.borrow().clone()
    }

    /// Waits for a whole line with this text; never ends where there is none.
    async fn line_with(&mut self, wanted: &str) -> String {
        let find = |text: &String| {
            let mut lines = text.split_inclusive('\n');
            lines
                .find(|line| line.ends_with('\n') && line.contains(wanted))
                .map(str::to_owned)
        };
        match self.text.wait_for(|text| find(text).is_some()).await {
            Ok(text) => find(&text).expect("found").trim_end().to_owned(),
            Err(_) => std::future::pending().await,
        }
    }

    async fn whole(self) -> String {
        // A grandchild may hold the other end; there is none here.
        self.reading.await.expect("read");
        self.text.borrow().clone()
    }
}
