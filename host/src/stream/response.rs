//! A reply whose body is read as it comes.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Sleep, sleep};

use super::{IncomingBody, progress::Progress};
use crate::{Diagnosis, Error, ErrorKind, HttpFailure, api::HeaderNames};

/// How much of a refusal's body is read to tell what it means.
const BEGINNING: usize = 4 * 1024;

/// The server's answer, whatever its status, with a body that is still to be read.
#[non_exhaustive]
pub struct StreamedResponse {
    /// The HTTP status.
    pub status: u16,
    /// Names and values in the order of the reply.
    pub headers: Vec<(String, String)>,
    /// How many times the request was sent.
    pub attempts: u32,
    /// What a refusal means; `None` for a status below 400.
    pub diagnosis: Option<Diagnosis>,
    /// Whether the call was made as the service account of [`crate::ConnectionBuilder::fallback`], and not as the user.
    pub acts_as_fallback: bool,
    /// The body.
    pub body: ResponseBody,
}

/// Prints no header value and no body: they are the caller's data.
impl fmt::Debug for StreamedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedResponse")
            .field("status", &self.status)
            .field("headers", &HeaderNames(&self.headers))
            .field("attempts", &self.attempts)
            .field("diagnosis", &self.diagnosis)
            .finish_non_exhaustive()
    }
}

/// The body of a reply, piece by piece. Dropping it frees the connection, and ends an upload that still goes on.
pub struct ResponseBody {
    /// What was read ahead.
    beginning: VecDeque<Bytes>,
    rest: IncomingBody,
    failed: Option<HttpFailure>,
    received: u64,
    idle: Duration,
    /// When the server is given up; `None` while nobody waits for it.
    overdue: Option<Pin<Box<Sleep>>>,
    upload: Progress,
}

impl ResponseBody {
    pub(super) fn new(rest: IncomingBody, idle: Duration, upload: Progress) -> Self {
        Self {
            beginning: VecDeque::new(),
            rest,
            failed: None,
            received: 0,
            idle,
            overdue: None,
            upload,
        }
    }

    /// Returns the next piece; `None` at the end of a body that arrived whole. May be cancelled, and called again then.
    ///
    /// Errors: `Unavailable` with the code `connection-closed` where the body broke off, and `timeout` where the server sent
    /// nothing for the request's idle time. What arrived before is not the whole.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        poll_fn(|cx| self.poll_chunk(cx)).await.transpose()
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if let Some(piece) = self.beginning.pop_front() {
            return Poll::Ready(Some(Ok(piece)));
        }
        if self.failed.is_none() {
            match ready!(self.poll_receive(cx)) {
                Ok(piece) => return Poll::Ready(piece.map(Ok)),
                Err(failure) => self.failed = Some(failure),
            }
        }
        let failure = self.failed.as_ref();
        Poll::Ready(failure.map(|failure| Err(broken_off(failure, self.received))))
    }

    /// Reads the beginning of a refusal's body ahead, and returns a copy. What goes wrong meanwhile is told by
    /// [`ResponseBody::chunk`].
    ///
    /// Where it comes slowly, what has come `within` that time is enough.
    pub(super) async fn beginning(&mut self, within: Duration) -> Vec<u8> {
        let mut read = Vec::new();
        let reading = self.read_beginning(&mut read);
        if tokio::time::timeout(within, reading).await.is_err() {
            tracing::debug!("the beginning of a refusal came too slowly to be read whole");
        }
        read
    }

    /// May be cancelled: no piece is lost.
    async fn read_beginning(&mut self, read: &mut Vec<u8>) {
        while read.len() < BEGINNING && self.failed.is_none() {
            match poll_fn(|cx| self.poll_receive(cx)).await {
                Ok(Some(piece)) => {
                    read.extend_from_slice(&piece[..piece.len().min(BEGINNING - read.len())]);
                    self.beginning.push_back(piece);
                }
                Ok(None) => break,
                Err(failure) => self.failed = Some(failure),
            }
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, HttpFailure>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.rest).poll_frame(cx) else {
                let idle = self.idle;
                let overdue = self.overdue.get_or_insert_with(|| Box::pin(sleep(idle)));
                return overdue.as_mut().poll(cx).map(|()| Err(silent(idle)));
            };
            self.overdue = None;
            match frame.transpose()?.map(Frame::into_data) {
                None => return Poll::Ready(Ok(None)),
                Some(Ok(piece)) => {
                    self.received += piece.len() as u64;
                    return Poll::Ready(Ok(Some(piece)));
                }
                // Trailers tell nothing that is wanted here.
                Some(Err(_)) => {}
            }
        }
    }
}

/// As [`ResponseBody::chunk`] does.
impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.poll_chunk(cx).map_ok(Frame::data)
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.upload.stop();
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

fn silent(idle: Duration) -> HttpFailure {
    HttpFailure::new(
        "timeout",
        format!("nothing came for {} ms", idle.as_millis()),
        true,
    )
}

fn broken_off(failure: &HttpFailure, received: u64) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        Diagnosis {
            code: failure.code.to_owned(),
            summary: format!("The reply broke off after {received} bytes."),
            cause: "The server or the network between ended it or fell silent.".to_owned(),
            remedy: "The server had answered: the request was dealt with. Where repeating it is safe, send it again."
                .to_owned(),
            evidence: vec![failure.message.clone()],
        },
    )
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::RequestBody;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_falls_silent_is_given_up_after_the_idle_time() {
        // A body of which the rest never comes.
        let (reader, _kept_open) = tokio::io::duplex(1);
        let silence = RequestBody::once(None, reader);
        let silence = silence.open().await.expect("open");
        let failure = |_| silent(Duration::ZERO);
        let idle = Duration::from_secs(7);
        let mut body =
            ResponseBody::new(silence.map_err(failure).boxed(), idle, Progress::default());
        let began = tokio::time::Instant::now();
        let error = body.chunk().await.expect_err("silent");
        assert_eq!((error.code(), began.elapsed()), ("timeout", idle));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_trickles_is_judged_by_what_came_in_time() {
        let (reader, mut writer) = tokio::io::duplex(1);
        let trickle = RequestBody::once(None, reader);
        let trickle = trickle.open().await.expect("open");
        let writing = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            for letter in b"0123456789" {
                writer.write_all(&[*letter]).await.expect("written");
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        });
        let failure = |_| silent(Duration::ZERO);
        let idle = Duration::from_secs(7);
        let mut body =
            ResponseBody::new(trickle.map_err(failure).boxed(), idle, Progress::default());
        let began = tokio::time::Instant::now();
        let within = Duration::from_secs(12);
        assert_eq!(body.beginning(within).await, b"012");
        assert_eq!(began.elapsed(), within);
        let mut whole = Vec::new();
        while let Some(piece) = body.chunk().await.expect("it comes") {
            whole.extend_from_slice(&piece);
        }
        assert_eq!(whole, b"0123456789", "nothing is lost");
        writing.await.expect("written");
    }
}
