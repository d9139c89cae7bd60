//! The host in Python, `examples/python`, in processes of its own.
//!
//! `cargo xtask test` makes the environment that it runs in; where there is none, the tests say so and are skipped.

use std::path::{Path, PathBuf};

use crate::{Rig, Tool, component, tool::Running};

/// Prepares a home with one connection to the fake, and Python in it with the package at hand. `None`, with a word why, where the
/// environment was not made.
pub fn on_fake(rig: &Rig) -> Option<Tool> {
    let root = root();
    let interpreter = root.join("target/python/bin/python");
    if !interpreter.exists() {
        println!("skipped: no Python environment; `cargo xtask test` makes it where it can");
        return None;
    }
    component::assert_current();
    let tool = Tool::on_fake(text(&interpreter), rig)
        .with("PYTHONPATH", text(&root.join("examples/python")))
        .with("PYTHONDONTWRITEBYTECODE", "1")
        .with("PROCORE_AUTH_PLUGIN", text(&component::path()));
    Some(tool)
}

/// Starts the package as a command.
pub fn start(tool: &Tool, arguments: &[&str]) -> Running {
    let module = ["-m", "procore_auth"];
    tool.start(&[&module, arguments].concat())
}

/// Starts one of the programs in `tests/python`.
pub fn start_program(tool: &Tool, name: &str, arguments: &[&str]) -> Running {
    let program = root().join("tests/python").join(name);
    tool.start(&[&[text(&program)], arguments].concat())
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("workspace").to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
