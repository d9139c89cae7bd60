//! The composed component in Node, through jco and its shim.
//!
//! `cargo xtask test` installs jco; where there is no Node, or an older one than it needs, the test says so and ends.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use fake_procore::{CredentialPair, Options};
use procore_auth_wasi_tests::{LIFETIME, NAME, REDIRECT_URI, World, built, secret};

use crate::sharing::{bearer, bearer_of_native, sign_in};

fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/node/node_modules")
}

/// Says why Node cannot be used, if it cannot.
fn hindrance() -> Option<&'static str> {
    let script = "const [a, b] = process.versions.node.split('.'); process.exit(a > 20 || (a == 20 && b >= 18) ? 0 : 1)";
    let node = Command::new("node")
        .args(["-e", script])
        .stderr(Stdio::null())
        .status();
    if !node.is_ok_and(|status| status.success()) {
        return Some("there is no Node 20.18 or newer");
    }
    let is_there = packages().join("@bytecodealliance/jco-transpile").is_dir();
    (!is_there).then_some("the packages of examples/node are not installed; run: cargo xtask wasi")
}

/// Asks a Node process for a token, in a folder of its own. Returns what it wrote to standard error as well.
fn bearer_of_node(world: &World) -> (String, String) {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("node");
    for script in ["token.js", "on-the-way.cjs"] {
        fs::copy(scripts.join(script), home.join(script)).expect("copied");
    }
    fs::write(home.join("package.json"), r#"{"type":"module"}"#).expect("written");
    fs::write(home.join("ca.pem"), world.procore.ca_pem()).expect("written");
    fs::write(home.join("procore.wasm"), built("procore-auth.wasi.wasm")).expect("written");
    symlink(packages(), home.join("node_modules")).expect("linked");
    let output = Command::new("node")
        .current_dir(home)
        .args(["token.js", "procore.wasm"])
        .arg(world.stores.path())
        // The shim's worker takes no arguments of its parent.
        .env("NODE_OPTIONS", "--require=./on-the-way.cjs")
        .env("NODE_EXTRA_CA_CERTS", home.join("ca.pem"))
        .env("FAKE_ADDRESS", world.procore.address().to_string())
        .env("FAKE_NOW", world.clock.now().to_string())
        .env("PROCORE_AUTH_CONNECTION", NAME)
        .env("PROCORE_AUTH_STORE", "/stores")
        .env("PROCORE_ENVIRONMENT", "sandbox")
        .env(
            "PROCORE_CLIENT_ID",
            Options::demo_client_id(CredentialPair::Sandbox),
        )
        .env("PROCORE_CLIENT_SECRET", secret())
        .env("PROCORE_REDIRECT_URI", REDIRECT_URI)
        .env("PROCORE_COMPANY_ID", Options::DEMO_COMPANY.to_string())
        .output()
        .expect("Node runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let stderr = text(output.stderr);
    assert!(output.status.success(), "{stderr}");
    (text(output.stdout).trim_end().to_owned(), stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn node_reads_the_token_of_others_and_refreshes_once() {
    if let Some(why) = hindrance() {
        println!("skipped: {why}");
        return;
    }
    let world = World::with_user().await;
    sign_in(&world).await;
    let first = bearer(&world).await;
    // Tokens are compared so that a failure does not print them.
    assert!(bearer_of_node(&world).0 == first);
    assert_eq!(world.procore.rotations(), 0);

    world.advance(LIFETIME * 9 / 10);
    let (second, stderr) = bearer_of_node(&world);
    assert!(second != first, "{stderr}");
    assert!(bearer_of_node(&world).0 == second);
    assert!(bearer(&world).await == second);
    assert!(bearer_of_native(&world).await == second);
    assert_eq!(world.procore.rotations(), 1);
}
