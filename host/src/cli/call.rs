//! `procore-auth call`: one request to Procore's REST API, with curl's habits.
//!
//! The body goes to standard output as it is; what is known beside it goes to standard error.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use procore_auth_host::{ApiRequest, ApiResponse, Outcome, ParkedRequest};
use serde::Serialize;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::typed::Input;
use super::{report, time};

/// The request.
#[derive(Args)]
pub(super) struct Arguments {
    /// The path with its query, such as /rest/v1.0/me
    #[arg(value_parser = path)]
    path: String,
    /// The method [default: GET; with a body: POST]
    #[arg(short = 'X', long = "request", value_name = "METHOD", value_parser = method)]
    method: Option<String>,
    /// A header; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The body; @FILE reads a file, @- standard input. JSON unless a Content-Type header says otherwise
    #[arg(short, long, value_name = "DATA", conflicts_with = "body_file")]
    data: Option<String>,
    /// A file with the body; - for standard input
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// The company that the call is for [default: the connection's]
    #[arg(long, value_name = "ID")]
    company: Option<u64>,
    /// Executing the request twice does the same as once: it may be repeated
    #[arg(long)]
    idempotent: bool,
    /// Keep the request and send it later where it cannot be sent now
    #[arg(long)]
    park: bool,
    /// How long all attempts together may take, such as 30s
    #[arg(long, value_name = "TIME", value_parser = time::parse_span)]
    timeout: Option<Duration>,
    /// Print the status and the headers before the body
    #[arg(short, long)]
    include: bool,
}

#[derive(Serialize)]
struct Answered<'a> {
    status: u16,
    attempts: u32,
    headers: Vec<(&'a str, &'a str)>,
    /// The body where it is text: JSON as such, anything else as a string.
    body: Option<serde_json::Value>,
    /// The body where it is not.
    body_base64: Option<String>,
    diagnosis: Option<&'a procore_auth_host::Diagnosis>,
    /// Whether the service account made the call, since the user must sign in.
    fallback: bool,
}

#[derive(Serialize)]
struct Parked<'a> {
    parked: &'a ParkedRequest,
}

/// Sends the request and prints the answer.
pub(super) async fn run(context: &Context<'_>, arguments: Arguments) -> Result<Exit, Failure> {
    let include = arguments.include;
    let open = context.open_one().await?;
    let request = arguments.into_request()?;
    match open.connection.send(request).await? {
        Outcome::Answered(response) => answered(context, &response, include),
        Outcome::Parked(request) => parked(context, &request),
        _ => Err(unknown_outcome()),
    }
}

/// For an outcome that a later version of the library has.
fn unknown_outcome() -> Failure {
    Explained::new(
        Exit::UnknownOutcome,
        "unknown-outcome",
        "The request came to an end that this tool does not know.",
        "Look in Procore whether it took effect before you send it again.",
    )
    .into()
}

impl Arguments {
    fn into_request(self) -> Result<ApiRequest, Failure> {
        let body = self.body()?;
        let method = self.method.unwrap_or_else(|| {
            let method = if body.is_some() { "POST" } else { "GET" };
            method.to_owned()
        });
        let mut request = ApiRequest::new(method, self.path);
        request.headers = self.headers;
        if body.is_some() && !has(&request.headers, "content-type") {
            request = request.header("Content-Type", "application/json");
        }
        request.body = body.unwrap_or_default();
        request.company_id = self.company;
        request.timeout = self.timeout;
        request.idempotent = self.idempotent.then_some(true);
        request.park = self.park;
        Ok(request)
    }

    fn body(&self) -> Result<Option<Vec<u8>>, Failure> {
        let from_data = self
            .data
            .as_deref()
            .map(|data| match data.strip_prefix('@') {
                Some(file) => Input::from_argument(Path::new(file)).read_all(),
                None => Ok(data.as_bytes().to_owned()),
            });
        let from_file = || {
            self.body_file
                .as_deref()
                .map(|file| Input::from_argument(file).read_all())
        };
        from_data.or_else(from_file).transpose()
    }
}

fn answered(context: &Context<'_>, response: &ApiResponse, include: bool) -> Result<Exit, Failure> {
    if context.terminal.is_json() {
        context.terminal.json(&document(response))?;
    } else {
        if include {
            context.terminal.bytes(head(response).as_bytes())?;
        }
        context.terminal.bytes(&response.body)?;
        describe(context, response);
        if response.acts_as_fallback {
            context.terminal.note(report::FALLBACK);
        }
    }
    Ok(if response.status < 400 {
        Exit::Done
    } else {
        Exit::ApiRefused
    })
}

fn parked(context: &Context<'_>, request: &ParkedRequest) -> Result<Exit, Failure> {
    if context.terminal.is_json() {
        context.terminal.json(&Parked { parked: request })?;
    } else {
        context.terminal.note(format_args!(
            "parked as {} ({}): it will be sent when that is possible; see `procore-auth parked list`",
            request.id, request.reason
        ));
    }
    Ok(Exit::Parked)
}

/// Tells what the body does not: always after a refusal or a repetition, otherwise nothing.
fn describe(context: &Context<'_>, response: &ApiResponse) {
    if response.status < 400 && response.attempts <= 1 {
        return;
    }
    let mut line = format!("status {}", response.status);
    let repeated = if response.attempts == 1 { "" } else { "s" };
    // Writing to a string does not fail.
    let _ = write!(line, ", {} attempt{repeated}", response.attempts);
    if let Some(id) = find(&response.headers, "x-request-id") {
        let _ = write!(line, ", request id {id}");
    }
    if let Some(diagnosis) = &response.diagnosis {
        let _ = write!(line, "\n{}", report::diagnosis(diagnosis));
    }
    // The body may lack its line end.
    let gap = if response.body.is_empty() || response.body.ends_with(b"\n") {
        ""
    } else {
        "\n"
    };
    context.terminal.note(format_args!("{gap}{line}"));
}

fn head(response: &ApiResponse) -> String {
    let mut head = format!("HTTP {}\r\n", response.status);
    for (name, value) in &response.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    head
}

fn document(response: &ApiResponse) -> Answered<'_> {
    let text = std::str::from_utf8(&response.body).ok();
    Answered {
        status: response.status,
        attempts: response.attempts,
        headers: response
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        body: text.map(|text| {
            serde_json::from_str(text)
                .unwrap_or_else(|_| serde_json::Value::String(text.to_owned()))
        }),
        body_base64: match text {
            Some(_) => None,
            None => Some(base64::Engine::encode(
                &base64::engine::general_purpose::STANDARD,
                &response.body,
            )),
        },
        diagnosis: response.diagnosis.as_ref(),
        fallback: response.acts_as_fallback,
    }
}

fn find<'a>(headers: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
        .map(|(_, value)| value.as_str())
}

fn has(headers: &[(String, String)], wanted: &str) -> bool {
    find(headers, wanted).is_some()
}

/// Accepts a path. A URL is refused: it would name a host, and the connection has one.
fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    Err(
        "give the path only, such as /rest/v1.0/me: the host follows from the connection"
            .to_owned(),
    )
}

/// Methods are told apart by case. A standard one in lower case is a slip; any other is left as it is.
fn method(text: &str) -> Result<String, Infallible> {
    const STANDARD: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let upper = text.to_ascii_uppercase();
    let standard = STANDARD.contains(&upper.as_str());
    Ok(if standard { upper } else { text.to_owned() })
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'Name: value'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Arguments;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn request(line: &[&str]) -> procore_auth_host::ApiRequest {
        let line = [&["call"], line].concat();
        let Line { arguments } = Line::try_parse_from(line).expect("valid");
        arguments.into_request().expect("readable")
    }

    #[test]
    fn the_method_follows_the_body() {
        assert_eq!(request(&["/x"]).method, "GET");
        let post = request(&["/x", "-d", "{}"]);
        assert_eq!(
            (post.method.as_str(), post.body.as_slice()),
            ("POST", &b"{}"[..])
        );
        assert_eq!(request(&["/x", "-d", "", "-X", "PATCH"]).method, "PATCH");
    }

    #[test]
    fn a_body_is_json_unless_said_otherwise() {
        let json = request(&["/x", "-d", "{}"]);
        assert_eq!(
            json.headers,
            [("Content-Type".to_owned(), "application/json".to_owned())]
        );
        let text = request(&["/x", "-d", "a", "-H", "content-type: text/plain"]);
        assert_eq!(
            text.headers,
            [("content-type".to_owned(), "text/plain".to_owned())]
        );
    }

    #[test]
    fn a_standard_method_may_be_typed_in_lower_case() {
        for (typed, sent) in [("get", "GET"), ("Patch", "PATCH"), ("purge", "purge")] {
            assert_eq!(request(&["/x", "-X", typed]).method, sent);
        }
    }

    #[test]
    fn a_body_comes_from_a_file() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("body");
        std::fs::write(&path, b"\xff\n").expect("written");
        let path = path.to_str().expect("UTF-8");
        assert_eq!(request(&["/x", "--body-file", path]).body, b"\xff\n");
        assert_eq!(request(&["/x", "-d", &format!("@{path}")]).body, b"\xff\n");
    }

    #[test]
    fn what_is_not_said_is_left_to_the_policy() {
        let plain = request(&["/x"]);
        assert_eq!(
            (
                plain.idempotent,
                plain.timeout,
                plain.company_id,
                plain.park
            ),
            (None, None, None, false)
        );
        let said = request(&[
            "/x",
            "--idempotent",
            "--timeout",
            "5s",
            "--company",
            "7",
            "--park",
        ]);
        assert_eq!(said.idempotent, Some(true));
        assert_eq!(said.timeout, Some(std::time::Duration::from_secs(5)));
        assert_eq!((said.company_id, said.park), (Some(7), true));
    }
}
