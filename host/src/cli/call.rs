//! `procore-auth call`: one request to Procore's REST API, with curl's habits.
//!
//! The body goes to standard output as it is, or into a file; what is known beside it goes to standard error. Bodies are streamed: a
//! file is sent as it is read, and an answer is written as it comes. A request that may be parked is whole in memory.

mod answer;
mod sink;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use procore_auth_host::{
    ApiRequest, Outcome, ParkedRequest, ParkedState, RequestBody, StreamRequest,
};
use serde::Serialize;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::time;
use super::typed::Input;
use answer::Answer;

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
    /// A file with the body, sent as it is read; - for standard input
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
    /// With --park: keep the order with other parked requests of this key
    #[arg(long, value_name = "KEY", requires = "park")]
    order_key: Option<String>,
    /// Write the body of the answer to a file, which gets its name when it is whole. A refusal (400 or more) goes to standard
    /// output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How long all attempts together may take until the answer begins, such as 30s. The time in which a body moves does not
    /// count
    #[arg(long, value_name = "TIME", value_parser = time::parse_span)]
    timeout: Option<Duration>,
    /// Print the status and the headers before the body
    #[arg(short, long)]
    include: bool,
}

#[derive(Serialize)]
struct Parked<'a> {
    parked: &'a ParkedRequest,
    exit_code: u8,
    remedy: &'a str,
}

/// Sends the request and prints the answer.
pub(super) async fn run(context: &Context<'_>, arguments: Arguments) -> Result<Exit, Failure> {
    let include = arguments.include;
    let output = arguments.output.clone();
    let open = context.open_one().await?;
    let answer: Answer = if arguments.park {
        match open
            .connection
            .send(arguments.into_request(open.connection.largest_parkable())?)
            .await?
        {
            Outcome::Answered(response) => response.into(),
            Outcome::Parked(request) => return parked(context, &request),
            _ => return Err(unknown_outcome()),
        }
    } else {
        let request = arguments.into_stream_request()?;
        open.connection.stream(request).await?.into()
    };
    answer.tell(context, include, output.as_deref()).await
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
    /// The request with its body in memory, to be parked where it cannot be sent. A file of more than `largest` bytes is not read.
    fn into_request(self, largest: u64) -> Result<ApiRequest, Failure> {
        let body = match self.source() {
            None => None,
            Some(Source::File(path)) => {
                let size = path.metadata().map_or(0, |metadata| metadata.len());
                if size > largest {
                    return Err(too_large_to_park(size, largest));
                }
                Some(Input::File(path).read_all()?)
            }
            Some(source) => Some(source.read()?),
        };
        let mut request = ApiRequest::new(self.method(), self.path.clone());
        request.headers = self.headers();
        request.body = body.unwrap_or_default();
        request.company_id = self.company;
        request.timeout = self.timeout;
        request.idempotent = self.idempotent.then_some(true);
        request.park = self.park;
        request.order_key = self.order_key;
        Ok(request)
    }

    /// The request with its body as a stream, where it is a file.
    fn into_stream_request(self) -> Result<StreamRequest, Failure> {
        let body = match self.source() {
            None => RequestBody::empty(),
            Some(Source::File(path)) => {
                // What cannot be read is told before anything is sent.
                std::fs::File::open(&path).map_err(|error| Failure::file("read", &path, &error))?;
                RequestBody::file(path)
            }
            Some(source) => RequestBody::bytes(source.read()?),
        };
        let mut request = StreamRequest::new(self.method(), self.path.clone());
        request.headers = self.headers();
        request.body = body;
        request.company_id = self.company;
        request.timeout = self.timeout;
        request.idempotent = self.idempotent.then_some(true);
        Ok(request)
    }

    fn method(&self) -> String {
        let has_body = self.data.is_some() || self.body_file.is_some();
        let usual = if has_body { "POST" } else { "GET" };
        self.method.clone().unwrap_or_else(|| usual.to_owned())
    }

    fn headers(&self) -> Vec<(String, String)> {
        let mut headers = self.headers.clone();
        let has_body = self.data.is_some() || self.body_file.is_some();
        if has_body && find(&headers, "content-type").is_none() {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        headers
    }

    fn source(&self) -> Option<Source> {
        if let Some(file) = &self.body_file {
            return Some(Source::from_argument(file));
        }
        let data = self.data.as_deref()?;
        Some(match data.strip_prefix('@') {
            Some(file) => Source::from_argument(Path::new(file)),
            None => Source::Text(data.to_owned()),
        })
    }
}

/// Where the body comes from.
enum Source {
    /// The command line.
    Text(String),
    /// A regular file: it can be read again, and need not be in memory.
    File(PathBuf),
    /// A pipe, or standard input: it can be read once, and is kept in memory so that the request can be sent again.
    Pipe(Input),
}

impl Source {
    fn from_argument(argument: &Path) -> Self {
        match Input::from_argument(argument) {
            Input::File(path) if path.is_file() => Self::File(path),
            input => Self::Pipe(input),
        }
    }

    fn read(self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::File(path) => Input::File(path).read_all(),
            Self::Pipe(input) => input.read_all(),
        }
    }
}

fn too_large_to_park(size: u64, largest: u64) -> Failure {
    Explained::new(
        Exit::Refused,
        "too-large-to-park",
        format!("The body has {size} bytes, and one that may be parked has at most {largest}."),
        "Send it without --park: then it is streamed, whatever its size; or allow more `parked_bytes`.",
    )
    .into()
}

/// Tells that the request was kept, and what becomes of it: one that may have been executed is sent at nobody's word but a person's.
fn parked(context: &Context<'_>, request: &ParkedRequest) -> Result<Exit, Failure> {
    let ParkedRequest {
        id, reason, state, ..
    } = request;
    let (exit, what, remedy) = if *state == ParkedState::Queued {
        (
            Exit::Parked,
            "it will be sent when that is possible",
            "See `procore-auth parked list`.".to_owned(),
        )
    } else {
        (
            Exit::UnknownOutcome,
            "it may have been executed, and is not sent again by itself",
            format!(
                "A person must decide: look in Procore whether it took effect, then `procore-auth parked replay {id}` or `procore-auth parked discard {id}`."
            ),
        )
    };
    if context.terminal.is_json() {
        context.terminal.json(&Parked {
            parked: request,
            exit_code: exit.describe().0,
            remedy: &remedy,
        })?;
    } else {
        context.terminal.note(format_args!(
            "parked as {id} ({reason}): {what}\n     do: {remedy}"
        ));
    }
    Ok(exit)
}

fn find<'a>(headers: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
        .map(|(_, value)| value.as_str())
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
        arguments.into_request(1024).expect("readable")
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
    fn a_body_that_is_too_large_to_park_is_refused_unread() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("body");
        let file = std::fs::File::create(&path).expect("made");
        file.set_len(1025).expect("sized");
        let path = path.to_str().expect("UTF-8");
        let line = ["call", "/x", "--park", "--body-file", path];
        let Line { arguments } = Line::try_parse_from(line).expect("valid");
        let failure = arguments.into_request(1024).expect_err("too large");
        assert_eq!(failure.explained().code, "too-large-to-park");
    }

    #[test]
    fn a_streamed_request_is_the_same_request() {
        let line = ["call", "/x", "-d", "{}", "--company", "7", "--idempotent"];
        let Line { arguments } = Line::try_parse_from(line).expect("valid");
        let request = arguments.into_stream_request().expect("readable");
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", "/x")
        );
        assert_eq!(request.headers[0].1, "application/json");
        assert_eq!(
            (request.company_id, request.idempotent),
            (Some(7), Some(true))
        );
        assert_eq!(format!("{:?}", request.body), "bytes, 2 bytes");
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
            "--order-key",
            "rfi-7",
        ]);
        assert_eq!(said.idempotent, Some(true));
        assert_eq!(said.timeout, Some(std::time::Duration::from_secs(5)));
        assert_eq!((said.company_id, said.park), (Some(7), true));
        assert_eq!(said.order_key.as_deref(), Some("rfi-7"));
    }
}
