//! `procore.env` as scripts have it: read, and the client secret is not in what is shown of it.
#![no_main]

// What the tool takes from the host, without the host: that takes minutes to build.
extern crate self as procore_auth_host;
pub use procore_auth_guest::environment::EndpointSet;
pub use procore_auth_lending::{Environment, Secret};

#[allow(dead_code, missing_docs)]
#[path = "../../host/src/cli/env_file.rs"]
mod env_file;

use libfuzzer_sys::fuzz_target;
use procore_auth_fuzz::secrets;

use env_file::EnvFile;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = String::from_utf8(secrets::planted(bytes)) else {
        return;
    };
    match EnvFile::parse(&text) {
        Ok(file) => {
            let EnvFile { client_secret, .. } = &file;
            if let Some(secret) = client_secret {
                assert!(text.contains(secret.expose()) || text.contains('\\'));
                let elsewhere = [
                    &file.client_id,
                    &file.redirect_uri,
                    &file.urls.authorize_url,
                    &file.urls.token_url,
                    &file.urls.api_base,
                ];
                let mut elsewhere = elsewhere.into_iter().flatten();
                if !elsewhere.any(|value| value.contains(secrets::SECRET))
                    && file.unknown_environment.is_none()
                    && !file
                        .url_names
                        .iter()
                        .any(|name| name.contains(secrets::SECRET))
                {
                    secrets::assert_hidden(&format!("{file:?}"));
                }
            }
        }
        Err(unknown) => {
            let line = text
                .lines()
                .nth(unknown.line - 1)
                .expect("a line of the file");
            assert!(line.contains(&unknown.name), "{line}");
        }
    }
});
