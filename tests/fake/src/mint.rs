//! New secrets, ids, and the list of all secrets ever issued.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Makes values that are unique within one server and, with a seed given, the same in each run.
///
/// They are not secure: the seed gives them all away.
#[derive(Debug)]
pub(crate) struct Mint {
    seed: u64,
    count: u64,
    issued: Vec<String>,
}

impl Mint {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            count: 0,
            issued: Vec::new(),
        }
    }

    /// Returns a new access token, shaped like a JSON Web Token and at least this long.
    pub(crate) fn access_token(&mut self, least_bytes: usize) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES512"}"#);
        let mut payload = String::new();
        while header.len() + payload.len() * 4 / 3 + 45 < least_bytes || payload.is_empty() {
            payload.push_str(&self.text());
        }
        let payload = URL_SAFE_NO_PAD.encode(format!(r#"{{"jti":"{payload}"}}"#));
        let token = format!("{header}.{payload}.{}", self.text());
        self.keep(token)
    }

    /// Returns a new refresh token, authorization code or client secret.
    pub(crate) fn secret(&mut self) -> String {
        let text = self.text();
        self.keep(text)
    }

    /// Returns a new request id, shaped like a UUID.
    pub(crate) fn request_id(&mut self) -> String {
        let hex: String = self.digest()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    /// Adds a secret from elsewhere to the list, and returns it.
    pub(crate) fn keep(&mut self, secret: String) -> String {
        register(&secret);
        self.issued.push(secret.clone());
        secret
    }

    /// Lists every secret that was issued or kept, oldest first.
    pub(crate) fn issued(&self) -> &[String] {
        &self.issued
    }

    fn text(&mut self) -> String {
        URL_SAFE_NO_PAD.encode(self.digest())
    }

    fn digest(&mut self) -> [u8; 32] {
        self.count += 1;
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(self.count.to_le_bytes());
        hash.finalize().into()
    }
}

/// The environment variable that names a file to which every secret is added, a line each: what a search of all that a test run
/// wrote looks for.
const REGISTER: &str = "FAKE_PROCORE_SECRETS";

fn register(secret: &str) {
    static FILE: LazyLock<Option<File>> = LazyLock::new(|| {
        let path = env::var_os(REGISTER)?;
        let file = OpenOptions::new().append(true).create(true).open(path);
        Some(file.expect("a register that can be written"))
    });
    if let Some(mut file) = FILE.as_ref() {
        // One write: other processes append too.
        file.write_all(format!("{secret}\n").as_bytes())
            .expect("a register that can be written");
    }
}

/// Returns the S256 challenge of a PKCE verifier (RFC 7636, section 4.2).
pub(crate) fn s256(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_with_the_seed_and_never_within_one_run() {
        let (mut one, mut same, mut other) = (Mint::new(1), Mint::new(1), Mint::new(2));
        let first = one.secret();
        assert_eq!(first, same.secret());
        assert_ne!(first, other.secret());
        assert_ne!(first, one.secret());
        assert_eq!(one.issued().len(), 2);
    }

    #[test]
    fn access_tokens_look_like_jwts_of_the_length_asked_for() {
        let token = Mint::new(1).access_token(1100);
        assert!(token.len() >= 1100 && token.len() < 1300, "{}", token.len());
        assert_eq!(token.split('.').count(), 3);
        assert!(Mint::new(1).access_token(0).len() > 80);
    }

    #[test]
    fn challenges_as_rfc_7636_appendix_b() {
        assert_eq!(
            s256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
