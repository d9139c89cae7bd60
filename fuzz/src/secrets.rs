//! Secrets in what people are told.

use procore_auth_guest::diagnosis::Diagnosis;

/// Stands in a corpus where a secret is to stand: one that no input can hold by chance.
pub const PLACEHOLDER: &str = "{secret}";

/// The secret that is put there: as long as Procore's, and of their letters.
pub const SECRET: &str = "f3a9c1e07b5d42688d1f0ea6c59b7340d2e8417fa06c95b3";

/// Fails where the text holds the secret.
pub fn assert_hidden(told: &str) {
    assert!(!told.contains(SECRET), "a secret is told: {told}");
}

/// Whether the secret stands where a URL shows what it is, in its scheme, host or path, and not in its user information, query or fragment.
pub fn is_in_the_open(url: &str) -> bool {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = bare.split_once("://").unwrap_or(("", bare));
    let scheme = scheme.rsplit('@').next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or_default();
    [scheme, host, path]
        .iter()
        .any(|part| part.to_ascii_lowercase().contains(SECRET))
}

/// Puts the secret in place of the placeholder.
pub fn planted(bytes: &[u8]) -> Vec<u8> {
    let mut planted = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(PLACEHOLDER.as_bytes()) {
            planted.extend_from_slice(SECRET.as_bytes());
            rest = after;
        } else {
            planted.push(rest[0]);
            rest = &rest[1..];
        }
    }
    planted
}

/// Checks what every diagnosis promises: a code that programs can compare, sentences, no secret, and nothing that a terminal would
/// take for a command.
pub fn check(diagnosis: &Diagnosis) {
    let Diagnosis {
        code,
        summary,
        cause,
        remedy,
        evidence,
    } = diagnosis;
    let is_code = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    assert!(
        code.bytes().all(is_code) && (1..=40).contains(&code.len()),
        "{code:?}"
    );
    for sentence in [summary, cause, remedy] {
        assert!(!sentence.trim().is_empty(), "{diagnosis:?}");
    }
    let told = [summary, cause, remedy].into_iter().chain(evidence);
    for text in told {
        assert_hidden(text);
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.len() < 2000, "{} bytes are told", text.len());
    }
}
