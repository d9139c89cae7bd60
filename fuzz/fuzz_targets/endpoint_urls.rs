//! URLs that somebody uses together: what is taken for one environment's leads there to every parser.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procore_auth_fuzz::secrets;
use procore_auth_guest::environment::{EndpointSet, check_endpoints};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = String::from_utf8(secrets::planted(bytes)) else {
        return;
    };
    let mut lines = text.splitn(3, '\n').map(str::to_owned);
    let mut next = || lines.next().filter(|line| !line.is_empty());
    let urls = EndpointSet {
        authorize_url: next(),
        token_url: next(),
        api_base: next(),
    };
    match check_endpoints(&urls) {
        Ok(environment) => {
            let login = [&urls.authorize_url, &urls.token_url];
            for url in login.into_iter().flatten() {
                assert_eq!(
                    host(url).as_deref(),
                    Some(environment.login_host()),
                    "{url}"
                );
            }
            if let Some(url) = &urls.api_base {
                let host = host(url).expect("a host");
                assert!(environment.api_hosts().contains(&&*host), "{url}");
            }
        }
        Err(diagnosis) => {
            let shown = [&urls.authorize_url, &urls.token_url, &urls.api_base];
            if !shown
                .into_iter()
                .flatten()
                .any(|url| secrets::is_in_the_open(url))
            {
                secrets::assert_hidden(&format!("{diagnosis:?}"));
            }
        }
    }
});

/// The host by a parser of another standard.
fn host(url: &str) -> Option<String> {
    let absolute = if url.contains("://") {
        url.to_owned()
    } else {
        format!("https://{url}")
    };
    let url = url::Url::parse(&absolute).ok()?;
    assert_eq!(url.scheme(), "https");
    url.host_str().map(str::to_owned)
}
