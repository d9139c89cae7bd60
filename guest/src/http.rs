//! HTTP requests and replies as the pure modules see them.

use miniserde::{Deserialize, Serialize};

use crate::secret::Secret;

/// One header; names are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

impl Header {
    /// Makes a header.
    pub fn new(name: &str, value: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }
}

/// Returns the first value of the named header.
pub fn find_header<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim())
}

/// The value of a form field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// Text, which may be a token or a code.
    Text(Secret),
    /// The client secret, which the host fills in.
    ClientSecret,
}

/// A form for the token endpoint.
pub type Form = Vec<(&'static str, FieldValue)>;

/// A request body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// As it is.
    Bytes(Vec<u8>),
    /// Form-encoded by the host.
    Form(Form),
    /// The value of the store's entry with this key, which the host reads.
    Stored(String),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The absolute URL.
    pub url: String,
    /// The headers.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Body,
    /// How long it may take, in milliseconds.
    pub timeout: u64,
}

/// A reply.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<Header>,
    /// The body: it may hold tokens, so `Debug` tells its size alone.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Response {{ status: {}, {} bytes }}",
            self.status,
            self.body.len()
        )
    }
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Such as `dns` or `timeout`.
    pub code: String,
    /// For a person.
    pub message: String,
    /// Whether any byte may have reached the server.
    pub sent: bool,
}
