//! Lines that a person types or a program pipes in.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use procore_auth_host::Secret;
use tokio::sync::mpsc;

use super::failure::Failure;

/// Where lines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Standard input.
    Standard,
    /// A file or a named pipe.
    File(PathBuf),
}

impl Input {
    /// Understands `-` as standard input.
    pub(crate) fn from_argument(path: &Path) -> Self {
        if path == Path::new("-") {
            Self::Standard
        } else {
            Self::File(path.to_owned())
        }
    }

    /// Reads everything.
    pub(crate) fn read_all(&self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Standard => {
                let mut bytes = Vec::new();
                io::Read::read_to_end(&mut io::stdin().lock(), &mut bytes)
                    .map_err(|error| Failure::file("read", Path::new("standard input"), &error))?;
                Ok(bytes)
            }
            Self::File(path) => {
                std::fs::read(path).map_err(|error| Failure::file("read", path, &error))
            }
        }
    }
}

/// The lines of an input, as they arrive; empty ones are passed over.
pub(crate) struct Lines {
    /// `None` only while it is dropped.
    lines: Option<mpsc::Receiver<Secret>>,
    is_standard: bool,
}

/// The lines of standard input while nobody reads them. The thread that waits for the next one cannot be stopped, and a second one
/// would take lines from the first.
static STANDARD: Mutex<Option<mpsc::Receiver<Secret>>> = Mutex::new(None);

impl Lines {
    /// Reads in a thread of its own: a read from a terminal cannot be cancelled, and must not keep the process alive. Whoever reads
    /// standard input next goes on where the last one stopped.
    pub(crate) fn read(input: Input) -> Self {
        let is_standard = input == Input::Standard;
        let kept = is_standard.then(|| standard().take()).flatten();
        Self {
            lines: Some(kept.unwrap_or_else(|| Self::begin(input))),
            is_standard,
        }
    }

    fn begin(input: Input) -> mpsc::Receiver<Secret> {
        let (sender, receiver) = mpsc::channel(1);
        std::thread::spawn(move || match input {
            Input::Standard => send(io::stdin().lock(), &sender),
            Input::File(path) => match File::open(&path) {
                Ok(file) => send(BufReader::new(file), &sender),
                Err(error) => tracing::warn!(path = %path.display(), %error, "cannot be read"),
            },
        });
        receiver
    }

    /// A source without a line, which never ends.
    pub(crate) async fn next_or_never(lines: Option<&mut Self>) -> Option<Secret> {
        match lines {
            Some(lines) => lines.next().await,
            None => std::future::pending().await,
        }
    }

    /// Returns the next line; `None` at the end. May be cancelled.
    pub(crate) async fn next(&mut self) -> Option<Secret> {
        match &mut self.lines {
            Some(lines) => lines.recv().await,
            None => None,
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if self.is_standard {
            *standard() = self.lines.take();
        }
    }
}

fn standard() -> MutexGuard<'static, Option<mpsc::Receiver<Secret>>> {
    STANDARD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(input: impl BufRead, sender: &mpsc::Sender<Secret>) {
    let lines = input.lines().map_while(Result::ok);
    for line in lines {
        let line = line.trim();
        if !line.is_empty() && sender.blocking_send(Secret::new(line)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Input, Lines};

    #[tokio::test]
    async fn empty_lines_are_passed_over() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("code");
        std::fs::write(&path, "\n  abc \n\n").expect("written");
        let mut lines = Lines::read(Input::from_argument(&path));
        assert_eq!(lines.next().await.expect("a line").expose(), "abc");
        assert!(lines.next().await.is_none());
    }

    #[tokio::test]
    async fn a_missing_file_has_no_lines() {
        let mut lines = Lines::read(Input::File("/nonexistent/code".into()));
        assert!(lines.next().await.is_none());
    }
}
