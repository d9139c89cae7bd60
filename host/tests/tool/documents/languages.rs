//! Blocks of other languages than the console's: each is checked as what it is.

use std::{fs, path::Path};

use fake_procore::Environment::Sandbox;
use procore_auth_tests::Tool;

use super::{
    lists::NOT_CHECKED,
    markdown::Block,
    reader::{Reader, Situation},
    repository,
    shown::short,
};
use crate::{PROGRAM, pinned};

/// Returns what is wrong with a block. `ca` is the certificate of an authority, for configurations that name one.
pub(super) async fn wrong_with(block: &Block, ca: &str) -> Option<String> {
    match block.language.as_str() {
        "console" => None,
        "toml" => toml(block, ca).await,
        "cron" => cron(block).await,
        "json" => json(block),
        "sh" => shell(block).await,
        "python" => python(block).await,
        "dockerfile" => dockerfile(block).await,
        "rust" => rust(block),
        other => unchecked(other),
    }
}

/// An example in Rust that is a program is one of `host/examples`, whole: cargo compiles that.
fn rust(block: &Block) -> Option<String> {
    let examples = fs::read_dir(repository().join("host/examples")).expect("there");
    let mut examples = examples.map(|entry| fs::read_to_string(entry.expect("an entry").path()));
    let is_program = block.text.contains("fn main()");
    let is_example = !is_program || examples.any(|text| text.expect("readable") == block.text);
    (!is_example).then(|| "is no file of host/examples".to_owned())
}

fn unchecked(language: &str) -> Option<String> {
    let known = NOT_CHECKED.iter().any(|(known, _)| *known == language);
    (!known).then(|| format!("what is {language:?}?"))
}

/// Has the program read a piece of configuration, with a connection where it has none, and all that it refers to.
async fn toml(block: &Block, ca: &str) -> Option<String> {
    let tool = Tool::new(PROGRAM, Vec::new);
    let files = tool.path("files").display().to_string();
    let mut text = block.text.clone();
    for absolute in ["/var/", "/etc/", "/run/"] {
        text = text.replace(&format!("\"{absolute}"), &format!("\"{files}{absolute}"));
    }
    if !has_connection(&text) {
        text.push_str(A_CONNECTION);
    }
    let component = repository().join("dist/procore-auth.wasm");
    text = text.replace("DIGEST", &pinned::sha256(&component));
    fs::copy(component, tool.path("my-plugin.wasm")).expect("built");
    tool.write("company-proxy.pem", ca);
    for path in text.split('"').filter(|text| holds_secret(text)) {
        make(&tool, Path::new(path)).await;
    }
    let tool = tool
        .with("PROCORE_CLIENT_ID", "an-id")
        .with("PROCORE_CLIENT_SECRET", "a-secret")
        .with("PROCORE_SERVICE_SECRET", "a-secret")
        .with("OPS_WEBHOOK", WEBHOOK)
        .configured(&text);
    let status = tool.run(&["status"]).await;
    // Healthy, not signed in, or not verified: all of it was read.
    let is_read = matches!(status.code, Some(0 | 4 | 11));
    (!is_read).then(|| short(&status))
}

const A_CONNECTION: &str = r#"
[connections.acme]
environment = "sandbox"
client_id = "an-id"
client_secret = { env = "PROCORE_CLIENT_SECRET" }
grant = "authorization-code"
redirect_uri = "http://localhost"
"#;

const WEBHOOK: &str = "https://hooks.example/services/a-secret";

fn has_connection(text: &str) -> bool {
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("[connections."));
    let mut names = names.filter_map(|rest| rest.split_once(']'));
    names.any(|(name, _)| !name.contains('.'))
}

fn holds_secret(path: &str) -> bool {
    [".secret", ".url", ".key"]
        .iter()
        .any(|end| path.ends_with(end))
}

/// Makes a file that the configuration refers to.
async fn make(tool: &Tool, path: &Path) {
    let name = path.strip_prefix(tool.path("")).unwrap_or(path);
    assert!(name.is_relative(), "{name:?} is outside of the home");
    let name = name.to_str().expect("UTF-8");
    match path.extension().and_then(|end| end.to_str()) {
        Some("key") => {
            let generate = ["key", "generate", "--file", name];
            tool.run(&generate).await.code_is(0);
        }
        Some("url") => drop(tool.write(name, WEBHOOK)),
        _ => drop(tool.write(name, "a-secret")),
    }
}

/// Runs what cron would: without a configuration the program says so, once it has taken its arguments.
async fn cron(block: &Block) -> Option<String> {
    let tool = Tool::new(PROGRAM, Vec::new);
    for line in block.text.lines().filter(|line| !line.starts_with('#')) {
        let Some((times, command)) = line.split_once("/usr/local/bin/procore-auth ") else {
            return Some("no job of the program".to_owned());
        };
        if times.split_whitespace().count() < 5 {
            return Some("a job has five fields before its command".to_owned());
        }
        let run = tool
            .run(&command.split_whitespace().collect::<Vec<_>>())
            .await;
        if run.code != Some(3) || !run.err.contains("There is no configuration file.") {
            return Some(short(&run));
        }
    }
    None
}

/// Has the program take what the image starts it with.
async fn dockerfile(block: &Block) -> Option<String> {
    let words = |instruction| {
        let line = block
            .text
            .lines()
            .find_map(|line| line.strip_prefix(instruction));
        serde_json::from_str::<Vec<String>>(line.unwrap_or_default())
    };
    let (Ok(program), Ok(arguments)) = (words("ENTRYPOINT "), words("CMD ")) else {
        return Some("no ENTRYPOINT and CMD as lists".to_owned());
    };
    if program != ["procore-auth"] {
        return Some("another program".to_owned());
    }
    let tool = Tool::new(PROGRAM, Vec::new);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let run = tool.run(&arguments).await;
    (run.code != Some(3)).then(|| short(&run))
}

fn json(block: &Block) -> Option<String> {
    let whole = serde_json::from_str::<serde_json::Value>(&block.text);
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    let lines = block.text.lines().all(is_json);
    whole
        .err()
        .filter(|_| !lines)
        .map(|error| error.to_string())
}

/// Runs a script of the reader's, who is signed in.
async fn shell(block: &Block) -> Option<String> {
    let reader = Reader::new(Situation::SignedIn).await;
    let script = reader.tool.write("script.sh", &block.text);
    let run = reader
        .tool
        .shell(&format!("bash -n {script} && bash -eu {script}"))
        .end()
        .await;
    (run.code != Some(0)).then(|| short(&run))
}

/// Runs a program of the reader's, whose access token the server has revoked meanwhile. Its only way to Procore is `procore-auth`:
/// where it sends a request by itself, a stand-in answers, which knows the rejected token.
async fn python(block: &Block) -> Option<String> {
    let reader = Reader::new(Situation::SignedIn).await;
    let token = reader.tool.token().await;
    assert!(reader.rig.procore.revoke_access_token(Sandbox, &token));
    let script = reader.tool.write("script.py", &block.text);
    reader.tool.write("stand_in/rejected", &token);
    reader.tool.write("stand_in/sitecustomize.py", STAND_IN);
    let run = reader.tool.shell(&format!(
        "command -v python3 >/dev/null || {{ echo skipped: no python3; exit 0; }}\n\
         PYTHONPATH=~/stand_in PYTHONDONTWRITEBYTECODE=1 python3 {script}"
    ));
    let run = run.end().await;
    if run.out.contains("skipped:") {
        println!("{}", run.out.trim());
    }
    (run.code != Some(0)).then(|| short(&run))
}

/// Answers `urlopen` as Procore would: 401 to the token that was revoked.
const STAND_IN: &str = r#"
import email.message, io, os, urllib.error, urllib.request

with open(os.path.expanduser("~/stand_in/rejected")) as file:
    REJECTED = "Bearer " + file.read()

def urlopen(request, *arguments, **named):
    if request.get_header("Authorization") == REJECTED:
        raise urllib.error.HTTPError(request.full_url, 401, "Unauthorized", email.message.Message(), io.BytesIO())
    return io.BytesIO(b'{"id": 101, "login": "demo@example.com", "name": "Demo User"}')

urllib.request.urlopen = urlopen
"#;
