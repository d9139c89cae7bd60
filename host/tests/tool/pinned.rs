//! A plugin that is pinned: any other is refused, and both are named.

use std::fs;
use std::path::{Path, PathBuf};

use procore_auth_tests::Tool;
use sha2::{Digest as _, Sha256};

use crate::{PROGRAM, signed_in};

/// A digest of something else.
const ANOTHER: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn component() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/procore-auth.wasm")
}

/// Returns a file's digest as `sha256sum` prints it.
pub(crate) fn sha256(file: &Path) -> String {
    let bytes = fs::read(file).expect("there");
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts a line in front of the configuration.
fn configure(tool: &Tool, line: &str) {
    tool.reconfigure(
        "state = \"state\"\n",
        &format!("state = \"state\"\n{line}\n"),
    );
}

/// Copies the component into the tool's home and pins it there.
fn pin_a_copy(tool: &Tool, digest: &str) {
    fs::copy(component(), tool.path("plugin.wasm")).expect("built");
    configure(
        tool,
        &format!("plugin = {{ path = \"plugin.wasm\", sha256 = \"{digest}\" }}"),
    );
}

#[tokio::test]
async fn the_version_names_the_contract_and_the_plugin_inside() {
    let tool = Tool::new(PROGRAM, Vec::new);
    let version = tool.run(&["--version"]).await;
    let digest = sha256(&component());
    assert_eq!(
        version.code_is(0).out,
        format!(
            "procore-auth {}\ncontract procore:auth@{}\nplugin sha256 {digest}\n",
            env!("CARGO_PKG_VERSION"),
            procore_auth_host::CONTRACT_VERSION
        )
    );
    let short = tool.run(&["-V"]).await;
    assert_eq!(short.code_is(0).out.lines().count(), 1, "{short}");
}

#[tokio::test]
async fn a_pinned_file_is_used_until_it_is_swapped() {
    let (_rig, tool, _) = signed_in().await;
    let (pinned, file) = (sha256(&component()), tool.path("plugin.wasm"));
    pin_a_copy(&tool, &pinned);
    tool.run(&["token"]).await.code_is(0);

    // Not even a component: the digest decides before anything is parsed.
    fs::write(&file, b"another").expect("written");
    let found = sha256(&file);
    let refused = tool.run(&["token"]).await;
    refused
        .code_is(3)
        .says("code: plugin-not-pinned\n")
        .says(&format!("has the SHA-256 {found}"))
        .says(&format!("pins {pinned}"))
        .says("It was not loaded.")
        .says("The file was replaced or changed")
        .says("put the pinned file back");
    let json = tool.run(&["token", "--json"]).await.code_is(3).json();
    assert_eq!(json["error"]["code"], "plugin-not-pinned");

    fs::copy(component(), &file).expect("built");
    tool.run(&["token"]).await.code_is(0);
}

#[tokio::test]
async fn the_plugin_inside_the_program_can_be_pinned_too() {
    let (_rig, tool, _) = signed_in().await;
    let inside = sha256(&component());
    configure(&tool, &format!("plugin = {{ sha256 = \"{inside}\" }}"));
    tool.run(&["token"]).await.code_is(0);
    tool.reconfigure(&inside, ANOTHER);
    tool.run(&["token"])
        .await
        .code_is(3)
        .says("code: plugin-not-pinned\n")
        .says(&inside)
        .says(ANOTHER)
        .says("procore-auth was updated or replaced")
        .says("The plugin inside this program");
}

#[tokio::test]
async fn digits_may_be_upper_case() {
    let (_rig, tool, _) = signed_in().await;
    pin_a_copy(&tool, &sha256(&component()).to_ascii_uppercase());
    tool.run(&["token"]).await.code_is(0);
    tool.reconfigure(
        &sha256(&component()).to_ascii_uppercase(),
        &ANOTHER.to_ascii_uppercase(),
    );
    // Shown as every other tool shows it.
    tool.run(&["token"]).await.code_is(3).says(ANOTHER);
}

#[tokio::test]
async fn a_pin_that_is_no_digest_is_shown_at_its_line_and_not_repeated() {
    let (_rig, tool, _) = signed_in().await;
    let whole = sha256(&component());
    pin_a_copy(&tool, &whole);
    for (digits, says) in [
        (&whole[..63], "has 63 characters"),
        ("", "has 0 characters"),
        (&*format!("{}g", &whole[..63]), "character 64"),
        (&*format!("sha256:{}", &whole[7..]), "character 1"),
    ] {
        tool.reconfigure(
            &format!("sha256 = \"{whole}\""),
            &format!("sha256 = \"{digits}\""),
        );
        let refused = tool.run(&["token"]).await;
        refused
            .code_is(3)
            .says("code: config-invalid\n")
            .says(says)
            .says("config.toml:2:")
            .says("sha256sum");
        assert!(
            digits.is_empty() || !refused.err.contains(digits),
            "{refused}"
        );
        tool.reconfigure(
            &format!("sha256 = \"{digits}\""),
            &format!("sha256 = \"{whole}\""),
        );
    }
}

#[tokio::test]
async fn what_is_neither_a_path_nor_a_pin_is_refused() {
    for (line, says) in [
        ("plugin = {}", "`path`, `sha256` or both"),
        ("plugin = 1", "a path in quotes, or { path"),
        (
            "plugin = { path = \"plugin.wasm\", digest = \"00\" }",
            "unknown field `digest`",
        ),
        ("plugin = { sha256 = 64 }", "a text in quotes"),
    ] {
        let (_rig, tool, _) = signed_in().await;
        configure(&tool, line);
        let refused = tool.run(&["token"]).await;
        refused.code_is(3).says("code: config-invalid\n").says(says);
    }
}

#[tokio::test]
async fn a_pinned_file_that_cannot_be_read_is_told_as_such() {
    let (_rig, tool, _) = signed_in().await;
    pin_a_copy(&tool, &sha256(&component()));
    fs::remove_file(tool.path("plugin.wasm")).expect("there");
    let refused = tool.run(&["token"]).await;
    refused
        .code_is(3)
        .says("code: plugin\n")
        .says("cannot read")
        .says("plugin.wasm");
    // A folder is no file, whoever reads it.
    fs::create_dir(tool.path("plugin.wasm")).expect("made");
    tool.run(&["token"]).await.code_is(3).says("cannot read");
}

/// What a process compiled serves the next one, unless it was changed or others could have: then it is compiled anew.
#[cfg(unix)]
#[tokio::test]
async fn what_was_compiled_is_used_while_it_is_whole_and_private() {
    use std::os::unix::fs::PermissionsExt as _;

    let (_rig, tool, _) = signed_in().await;
    let folder = tool.path(".cache/procore-auth");
    let kept = || {
        let mut files = fs::read_dir(&folder).expect("kept");
        files.next().expect("a file").expect("readable").path()
    };
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(kept()).expect("there"));
    tool.run(&["token"]).await.code_is(0);
    let first = inode();
    tool.run(&["token"]).await.code_is(0);
    assert_eq!(inode(), first, "used, and not made again");
    let mut code = fs::read(kept()).expect("there");
    let middle = code.len() / 2;
    code[middle] ^= 1;
    fs::write(kept(), code).expect("written");
    tool.run(&["token"]).await.code_is(0);
    assert_ne!(inode(), first, "compiled anew");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("set");
    let told = tool.run(&["token"]).await;
    told.code_is(0).says("insecure-permissions");
}

#[tokio::test]
async fn what_is_pinned_is_compiled_each_time() {
    let (_rig, tool, _) = signed_in().await;
    let inside = sha256(&component());
    configure(&tool, &format!("plugin = {{ sha256 = \"{inside}\" }}"));
    fs::remove_dir_all(tool.path(".cache")).expect("from the sign-in");
    tool.run(&["token"]).await.code_is(0);
    assert!(!tool.path(".cache").exists());
}
