//! The configuration file: every mistake has a place and a cure, and a secret in the wrong place is not shown.
#![no_main]

/// The tool's own modules, as far as the configuration needs them.
#[allow(dead_code, missing_docs, unreachable_pub, unused_imports)]
#[path = "../../host/src/cli"]
mod cli {
    pub(crate) mod config;
    pub(crate) mod exit;
    pub(crate) mod failure;
    pub(crate) mod replace_file;
    pub(crate) mod secret_reference;
    pub(crate) mod time;
}

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use procore_auth_fuzz::secrets;

use cli::config::Config;

/// Keys whose values are shown: what a person may see who may read the file.
const SHOWN: [&str; 24] = [
    "state",
    "journal",
    "plugin",
    "default_connection",
    "extra_ca",
    "connect_to",
    "environment",
    "client_id",
    "grant",
    "redirect_uri",
    "company_id",
    "refresh_percent",
    "refresh_jitter",
    "token_timeout",
    "lock_wait",
    "call_timeout",
    "parked_count",
    "parked_bytes",
    "parked_age",
    "pkce",
    "format",
    "connections",
    "retry",
    "listen",
];

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = String::from_utf8(secrets::planted(bytes)) else {
        return;
    };
    let path = Path::new("/etc/procore-auth/config.toml");
    match Config::parse(path, text.clone()) {
        Ok(config) => {
            assert!(!config.state.as_os_str().is_empty());
            assert!(config.select_all(None).is_ok() || config.environments().next().is_none());
        }
        Err(failure) => {
            let explained = failure.explained();
            assert!(!explained.summary.is_empty() && !explained.remedy.is_empty());
            let told = format!("{explained:?}");
            if !may_be_shown(&text) {
                secrets::assert_hidden(&told);
            }
            for line in explained.excerpt.iter().flat_map(|excerpt| excerpt.lines()) {
                assert!(
                    !line.contains(|c: char| c.is_control() && c != '\t'),
                    "{line:?}"
                );
            }
        }
    }
});

/// Whether the secret stands only where a harmless value is expected, in a line of its own.
fn may_be_shown(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| line.contains(secrets::SECRET));
    lines.any(|line| {
        let key = line.split('=').next().unwrap_or_default().trim();
        SHOWN.contains(&key) || line.trim_start().starts_with('[')
    })
}
