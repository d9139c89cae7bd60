//! What `--version` prints: the tool's version, the contract's, and which plugin is inside.

use std::sync::LazyLock;

use procore_auth_host::{CONTRACT_VERSION, Plugin};

/// Returns the text of `--version`, without the program's name in front.
pub(super) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        format!(
            "{}\ncontract procore:auth@{CONTRACT_VERSION}\nplugin sha256 {}",
            env!("CARGO_PKG_VERSION"),
            Plugin::bundled_digest()
        )
    });
    &TEXT
}
