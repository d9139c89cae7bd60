//! An answer of the API, as it is told.

use std::fmt::Write as _;
use std::path::Path;

use procore_auth_host::{ApiResponse, Diagnosis, ResponseBody, StreamedResponse};
use serde::Serialize;

use super::find;
use super::sink::Sink;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::report;

/// An answer, of which the body may still be on its way.
pub(super) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    attempts: u32,
    diagnosis: Option<Diagnosis>,
    fallback: bool,
    body: Body,
}

enum Body {
    Whole(Vec<u8>),
    Streamed(ResponseBody),
}

#[derive(Serialize)]
struct Document<'a> {
    status: u16,
    attempts: u32,
    headers: Vec<(&'a str, &'a str)>,
    /// The body where it is text: JSON as such, anything else as a string.
    body: Option<serde_json::Value>,
    /// The body where it is not.
    body_base64: Option<String>,
    /// The file with the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Path>,
    diagnosis: Option<&'a Diagnosis>,
    /// Whether the service account made the call, since the user must sign in.
    fallback: bool,
}

impl From<ApiResponse> for Answer {
    fn from(response: ApiResponse) -> Self {
        Self {
            status: response.status,
            headers: response.headers,
            attempts: response.attempts,
            diagnosis: response.diagnosis,
            fallback: response.acts_as_fallback,
            body: Body::Whole(response.body),
        }
    }
}

impl From<StreamedResponse> for Answer {
    fn from(response: StreamedResponse) -> Self {
        Self {
            status: response.status,
            headers: response.headers,
            attempts: response.attempts,
            diagnosis: response.diagnosis,
            fallback: response.acts_as_fallback,
            body: Body::Streamed(response.body),
        }
    }
}

impl Answer {
    /// Prints or writes the answer.
    pub(super) async fn tell(
        mut self,
        context: &Context<'_>,
        include: bool,
        output: Option<&Path>,
    ) -> Result<Exit, Failure> {
        let terminal = &context.terminal;
        let mut sink = Sink::choose(terminal, output, self.status)?;
        if include && !terminal.is_json() {
            terminal.bytes(self.head().as_bytes())?;
        }
        let last = self.copy_body(&mut sink).await?;
        // A body on the terminal may lack its line end.
        let ends_a_line = !matches!(sink, Sink::Results(_)) || matches!(last, None | Some(b'\n'));
        match sink {
            Sink::Results(_) => {}
            Sink::File(file) => {
                file.finish()?;
                if terminal.is_json() {
                    terminal.json(&self.document(None, output))?;
                }
            }
            Sink::Memory(body) => terminal.json(&self.document(Some(&body), None))?,
        }
        if !terminal.is_json() {
            self.describe(context, ends_a_line);
        }
        Ok(if self.status < 400 {
            Exit::Done
        } else {
            Exit::ApiRefused
        })
    }

    /// Copies the whole body, and returns its last byte.
    async fn copy_body(&mut self, sink: &mut Sink<'_>) -> Result<Option<u8>, Failure> {
        let mut last = None;
        match &mut self.body {
            Body::Whole(bytes) => {
                sink.write(bytes)?;
                last = bytes.last().copied();
            }
            Body::Streamed(body) => {
                while let Some(piece) = body.chunk().await? {
                    sink.write(&piece)?;
                    last = piece.last().copied().or(last);
                }
            }
        }
        Ok(last)
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP {}\r\n", self.status);
        for (name, value) in &self.headers {
            // Writing to a string does not fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        head
    }

    /// Tells what the body does not: always after a refusal or a repetition, and where the service account made the call;
    /// otherwise nothing.
    fn describe(&self, context: &Context<'_>, ends_a_line: bool) {
        let gap = if ends_a_line { "" } else { "\n" };
        if self.status >= 400 || self.attempts > 1 {
            context
                .terminal
                .note(format_args!("{gap}{}", self.summary()));
        }
        if self.fallback {
            context.terminal.note(report::FALLBACK);
        }
    }

    fn summary(&self) -> String {
        let mut line = format!("status {}", self.status);
        let repeated = if self.attempts == 1 { "" } else { "s" };
        let _ = write!(line, ", {} attempt{repeated}", self.attempts);
        if let Some(id) = find(&self.headers, "x-request-id") {
            let _ = write!(line, ", request id {id}");
        }
        if let Some(diagnosis) = &self.diagnosis {
            let _ = write!(line, "\n{}", report::diagnosis(diagnosis));
        }
        line
    }

    fn document<'a>(&'a self, body: Option<&[u8]>, output: Option<&'a Path>) -> Document<'a> {
        let text = body.map(std::str::from_utf8);
        let headers = self.headers.iter();
        Document {
            status: self.status,
            attempts: self.attempts,
            headers: headers
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
            body: text.and_then(Result::ok).map(|text| {
                serde_json::from_str(text)
                    .unwrap_or_else(|_| serde_json::Value::String(text.to_owned()))
            }),
            body_base64: body
                .filter(|_| text.is_some_and(|text| text.is_err()))
                .map(|body| {
                    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, body)
                }),
            output,
            diagnosis: self.diagnosis.as_ref(),
            fallback: self.fallback,
        }
    }
}
