//! A kernel that does not lock files, as on file systems without locks: the system call `flock` gets another answer.
//!
//! Needs a process of its own ([`Confinement::Alone`]): the answer is changed for the whole process, for good.
//!
//! [`Confinement::Alone`]: crate::confined::Confinement::Alone

use std::collections::BTreeMap;

use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

/// The number of the system call.
#[cfg(target_arch = "x86_64")]
const FLOCK: i64 = 73;
#[cfg(target_arch = "aarch64")]
const FLOCK: i64 = 32;

/// Has every lock refused, as file systems do that know none.
pub fn refuse_locks(errno: Errno) {
    answer(u32::try_from(errno.raw_os_error()).expect("positive"));
}

/// Has every lock granted to everybody, as some network file systems do.
pub fn grant_locks_to_everybody() {
    answer(0);
}

fn answer(errno: u32) {
    let filter = SeccompFilter::new(
        BTreeMap::from([(FLOCK, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        std::env::consts::ARCH.try_into().expect("a known machine"),
    );
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a filter");
    apply_filter_all_threads(&program).expect("the kernel takes it");
}
