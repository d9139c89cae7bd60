//! Error replies of both hosts, of the authorize page and of whatever stands in between: one diagnosis, without what it must not
//! repeat.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procore_auth_fuzz::{reply, secrets};
use procore_auth_guest::environment::Environment;
use procore_auth_guest::explain::{Endpoint, Observation, explain};

const ENDPOINTS: [Endpoint; 5] = [
    Endpoint::Authorize,
    Endpoint::Exchange,
    Endpoint::Refresh,
    Endpoint::ClientCredentials,
    Endpoint::Api,
];

fuzz_target!(|bytes: &[u8]| {
    // The first line may be the URL that was called: the caller's own, whose host is told.
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let url = str::from_utf8(line)
        .ok()
        .filter(|line| line.contains("://"));
    if url.is_some_and(|url| url.to_ascii_lowercase().contains(secrets::SECRET)) {
        return;
    }
    let rest = url.map_or(bytes, |url| bytes.get(url.len() + 1..).unwrap_or_default());
    let Some(response) = reply::read(&secrets::planted(rest)) else {
        return;
    };
    for environment in Environment::ALL {
        for endpoint in ENDPOINTS {
            let diagnosis = explain(&Observation {
                environment,
                endpoint,
                url,
                status: response.status,
                headers: &response.headers,
                body: &response.body,
            });
            secrets::check(&diagnosis);
            if diagnosis.code == "ok" {
                assert!(response.status < 400, "{diagnosis:?}");
            }
        }
    }
});
