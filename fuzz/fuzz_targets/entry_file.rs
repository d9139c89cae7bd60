//! Files of the store: whole or refused, and never another value than was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procore_auth_lending::{
    entry_file::{self, decode, encode},
    revision,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = decode(bytes.to_vec()) {
        assert!(read.revision <= revision::MAX);
        assert_eq!(
            entry_file::revision(bytes),
            Some(read.revision),
            "from the beginning alone"
        );
        assert!(bytes.ends_with(&read.value));
        let written = encode(read.revision, read.install.as_deref(), &read.value);
        let again = decode(written).ok().expect("what is written can be read");
        assert!(again == read, "written back the same");
    }
    is_whole_or_nothing(bytes);
});

/// A file with this value, of which one byte is another or the end is missing, is not read as another value.
fn is_whole_or_nothing(value: &[u8]) {
    let file = encode(7, Some("a"), value);
    let at = value.first().map_or(0, |byte| usize::from(*byte)) * file.len() / 256;
    let mut changed = file.clone();
    changed[at] ^= 1;
    for damaged in [changed, file[..at].to_vec()] {
        if let Ok(read) = decode(damaged) {
            assert_eq!(read.value, value, "another value");
        }
    }
}
