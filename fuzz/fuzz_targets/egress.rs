//! Where a request may go: what is permitted is Procore's to every parser, and its headers are as many as were asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procore_auth_lending::{
    Environment,
    egress::{Destination, Egress},
};

const ENVIRONMENTS: [(Environment, &str, &[&str]); 4] = [
    (
        Environment::Production,
        "login.procore.com",
        &["api.procore.com"],
    ),
    (
        Environment::Sandbox,
        "login-sandbox.procore.com",
        &["sandbox.procore.com"],
    ),
    (
        Environment::MonthlySandbox,
        "login-sandbox-monthly.procore.com",
        &["monthly-sandbox.procore.com", "api-monthly.procore.com"],
    ),
    (
        Environment::Federal,
        "login.procoregov.com",
        &["api.procoregov.com"],
    ),
];

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    // The first line is the request line, the others are headers. A carriage return and what `\n` stands for stay in them.
    let (line, headers) = text.split_once('\n').unwrap_or((text, ""));
    let (method, url) = line.split_once(' ').unwrap_or(("GET", line));
    for (environment, login, api) in ENVIRONMENTS {
        let policy = Egress::for_environment(environment);
        for uses_secret in [false, true] {
            if let Ok(permit) = policy.permit(method, url, uses_secret) {
                let uri = permit.uri.to_string();
                let is_login = permit.destination == Destination::Login;
                assert!(is_login || !uses_secret, "the secret goes to {uri}");
                assert_eq!(permit.method.as_str(), method);
                let login = [login];
                leads_to(&uri, if is_login { &login } else { api });
            }
        }
        let probing = Egress::for_environment(environment).with_token_info_probes();
        if let Ok(permit) = probing.permit(method, url, false)
            && permit.destination == Destination::TokenInfoProbe
        {
            assert_eq!((method, permit.uri.path()), ("GET", "/oauth/token/info"));
            let logins: Vec<&str> = ENVIRONMENTS.iter().map(|(_, login, _)| *login).collect();
            leads_to(&permit.uri.to_string(), &logins);
        }
    }
    let headers = headers.replace("\\r", "\r").replace("\\n", "\n");
    let asked: Vec<(&str, &str)> = headers
        .split("\n\n")
        .filter_map(|header| header.split_once(':'))
        .collect();
    headers_are_as_many(&asked);
});

/// Reads the URI with two parsers, and by hand.
fn leads_to(uri: &str, hosts: &[&str]) {
    assert!(uri.bytes().all(|b| b.is_ascii_graphic()), "{uri:?}");
    let url = url::Url::parse(uri).expect("a URL");
    assert_eq!((url.scheme(), url.port()), ("https", None), "{uri}");
    assert!(
        url.username().is_empty() && url.password().is_none(),
        "{uri}"
    );
    assert!(hosts.contains(&url.host_str().expect("a host")), "{uri}");
    let other: http::Uri = uri.parse().expect("a URI");
    assert!(hosts.contains(&other.host().expect("a host")), "{uri}");
    let authority = uri.strip_prefix("https://").expect("https");
    let end = authority
        .find(['/', '?', '#', '\\'])
        .unwrap_or(authority.len());
    assert!(hosts.contains(&&authority[..end]), "{uri}");
}

/// What goes over the line is read back as the same headers: nobody can slip one in.
fn headers_are_as_many(asked: &[(&str, &str)]) {
    let policy = Egress::for_environment(Environment::Production);
    let Ok(permitted) = policy.permit_headers(asked.iter().copied()) else {
        return;
    };
    assert_eq!(permitted.len(), asked.len());
    assert!(permitted.get_all("authorization").iter().count() <= 1);
    let mut head = b"GET / HTTP/1.1\r\n".to_vec();
    for (name, value) in &permitted {
        let owned = [
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "upgrade",
        ];
        assert!(!owned.contains(&name.as_str()), "{name}");
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let mut parsed = vec![httparse::EMPTY_HEADER; asked.len() + 8];
    let mut request = httparse::Request::new(&mut parsed);
    let read = request.parse(&head).expect("a request");
    assert_eq!(read, httparse::Status::Complete(head.len()));
    assert_eq!(request.headers.len(), asked.len());
}
