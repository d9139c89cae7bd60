//! What `packaging/` holds: units for systemd, an agent for launchd, a task for Windows.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use procore_auth_tests::Tool;
use roxmltree::{Document, Node, ParsingOptions};

use crate::PROGRAM;

/// Where the units expect the program.
const INSTALLED: &str = "/usr/local/bin/procore-auth";

const UNITS: [&str; 3] = [
    "procore-auth.service",
    "procore-auth-tick.service",
    "procore-auth-tick.timer",
];

fn packaging(path: &str) -> PathBuf {
    let host = Path::new(env!("CARGO_MANIFEST_DIR"));
    host.join("../packaging").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(packaging(path)).expect("there")
}

/// Asserts that the program takes these arguments: without a configuration it then says so.
async fn takes(arguments: &[&str]) {
    let tool = Tool::new(PROGRAM, Vec::new);
    let run = tool.run(arguments).await;
    run.code_is(3).says("There is no configuration file.");
}

#[tokio::test]
async fn the_program_takes_what_the_units_start_it_with() {
    for unit in &UNITS[..2] {
        let text = read(&format!("systemd/{unit}"));
        let starts: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("ExecStart="))
            .collect();
        let [start] = starts[..] else {
            panic!("one ExecStart in {unit}");
        };
        let arguments = start.strip_prefix(INSTALLED).expect("our program");
        takes(&arguments.split_whitespace().collect::<Vec<_>>()).await;
    }
}

#[test]
fn systemd_accepts_the_units() {
    let folder = tempfile::tempdir().expect("a folder");
    for unit in UNITS {
        // The program must be there to be accepted.
        let text = read(&format!("systemd/{unit}")).replace(INSTALLED, PROGRAM);
        fs::write(folder.path().join(unit), text).expect("written");
    }
    let mut verify = Command::new("systemd-analyze");
    verify
        .args(["verify", "--man=no"])
        .current_dir(folder.path());
    let verified = match verify.args(UNITS.map(|unit| format!("./{unit}"))).output() {
        Ok(verified) => verified,
        Err(error) => {
            println!("skipped: systemd-analyze cannot be started: {error}");
            return;
        }
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    // What it says of other units of this machine is not ours to mend.
    let ours: Vec<_> = said
        .lines()
        .filter(|l| l.contains("procore-auth"))
        .collect();
    assert!(ours.is_empty(), "{said}");
}

#[tokio::test]
async fn the_agent_for_launchd_is_well_formed_and_starts_the_keeper() {
    let text = read("launchd/com.procore-auth.run.plist");
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(&text, options).expect("well formed");
    let arguments: Vec<_> = document
        .descendants()
        .filter(|node| node.has_tag_name("array"))
        .flat_map(|array| {
            array
                .children()
                .filter_map(|node: Node<'_, '_>| node.text())
        })
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .collect();
    assert_eq!(arguments[0], INSTALLED);
    takes(&arguments[1..]).await;
    // Whoever may write to a folder could put a link in the log's place.
    assert!(!text.contains("/tmp/"), "{text}");
    // Keys and values alternate.
    let dict = document
        .root_element()
        .first_element_child()
        .expect("a dict");
    let children: Vec<_> = dict.children().filter(Node::is_element).collect();
    let keys = children.iter().step_by(2);
    assert!(keys.clone().all(|node| node.has_tag_name("key")));
    assert_eq!(children.len(), keys.count() * 2);
}

#[tokio::test]
async fn the_task_for_windows_is_well_formed_and_makes_a_visit() {
    let text = read("windows/procore-auth-tick.xml");
    let document = Document::parse(&text).expect("well formed");
    let namespace = "http://schemas.microsoft.com/windows/2004/02/mit/task";
    assert_eq!(
        document.root_element().tag_name().namespace(),
        Some(namespace)
    );
    let arguments = document
        .descendants()
        .find(|node| node.tag_name().name() == "Arguments")
        .and_then(|node| node.text())
        .expect("arguments");
    takes(&arguments.split_whitespace().collect::<Vec<_>>()).await;
}
