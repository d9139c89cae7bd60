//! Bodies of any size: uploads that are counted and hashed instead of kept, and downloads that are made while they are sent.
//!
//! No resource of Procore's: it stands for its files and drawings. An upload is a `POST` or a `PUT` to [`PATH`]; it answers 201 with
//! `{"bytes": …, "sha256": …}`, and the log of requests has that text in place of the body. A `GET` below it, such as
//! `/rest/v1.0/bulk/1073741824`, sends so many times the letter a.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::environment::Role;
use crate::reply::Reply;
use crate::request::Request;
use crate::request_log::Recorded;

/// Where uploads go.
pub const PATH: &str = "/rest/v1.0/bulk";

/// Whether the body of a request is not to be kept.
pub(crate) fn is_upload(request: &Recorded) -> bool {
    request.role == Some(Role::Api)
        && request.path == PATH
        && matches!(request.method.as_str(), "POST" | "PUT")
}

/// Reads a body to its end, and returns what is told of it; nothing where it broke off.
pub(crate) async fn digest(mut body: Incoming) -> Option<Vec<u8>> {
    let (mut bytes, mut hash) = (0_u64, Sha256::new());
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame.ok()?.into_data() {
            bytes += piece.len() as u64;
            hash.update(&piece);
        }
    }
    Some(summary(bytes, &hash.finalize()))
}

/// Reads a body to its end for nobody.
pub(crate) async fn discard(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn summary(bytes: u64, hash: &[u8]) -> Vec<u8> {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"bytes": bytes, "sha256": hex})
        .to_string()
        .into_bytes()
}

/// Answers an upload, of which the request holds the summary.
pub(crate) fn uploaded(request: &Request) -> Reply {
    Reply::new(201, "application/json; charset=utf-8", request.body.clone())
}

/// Answers a download.
pub(crate) fn download(size: &str) -> Option<Reply> {
    size.parse().ok().map(Reply::giant)
}

/// Tells of a body what the server tells of an upload.
#[must_use]
pub fn summary_of(body: &[u8]) -> String {
    let summary = summary(body.len() as u64, &Sha256::digest(body));
    String::from_utf8_lossy(&summary).into_owned()
}
