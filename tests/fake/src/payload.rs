//! The body of a reply, as it is sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};

const CHUNK: u64 = 64 * 1024;

/// The body of a reply.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Payload {
    /// These bytes.
    Bytes(Vec<u8>),
    /// This many times the letter a.
    Repeated(u64),
    /// The first bytes of a body whose full length was announced; then the connection breaks.
    Truncated { sent: Vec<u8>, announced: u64 },
}

/// Sends a [`Payload`].
pub(crate) enum Sending {
    Bytes(Option<Bytes>),
    Repeated(u64),
    Truncated {
        sent: Option<Bytes>,
        announced: u64,
        flushed: bool,
    },
}

impl From<Payload> for Sending {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Bytes(bytes) => Self::Bytes((!bytes.is_empty()).then(|| bytes.into())),
            Payload::Repeated(count) => Self::Repeated(count),
            Payload::Truncated { sent, announced } => Self::Truncated {
                sent: Some(sent.into()),
                announced,
                flushed: false,
            },
        }
    }
}

impl From<Payload> for Vec<u8> {
    /// Keeps what is in memory; the payloads that are made while they are sent come from scripted failures only.
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Bytes(bytes) => bytes,
            Payload::Truncated { sent, .. } => sent,
            Payload::Repeated(_) => Self::new(),
        }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Repeated(0) => Poll::Ready(None),
            Self::Repeated(left) => {
                let size = (*left).min(CHUNK);
                *left -= size;
                Poll::Ready(Some(Ok(Frame::data(
                    vec![b'a'; usize::try_from(size).unwrap_or_default()].into(),
                ))))
            }
            Self::Truncated { sent, flushed, .. } => match sent.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                // Standing still once makes the connection write out what it has before it breaks.
                None if !*flushed => {
                    *flushed = true;
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                None => Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Bytes(None) | Self::Repeated(0))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            // Unknown on purpose: such a body comes in chunks.
            Self::Repeated(_) => SizeHint::default(),
            Self::Truncated { announced, .. } => SizeHint::with_exact(*announced),
        }
    }
}
