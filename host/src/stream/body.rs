//! The body of a streamed request: what is sent, and whether it can be sent again.

use std::{
    fmt, io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use super::{StreamLimits, progress::Progress};

/// How many bytes are read at once.
const PIECE: usize = 64 * 1024;

type Reader = Pin<Box<dyn AsyncRead + Send + Sync>>;
type Opening = Pin<Box<dyn Future<Output = io::Result<Reader>> + Send>>;

/// The body of a streamed request.
///
/// A 401, a 429 or a lost connection may ask for the same request again. A body that can be begun anew is then sent again
/// from its beginning; one that can be sent once only is not, as soon as its first byte was read.
pub struct RequestBody(Kind);

enum Kind {
    Empty,
    Bytes(Bytes),
    File(PathBuf),
    Repeatable {
        size: Option<u64>,
        open: Box<dyn Fn() -> Opening + Send + Sync>,
    },
    Once {
        size: Option<u64>,
        /// Empty as soon as it was begun.
        reader: Arc<Mutex<Option<Reader>>>,
    },
}

impl RequestBody {
    /// Makes no body.
    pub fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// Makes a body of what is in memory; empty bytes make none.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(if bytes.is_empty() {
            Kind::Empty
        } else {
            Kind::Bytes(bytes)
        })
    }

    /// Makes a body of a regular file, which is opened for each attempt. It must not change meanwhile: its size is taken when
    /// it is opened, and a file that turns out shorter is an error.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File(path.into()))
    }

    /// Makes a body that `open` begins anew for each attempt: the same bytes each time. `size` is their number where it is
    /// known; without one they are sent in chunks.
    pub fn repeatable<F, R>(size: Option<u64>, open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<R>> + Send + 'static,
        R: AsyncRead + Send + Sync + 'static,
    {
        let open = Box::new(move || -> Opening {
            let opening = open();
            Box::pin(async move { Ok(Box::pin(opening.await?) as Reader) })
        });
        Self(Kind::Repeatable { size, open })
    }

    /// Makes a body that can be read once: a pipe, a socket. `size` is the number of bytes where it is known; without one they are
    /// sent in chunks.
    pub fn once(size: Option<u64>, reader: impl AsyncRead + Send + Sync + 'static) -> Self {
        let reader: Reader = Box::pin(reader);
        Self(Kind::Once {
            size,
            reader: Arc::new(Mutex::new(Some(reader))),
        })
    }

    /// Whether it can be sent, from its beginning.
    pub(super) fn is_sendable(&self) -> bool {
        match &self.0 {
            Kind::Once { reader, .. } => slot(reader).is_some(),
            _ => true,
        }
    }

    /// Begins it for one attempt.
    pub(super) async fn open(&self) -> io::Result<OutgoingBody> {
        let (size, source) = match &self.0 {
            Kind::Empty => (Some(0), Source::Bytes(Bytes::new())),
            Kind::Bytes(bytes) => (Some(bytes.len() as u64), Source::Bytes(bytes.clone())),
            Kind::File(path) => {
                let file = tokio::fs::File::open(path).await?;
                let size = file.metadata().await?.len();
                (Some(size), Source::Reader(Box::pin(file)))
            }
            Kind::Repeatable { size, open } => (*size, Source::Reader(open().await?)),
            Kind::Once { size, reader } => (*size, Source::Slot(Arc::clone(reader))),
        };
        Ok(OutgoingBody::new(source, size))
    }
}

impl<T: Into<Bytes>> From<T> for RequestBody {
    fn from(bytes: T) -> Self {
        Self::bytes(bytes)
    }
}

impl Default for RequestBody {
    fn default() -> Self {
        Self::empty()
    }
}

/// Shows the kind of body and none of it.
impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, size) = match &self.0 {
            Kind::Empty => ("empty", Some(0)),
            Kind::Bytes(bytes) => ("bytes", Some(bytes.len() as u64)),
            Kind::File(_) => ("file", None),
            Kind::Repeatable { size, .. } => ("repeatable", *size),
            Kind::Once { size, .. } => ("once", *size),
        };
        match size {
            Some(size) => write!(f, "{kind}, {size} bytes"),
            None => f.write_str(kind),
        }
    }
}

/// The body of one attempt, as a [`crate::StreamingClient`] takes it: a [`Body`] with the size where it is known.
pub struct OutgoingBody {
    source: Source,
    /// How many bytes are still to come, where that is known.
    left: Option<u64>,
    ended: bool,
    buffer: BytesMut,
    progress: Progress,
}

enum Source {
    Bytes(Bytes),
    Reader(Reader),
    /// A reader that stays where it is until it is asked for the first time.
    Slot(Arc<Mutex<Option<Reader>>>),
}

impl OutgoingBody {
    fn new(source: Source, size: Option<u64>) -> Self {
        Self {
            source,
            left: size,
            ended: size == Some(0),
            buffer: BytesMut::new(),
            progress: Progress::default(),
        }
    }

    /// Makes a body of what is in memory.
    pub(crate) fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let size = bytes.len() as u64;
        Self::new(Source::Bytes(bytes), Some(size))
    }

    /// Returns what waits, from now on, until a request with this body has exceeded its limits.
    pub fn overdue(&self, limits: StreamLimits) -> impl Future<Output = ()> + Send + 'static {
        self.progress.clone().overdue(limits)
    }

    /// Whether there is no body.
    pub fn is_empty(&self) -> bool {
        self.left == Some(0)
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if let Source::Slot(reader) = &self.source {
            let reader = slot(reader).take().ok_or(io::ErrorKind::NotFound)?;
            self.source = Source::Reader(reader);
        }
        let reader = match &mut self.source {
            Source::Reader(reader) => reader,
            Source::Bytes(bytes) => return Poll::Ready(Ok(Some(std::mem::take(bytes)))),
            Source::Slot(_) => return Poll::Ready(Err(io::ErrorKind::NotFound.into())),
        };
        self.buffer.reserve(PIECE);
        let count = ready!(poll_read_buf(reader.as_mut(), cx, &mut self.buffer))?;
        Poll::Ready(Ok((count > 0).then(|| self.buffer.split().freeze())))
    }

    /// Cuts a piece to what was announced.
    fn accept(&mut self, piece: Option<Bytes>) -> io::Result<Option<Bytes>> {
        match (piece, self.left) {
            (Some(piece), None) => Ok(Some(piece)),
            (Some(mut piece), Some(left)) => {
                piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                self.left = Some(left - piece.len() as u64);
                self.ended = self.left == Some(0);
                Ok(Some(piece))
            }
            (None, None | Some(0)) => {
                self.ended = true;
                Ok(None)
            }
            (None, Some(left)) => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("it ended {left} bytes before its size"),
            )),
        }
    }
}

fn slot(reader: &Mutex<Option<Reader>>) -> std::sync::MutexGuard<'_, Option<Reader>> {
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.progress.is_stopped(cx.waker()) {
            let answered = io::Error::new(io::ErrorKind::Interrupted, "answered before its end");
            return Poll::Ready(Some(Err(answered)));
        }
        let piece = ready!(self.poll_piece(cx)).and_then(|piece| self.accept(piece));
        match piece {
            Ok(piece) => {
                self.progress.note(self.ended);
                Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
            }
            Err(error) => {
                self.progress.fail(&error);
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for OutgoingBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingBody")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn sent(body: &RequestBody) -> io::Result<Vec<u8>> {
        let body = body.open().await?;
        Ok(body.collect().await?.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn a_body_that_can_be_begun_anew_is_the_same_each_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("body");
        std::fs::write(&path, b"abc").expect("written");
        let opened = || async { Ok::<_, io::Error>(&b"abc"[..]) };
        for body in [
            RequestBody::bytes("abc"),
            RequestBody::file(&path),
            RequestBody::repeatable(Some(3), opened),
            RequestBody::repeatable(None, opened),
        ] {
            for _ in 0..2 {
                assert!(body.is_sendable());
                assert_eq!(sent(&body).await.expect("read"), b"abc", "{body:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_can_be_read_once_is_kept_until_its_first_byte_is_wanted() {
        let body = RequestBody::once(None, &b"abc"[..]);
        drop(body.open().await.expect("open"));
        assert!(body.is_sendable());
        assert_eq!(sent(&body).await.expect("read"), b"abc");
        assert!(!body.is_sendable());
    }

    #[tokio::test]
    async fn no_more_and_no_less_is_sent_than_was_announced() {
        let longer = RequestBody::once(Some(2), &b"abc"[..]);
        assert_eq!(sent(&longer).await.expect("read"), b"ab");
        let shorter = RequestBody::once(Some(4), &b"abc"[..]);
        let error = sent(&shorter).await.expect_err("too short");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_nobody_wants_any_more_is_not_read() {
        let body = RequestBody::repeatable(None, || async { Ok(tokio::io::repeat(7)) });
        let mut open = body.open().await.expect("open");
        open.frame().await.expect("more").expect("a piece");
        open.progress().stop();
        let error = open.frame().await.expect("an error").expect_err("stopped");
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        assert_eq!(open.progress().failure(), None, "nothing is wrong with it");
    }
}
