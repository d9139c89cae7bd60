//! Leases: what stands in for the kernel's locks, which WASI 0.2 has not.
//!
//! A lease is a file, `.lease-N` in the connection's folder: one line of JSON, `{"procore-auth":1,"holder":"…","until":1795392000000}`,
//! padded with spaces. `until` is in Unix milliseconds, and 0 where the lease was given back. The one with the greatest `N` counts. One whose
//! content cannot be read is held until a minute after its last change.
//!
//! Whoever finds that the last lease is over creates the next one, exclusively, so that one of several succeeds; looks again whether
//! it is the last one; and removes those before. Nobody ever removes the last one, nor writes another's: so there is nothing to
//! steal, and a slow program cannot take a lease that was passed on meanwhile.
//!
//! | weaker than a lock of the kernel | why |
//! |---|---|
//! | the death of a holder frees it after a minute, not at once | nobody tells of a death |
//! | a holder that was suspended may wake up after its lease | it looks before each request and sends none; what it writes is compared with what is stored |
//! | the clocks of two machines that share a folder must agree to some seconds | `until` is compared with the wall clock |
//! | a native host neither sees a lease nor is seen | its lock is the kernel's |

use std::{rc::Rc, time::Duration};

use procore_auth_lending::{StoreFailure, hex::hex};
use serde::{Deserialize, Serialize};

use crate::{
    folder::{Folder, NewFile},
    time,
};

const PREFIX: &str = ".lease-";

/// How long a lease lasts from its last renewal, beside the wait that is known.
const TERM: Duration = Duration::from_secs(60);

/// The pauses between two looks at a lease that somebody else has: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The length of the file: a renewal writes in place, and leaves nothing of what was there.
const LENGTH: usize = 128;

#[derive(Serialize, Deserialize)]
struct Content {
    #[serde(rename = "procore-auth")]
    format: u64,
    holder: String,
    until: u64,
}

/// A lease that this program has.
pub(crate) struct Lease {
    folder: Rc<Folder>,
    file: NewFile,
    number: u64,
    holder: String,
    until: u64,
}

impl Lease {
    /// Waits for the lease of a folder; `None` where somebody else had it for longer than `wait`.
    pub(crate) fn acquire(
        folder: &Rc<Folder>,
        wait: Duration,
    ) -> Result<Option<Self>, StoreFailure> {
        let deadline = time::elapsed().saturating_add(wait);
        let mut pause = FIRST_PAUSE;
        loop {
            let lease = Self::try_acquire(folder)?;
            let left = deadline.saturating_sub(time::elapsed());
            if lease.is_some() || left.is_zero() {
                return Ok(lease);
            }
            time::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn try_acquire(folder: &Rc<Folder>) -> Result<Option<Self>, StoreFailure> {
        let last = last(folder)?;
        if let Some(number) = last
            && is_held(folder, number)?
        {
            return Ok(None);
        }
        let number = last.map_or(1, |number| number.saturating_add(1));
        let Some(file) = folder.create_new(&name(number))? else {
            return Ok(None);
        };
        let mut lease = Self {
            folder: Rc::clone(folder),
            file,
            number,
            holder: hex(&time::random(8)),
            until: 0,
        };
        lease.write(time::now().saturating_add(millis(TERM)))?;
        // It may have been passed on, and its predecessor removed, since the first look.
        if self::last(folder)? != Some(number) {
            folder.remove(&name(number))?;
            return Ok(None);
        }
        remove_before(folder, number)?;
        Ok(Some(lease))
    }

    /// Makes it last for a wait of `span` that is about to begin. Returns whether it is this program's still.
    pub(crate) fn extend(&mut self, span: Duration) -> Result<bool, StoreFailure> {
        if !self.is_ours()? {
            return Ok(false);
        }
        let needed = time::now().saturating_add(millis(span.saturating_add(TERM / 2)));
        if self.until < needed {
            self.write(time::now().saturating_add(millis(span.saturating_add(TERM))))?;
        }
        Ok(true)
    }

    fn is_ours(&self) -> Result<bool, StoreFailure> {
        Ok(time::now() < self.until && last(&self.folder)? == Some(self.number))
    }

    fn write(&mut self, until: u64) -> Result<(), StoreFailure> {
        let content = Content {
            format: 1,
            holder: self.holder.clone(),
            until,
        };
        let mut line = serde_json::to_string(&content).unwrap_or_default();
        while line.len() < LENGTH - 1 {
            line.push(' ');
        }
        line.push('\n');
        self.file.write(line.as_bytes())?;
        self.until = until;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Where this fails, it ends by itself.
        if self.until != 0 && self.is_ours().unwrap_or(false) {
            let _ = self.write(0);
        }
    }
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number}")
}

fn numbers(folder: &Folder) -> Result<Vec<u64>, StoreFailure> {
    let names = folder.names()?;
    let numbers = names
        .iter()
        .filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok());
    Ok(numbers.collect())
}

fn last(folder: &Folder) -> Result<Option<u64>, StoreFailure> {
    Ok(numbers(folder)?.into_iter().max())
}

fn is_held(folder: &Folder, number: u64) -> Result<bool, StoreFailure> {
    let name = name(number);
    let Some(bytes) = folder.read(&name, LENGTH)? else {
        return Ok(false);
    };
    let until = match serde_json::from_slice(&bytes) {
        Ok(Content { until, .. }) => until,
        Err(_) => folder
            .changed(&name)
            .unwrap_or(0)
            .saturating_add(millis(TERM)),
    };
    Ok(time::now() < until)
}

fn remove_before(folder: &Folder, number: u64) -> Result<(), StoreFailure> {
    for earlier in numbers(folder)?
        .into_iter()
        .filter(|earlier| *earlier < number)
    {
        folder.remove(&name(earlier))?;
    }
    Ok(())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
