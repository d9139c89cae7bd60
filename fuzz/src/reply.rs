//! A reply as people write one down, so that a corpus can be read: the status, headers, an empty line, the body.

use procore_auth_guest::http::{Header, Response};

/// Reads a reply. The first line is the status; whatever follows the first empty line is the body, to the byte.
pub fn read(bytes: &[u8]) -> Option<Response> {
    let (head, body) = match bytes.windows(2).position(|window| window == b"\n\n") {
        Some(end) => (&bytes[..end], bytes[end + 2..].to_vec()),
        None => (bytes, Vec::new()),
    };
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next()?.trim().parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| Header::new(name, value));
    Some(Response {
        status,
        headers: headers.collect(),
        body,
    })
}
