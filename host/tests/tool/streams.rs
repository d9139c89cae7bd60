//! Bodies that are streamed: from files, into files, and in little memory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use fake_procore::{Alteration, Fault, Reply, Target, bulk};
use procore_auth_tests::Tool;
use serde_json::json;

use crate::files::tree;
use crate::{fresh, signed_in};

const MIB: u64 = 1 << 20;

/// Makes a file of this size in the tool's home, of zeros and without taking room on the disk.
fn sparse(tool: &Tool, size: u64) {
    let file = fs::File::create(tool.path("body")).expect("made");
    file.set_len(size).expect("sized");
}

#[tokio::test]
async fn a_file_is_sent_and_an_answer_is_written_to_a_file() {
    let (_rig, tool, _) = signed_in().await;
    sparse(&tool, 3 * MIB);
    let upload = ["call", bulk::PATH, "--body-file", "body", "-o", "answer"];
    let sent = tool.run(&upload).await;
    assert_eq!(sent.code_is(0).out, "");
    let answer = fs::read_to_string(tool.path("answer")).expect("written");
    let zeros = vec![0; usize::try_from(3 * MIB).expect("small")];
    assert_eq!(answer, bulk::summary_of(&zeros));
    let mode = tool.path("answer").metadata().expect("there").permissions();
    assert_ne!(mode.mode() & 0o044, 0, "as any file, by the umask");

    let download = format!("{}/{}", bulk::PATH, 3 * MIB);
    let received = tool
        .run(&["call", &download, "-o", "answer", "--json"])
        .await;
    let document = received.code_is(0).json();
    assert_eq!(
        (&document["status"], &document["output"]),
        (&json!(200), &json!("answer"))
    );
    assert_eq!(document["body"], json!(null));
    let answer = fs::read(tool.path("answer")).expect("written");
    assert!(answer.len() as u64 == 3 * MIB && answer.iter().all(|byte| *byte == b'a'));

    let download = format!("{}/5", bulk::PATH);
    let shown = tool.run(&["call", &download]).await;
    assert_eq!(shown.code_is(0).out, "aaaaa");
    let shown = tool.run(&["call", &download, "--json"]).await;
    assert_eq!(shown.code_is(0).json()["body"], json!("aaaaa"));
}

#[tokio::test]
async fn a_download_that_breaks_off_leaves_no_file_and_an_old_one_as_it_was() {
    let (rig, tool, _) = signed_in().await;
    let download = format!("{}/200000", bulk::PATH);
    let before = tree(&tool.path("")).len();
    for old in [false, true] {
        if old {
            tool.write("answer", "old");
        }
        let broken = Fault::altered(Alteration::Truncated(100_000));
        rig.procore.inject(Target::Api, broken);
        let call = ["call", &download, "--output", "answer"];
        let broken = tool.run(&call).await;
        broken
            .code_is(5)
            .says("connection-closed")
            .says("100000 bytes");
        let left = fs::read_to_string(tool.path("answer"));
        assert_eq!(left.ok().as_deref(), old.then_some("old"));
        assert_eq!(tree(&tool.path("")).len(), before + usize::from(old));
    }
}

#[tokio::test]
async fn a_refusal_is_shown_and_not_written() {
    let (rig, tool, _) = signed_in().await;
    sparse(&tool, 64 * MIB);
    let too_large = Reply::json(413, &json!({"errors": "too large"}));
    rig.procore.inject(Target::Api, Fault::early(too_large));
    let upload = ["call", bulk::PATH, "--body-file", "body", "-o", "answer"];
    let refused = tool.run(&upload).await;
    refused.code_is(22).says("too large").says("status 413");
    assert!(!tool.path("answer").exists());

    rig.procore.inject(Target::Api, Fault::unread());
    let unknown = tool.run(&upload).await;
    unknown.code_is(8).says("unknown-outcome");
}

#[tokio::test]
async fn a_body_that_is_too_large_to_park_says_so() {
    let (_rig, tool) = fresh().await;
    sparse(&tool, 1024 * MIB);
    let call = ["call", bulk::PATH, "--body-file", "body", "--park"];
    let refused = tool.run(&call).await;
    refused
        .code_is(1)
        .says("too-large-to-park")
        .says("without --park");
}

#[cfg(target_os = "linux")]
mod memory {
    //! What a transfer takes beyond what the program takes anyway.

    use std::time::Duration;

    use procore_auth_tests::tool::Finished;

    use super::*;

    /// The most that a transfer may add, in KiB.
    const MARGIN: u64 = 32 << 10;

    /// Runs the program to its end, and returns the most memory that it had resident, in KiB.
    async fn peak(tool: &Tool, arguments: &[&str]) -> (Finished, u64) {
        let mut running = tool.start(arguments);
        let status = format!("/proc/{}/status", running.pid());
        let mut peak = 0;
        while running.is_running() {
            peak = resident_peak(&status).unwrap_or(peak);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        (running.end().await, peak)
    }

    /// Reads the high-water mark; there is none of a process that has ended.
    fn resident_peak(status: &str) -> Option<u64> {
        let status = fs::read_to_string(status).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_transfer_of_1_gib_takes_little_memory() {
        let size = 1024 * MIB;
        let (_rig, tool, _) = signed_in().await;
        let tool = tool.with("PROCORE_AUTH_LOG", "warn");
        sparse(&tool, size);
        let (small, idle) = peak(&tool, &["call", "/rest/v1.0/me"]).await;
        small.code_is(0);
        let began = std::time::Instant::now();
        let (sent, upload) = peak(&tool, &["call", bulk::PATH, "--body-file", "body"]).await;
        let uploaded = began.elapsed();
        let told: serde_json::Value = serde_json::from_str(&sent.code_is(0).out).expect("JSON");
        assert_eq!(told["bytes"], json!(size));
        let path = format!("{}/{size}", bulk::PATH);
        let began = std::time::Instant::now();
        let (received, download) = peak(&tool, &["call", &path, "-o", "answer"]).await;
        let downloaded = began.elapsed();
        received.code_is(0);
        let answer = tool.path("answer").metadata().expect("written");
        assert_eq!(answer.len(), size);
        println!(
            "{} MiB: idle {idle} KiB, upload {upload} KiB in {uploaded:?}, download {download} KiB in {downloaded:?}",
            size / MIB
        );
        assert!(idle > 0 && upload < idle + MARGIN, "{upload} KiB");
        assert!(download < idle + MARGIN, "{download} KiB");
    }
}
