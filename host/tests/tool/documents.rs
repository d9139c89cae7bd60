//! The documents do what they say: every command in README.md, CONTRIBUTING.md, SECURITY.md and docs/ is run, or stands on a list
//! with the reason why not.
//!
//! A block of ` ```console ` is followed line by line by a [`Reader`] in a home of their own, against the stand-in for Procore; what
//! the document shows of the answers is compared loosely. Blocks of other languages are checked as what they are. Pieces of text that
//! are commands (`tick --next-visit 62m`) are checked for verbs and options that do not exist, and links for places that do not.

mod languages;
mod lists;
mod markdown;
mod reader;
mod shown;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use procore_auth_tests::Tool;
use tokio::{sync::Semaphore, task::JoinSet};

use lists::{COMING, NOT_CHECKED, NOT_RUN, PLACES, Place};
use markdown::{Command, Document, commands};
use reader::{Reader, Situation, with_path};
use shown::{not_shown, short};

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
            if let Some(verb) = unknown_verb(&text, &verbs) {
                problems.push(format!("{}:{line}: {verb:?} is no verb", document.name));
            }
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
    let here = COMING.iter().filter(|verb| verbs.contains(*verb));
    problems.extend(
        here.map(|verb| format!("{verb:?} is there now: look at what the documents say of it")),
    );
    println!("different commands checked: {}", checked.len());
    nothing_of(&problems);
}

/// Returns the verb of a command that is in the program's name, where there is no such verb and none is to come.
fn unknown_verb<'a>(text: &'a str, verbs: &BTreeSet<&str>) -> Option<&'a str> {
    let (before, rest) = text.rsplit_once("procore-auth ")?;
    let is_name = before.is_empty() || before.ends_with([' ', '(']);
    let word = rest.split_whitespace().next()?;
    let is_word = word.chars().all(|c| c.is_ascii_lowercase());
    let is_verb = verbs.contains(word) || COMING.contains(&word);
    (is_name && is_word && !is_verb).then_some(word)
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
    let (mut problems, mut used) = (Vec::new(), BTreeSet::new());
    for document in documents() {
        for block in &document.blocks {
            used.insert(block.language.clone());
            let wrong = languages::wrong_with(block, rig.procore.ca_pem()).await;
            let at = format!("{}:{}", document.name, block.line);
            problems.extend(wrong.map(|wrong| format!("{at}: {wrong}\n{}", block.text)));
        }
    }
    nothing_of(&problems);
    let unused = NOT_CHECKED
        .iter()
        .find(|(language, _)| !used.contains(*language));
    assert!(unused.is_none(), "{unused:?} is in no document");
}

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
