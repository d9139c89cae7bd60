//! The documents do what they say: every command in README.md, CONTRIBUTING.md, SECURITY.md and docs/ is run, or stands on a list
//! with the reason why not.
//!
//! A block of ` ```console ` is followed line by line by a [`Reader`] in a home of their own, against the stand-in for Procore; what
//! the document shows of the answers is compared loosely. Blocks of other languages are checked as what they are. Pieces of text that
//! are commands (`tick --next-visit 60m`) are checked for verbs and options that do not exist, and links for places that do not.

mod lists;
mod markdown;
mod reader;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use procore_auth_tests::{Tool, tool::Finished};
use tokio::{sync::Semaphore, task::JoinSet};

use lists::{NOT_CHECKED, NOT_RUN, PLACES, Place};
use markdown::{Block, Command, Document, commands};
use reader::{Reader, Situation, with_path};

use crate::{PROGRAM, rig};

fn repository() -> PathBuf {
    let host = Path::new(env!("CARGO_MANIFEST_DIR"));
    host.parent().expect("a workspace").to_owned()
}

fn documents() -> Vec<Document> {
    let root = repository();
    let listed = fs::read_dir(root.join("docs")).expect("there");
    let mut names: Vec<String> = listed
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| format!("docs/{}", name.to_str().expect("UTF-8")))
        .filter(|name| name.ends_with(".md"))
        .collect();
    names.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned));
    names.sort();
    let read = |name: String| {
        let path = root.join(&name);
        Document::read(name, path)
    };
    names.into_iter().map(read).collect()
}

/// Fails with all that is wrong at once.
fn nothing_of(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[tokio::test]
async fn every_command_in_the_documents_is_run_or_on_the_list() {
    tokio::task::LocalSet::new().run_until(run_them_all()).await;
}

async fn run_them_all() {
    let run = Arc::new(AtomicUsize::new(0));
    let at_once = Arc::new(Semaphore::new(4));
    let (mut following, mut listed, mut places) = (JoinSet::new(), 0, BTreeSet::new());
    let mut entries = BTreeSet::new();
    for document in documents() {
        for block in document.blocks.iter().filter(|b| b.language == "console") {
            let (not_run, to_run): (Vec<_>, Vec<_>) = commands(block)
                .into_iter()
                .partition(|c| on_list(c).is_some());
            listed += not_run.len();
            entries.extend(not_run.iter().filter_map(on_list));
            let Some(first) = to_run.first() else {
                continue;
            };
            let place = place(&document.name, first.bare());
            places.extend(place);
            let name = document.name.clone();
            let (run, at_once) = (Arc::clone(&run), Arc::clone(&at_once));
            following.spawn_local(async move {
                let _turn = at_once.acquire().await.expect("open");
                run.fetch_add(to_run.len(), Ordering::Relaxed);
                follow(&name, place.map(|index| &PLACES[index]), &to_run).await
            });
        }
    }
    let problems: Vec<String> = following.join_all().await.into_iter().flatten().collect();
    println!(
        "commands run: {}, on the list: {listed}",
        run.load(Ordering::Relaxed)
    );
    nothing_of(&problems);
    let unused = NOT_RUN
        .iter()
        .filter(|(begins, _)| !entries.contains(begins));
    let unused: Vec<String> = unused
        .map(|(begins, _)| format!("{begins:?} is in no document"))
        .collect();
    nothing_of(&unused);
    assert_eq!(
        places.len(),
        PLACES.len(),
        "places that are in no document: used are {places:?}"
    );
}

/// Returns the entry of the list by which a command is not run.
fn on_list(command: &Command) -> Option<&'static str> {
    let mut begins = NOT_RUN.iter().map(|(begins, _)| *begins);
    begins.find(|begins| command.text.starts_with(begins))
}

/// Returns the index of the block's place: that whose beginning is the longest.
fn place(document: &str, first: &str) -> Option<usize> {
    let fits = |place: &&Place| place.document == document && first.starts_with(place.begins);
    let best = PLACES
        .iter()
        .filter(fits)
        .max_by_key(|place| place.begins.len())?;
    PLACES.iter().position(|place| std::ptr::eq(place, best))
}

/// Follows a block, and returns what is not as the document says. What fails makes what comes after it meaningless.
async fn follow(document: &str, place: Option<&Place>, commands: &[Command]) -> Vec<String> {
    let situation = place.map_or(Situation::SignedIn, |place| place.situation);
    let mut reader = Reader::new(situation).await;
    for command in commands {
        let mut text = command.text.clone();
        for (placeholder, value) in place.map_or(&[][..], |place| place.values) {
            text = text.replace(placeholder, value);
        }
        let at = format!("{document}:{}: `{}`", command.line, command.bare());
        if command.prompt != '$' {
            return vec![format!(
                "{at} is not for the reader's account, and on no list"
            )];
        }
        let finished = reader.follow(command, &text).await;
        if finished.code != Some(command.exit) {
            return vec![format!(
                "{at} should end with {}\n{}",
                command.exit,
                short(&finished)
            )];
        }
        if let Some(line) = not_shown(&command.shown, &finished) {
            return vec![format!(
                "{at} does not answer {line:?}\n{}",
                short(&finished)
            )];
        }
    }
    Vec::new()
}

/// What it said, without the log of its most talkative level.
fn short(finished: &Finished) -> String {
    let err = finished.err.lines();
    let err = err.filter(|line| !line.contains("TRACE") && !line.contains("DEBUG"));
    let err: Vec<&str> = err.collect();
    format!(
        "{}\n{}\nexit {:?}",
        finished.out,
        err.join("\n"),
        finished.code
    )
}

/// Returns the first line that the document shows and that no line of the output is like.
fn not_shown<'a>(shown: &'a [String], finished: &Finished) -> Option<&'a str> {
    let lines: Vec<&str> = finished.out.lines().chain(finished.err.lines()).collect();
    let is_said = |shown: &str| lines.iter().any(|line| is_like(shown, line));
    shown
        .iter()
        .map(String::as_str)
        .find(|shown| !is_said(shown))
}

/// Whether a line has the words of the one that is shown, in their order. Numbers may be others, bars longer, and `…` stands for
/// anything.
fn is_like(shown: &str, line: &str) -> bool {
    let line = with_one_number(line);
    let mut words = line.split_whitespace();
    with_one_number(shown)
        .split_whitespace()
        .filter(|word| !word.contains(['▰', '▱', '┆']) && *word != "…")
        .all(|shown| words.any(|word| has_pieces(word, shown)))
}

/// Makes all numbers the same.
fn with_one_number(text: &str) -> String {
    let mut same = String::new();
    for character in text.chars() {
        match character {
            '0'..='9' if same.ends_with('0') => {}
            '0'..='9' => same.push('0'),
            other => same.push(other),
        }
    }
    same
}

/// Whether a word is the one that is shown, where `…` stands for anything.
fn has_pieces(word: &str, shown: &str) -> bool {
    let mut pieces = shown.split('…');
    let mut rest = match word.strip_prefix(pieces.next().unwrap_or_default()) {
        Some(rest) if shown.contains('…') => rest,
        Some(rest) => return rest.is_empty(),
        None => return false,
    };
    pieces.all(|piece| match rest.split_once(piece) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[test]
fn what_is_shown_is_compared_loosely_and_not_blindly() {
    for (shown, line, alike) in [
        (
            "acme  healthy  ▰▰▱┆  in 34 min",
            "acme   healthy  ##|.  in 1 h 2 min",
            true,
        ),
        ("acme  healthy", "acme   sign-in required", false),
        ("https://a/b?x=…&y=…", "  https://a/b?x=1&y=2", true),
        ("https://a/b?x=…&z=…", "  https://a/b?x=1&y=2", false),
        (
            "acme: done (entries: 3).",
            "acme: done (entries: 12).",
            true,
        ),
        ("acme: done (files: 3).", "acme: done (entries: 3).", false),
        ("one two", "two one", false),
    ] {
        assert_eq!(is_like(shown, line), alike, "{shown:?} and {line:?}");
    }
}

#[tokio::test]
async fn commands_in_the_text_have_verbs_and_options_that_exist() {
    let tool = with_path(Tool::new(PROGRAM, Vec::new));
    let help = tool.run(&["--help"]).await.out;
    let (_, verbs) = help.split_once("Commands:\n").expect("verbs");
    let verbs: BTreeSet<&str> = verbs
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let (mut problems, mut checked) = (Vec::new(), BTreeSet::new());
    for document in documents() {
        let in_text = document
            .pieces
            .iter()
            .map(|piece| (piece.text.clone(), piece.line));
        let not_run = document
            .blocks
            .iter()
            .filter(|block| block.language == "console");
        let not_run = not_run
            .flat_map(commands)
            .map(|c| (c.bare().to_owned(), c.line));
        for (text, line) in in_text.chain(not_run) {
            let Some(arguments) = arguments(&text, &verbs) else {
                continue;
            };
            if !checked.insert(arguments.clone()) {
                continue;
            }
            let asked = format!("set -f; procore-auth {arguments} --help");
            let answer = tool.shell(&asked).end().await;
            if answer.code != Some(0) {
                problems.push(format!(
                    "{}:{line}: `{text}`\n{}",
                    document.name, answer.err
                ));
            }
        }
    }
    println!("different commands checked: {}", checked.len());
    nothing_of(&problems);
}

/// Returns what the program is given by a text that is a command of it, be it without the program's name.
fn arguments(text: &str, verbs: &BTreeSet<&str>) -> Option<String> {
    let text = text
        .rsplit_once("procore-auth ")
        .map_or(text, |(_, rest)| rest);
    let text = text
        .split([';', '|', '<', '>', ')'])
        .next()
        .unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_command = words.len() > 1 && verbs.contains(words[0]);
    is_command.then(|| words.join(" "))
}

#[tokio::test]
async fn blocks_of_other_languages_are_what_they_say() {
    let rig = rig().await;
    let (mut problems, mut languages) = (Vec::new(), BTreeSet::new());
    for document in documents() {
        for block in &document.blocks {
            languages.insert(block.language.clone());
            let wrong = match block.language.as_str() {
                "console" => None,
                "toml" => toml(block, rig.procore.ca_pem()).await,
                "cron" => cron(block).await,
                "json" => json(block),
                "sh" => shell(block).await,
                "python" => python(block).await,
                "dockerfile" => dockerfile(block).await,
                other => unchecked(other),
            };
            let at = format!("{}:{}", document.name, block.line);
            problems.extend(wrong.map(|wrong| format!("{at}: {wrong}\n{}", block.text)));
        }
    }
    nothing_of(&problems);
    let unused = NOT_CHECKED
        .iter()
        .find(|(language, _)| !languages.contains(*language));
    assert!(unused.is_none(), "{unused:?} is in no document");
}

fn unchecked(language: &str) -> Option<String> {
    let known = NOT_CHECKED.iter().any(|(known, _)| *known == language);
    (!known).then(|| format!("what is {language:?}?"))
}

/// Has the program read a piece of configuration, with a connection where it has none, and all the files that it may name.
async fn toml(block: &Block, ca: &str) -> Option<String> {
    let tool = Tool::new(PROGRAM, Vec::new);
    let home = tool.path("files").display().to_string();
    let mut text = block.text.clone();
    for absolute in ["/var/", "/etc/", "/run/"] {
        text = text.replace(&format!("\"{absolute}"), &format!("\"{home}{absolute}"));
    }
    let has_connection = text.lines().any(|line| {
        let name = line
            .strip_prefix("[connections.")
            .and_then(|rest| rest.split_once(']'));
        name.is_some_and(|(name, _)| !name.contains('.'))
    });
    if !has_connection {
        text.push_str("\n[connections.acme]\nenvironment = \"sandbox\"\nclient_id = \"id\"\n\
             client_secret = { env = \"PROCORE_CLIENT_SECRET\" }\ngrant = \"authorization-code\"\nredirect_uri = \"http://localhost\"\n");
    }
    let plugin = fs::read(repository().join("dist/procore-auth.wasm")).expect("built");
    fs::write(tool.path("my-plugin.wasm"), plugin).expect("written");
    tool.write("company-proxy.pem", ca);
    for named in text.split('"').filter(|name| is_secret_file(name)) {
        let name = named.strip_prefix(&format!("{home}/"));
        let name = name.map_or(named.to_owned(), |name| format!("files/{name}"));
        assert!(!name.starts_with('/'), "{name} is outside of the home");
        let secret = if name.ends_with(".url") {
            "https://hooks.example/x"
        } else if name.ends_with(".key") {
            "" // made below
        } else {
            "a-secret"
        };
        tool.write(&name, secret);
        if name.ends_with(".key") {
            let path = tool.path(&name);
            fs::remove_file(&path).expect("there");
            let path = path.to_str().expect("UTF-8");
            tool.run(&["key", "generate", "--file", path])
                .await
                .code_is(0);
        }
    }
    let mut tool = tool.configured(&text);
    for name in [
        "PROCORE_CLIENT_ID",
        "PROCORE_CLIENT_SECRET",
        "PROCORE_SERVICE_SECRET",
    ] {
        tool = tool.with(name, "value");
    }
    let tool = tool.with("OPS_WEBHOOK", "https://hooks.example/x");
    let status = tool.run(&["status"]).await;
    let reads = matches!(status.code, Some(0 | 4 | 11));
    (!reads).then(|| short(&status))
}

fn is_secret_file(name: &str) -> bool {
    [".secret", ".url", ".key"]
        .iter()
        .any(|end| name.ends_with(end))
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
    let sandbox = fake_procore::Environment::Sandbox;
    assert!(reader.rig.procore.revoke_access_token(sandbox, &token));
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

#[test]
fn every_link_between_documents_has_an_end() {
    let all = documents();
    let mut problems = Vec::new();
    for document in &all {
        for link in document
            .links
            .iter()
            .filter(|link| !link.text.contains("://"))
        {
            let (path, anchor) = link.text.split_once('#').unwrap_or((&link.text, ""));
            let target = match path {
                "" => document.path.clone(),
                path => document.path.parent().expect("a folder").join(path),
            };
            let Ok(target) = target.canonicalize() else {
                problems.push(format!(
                    "{}:{}: {} is not there",
                    document.name, link.line, link.text
                ));
                continue;
            };
            let other = all.iter().find(|other| other.path == target);
            let known = other.is_none_or(|other| other.anchors.contains(anchor));
            if !anchor.is_empty() && !known {
                problems.push(format!(
                    "{}:{}: no heading #{anchor}",
                    document.name, link.line
                ));
            }
        }
    }
    nothing_of(&problems);
}
