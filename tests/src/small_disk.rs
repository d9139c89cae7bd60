//! A real file system of a few kilobytes, which can be full and read-only. Needs [`Confinement::OwnMounts`].
//!
//! [`Confinement::OwnMounts`]: crate::confined::Confinement::OwnMounts

use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// The file system, mounted until its process ends.
pub struct SmallDisk {
    place: TempDir,
}

impl SmallDisk {
    /// Mounts an empty one.
    pub fn mount() -> Self {
        let disk = Self {
            place: tempfile::tempdir().expect("a folder"),
        };
        mount(
            &["-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs"],
            disk.root(),
        );
        disk
    }

    /// Returns its root folder.
    pub fn root(&self) -> &Path {
        self.place.path()
    }

    /// Fills it to its last byte.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.filler()).expect("a file");
        let error = loop {
            if let Err(error) = file.write_all(&[0; 512]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    /// Makes room again.
    pub fn make_room(&self) {
        fs::remove_file(self.filler()).expect("full before");
    }

    /// Makes it read-only for whatever is opened from now on.
    ///
    /// It is mounted over itself: Linux refuses to change a mount on which a file is open for writing, as the lock's is.
    pub fn make_read_only(&self) {
        let root = self.root().to_str().expect("text");
        mount(&["--bind", root], self.root());
        mount(&["-o", "remount,bind,ro", root], Path::new(""));
    }

    /// Makes it writable again.
    pub fn make_writable(&self) {
        run(Command::new("umount").arg(self.root()));
    }

    /// Shows the same folder in another place as well.
    pub fn show_at(&self, place: &Path) {
        let root = self.root().to_str().expect("text");
        mount(&["--bind", root], place);
    }

    fn filler(&self) -> PathBuf {
        self.root().join("filler")
    }
}

fn mount(arguments: &[&str], place: &Path) {
    let place = Some(place).filter(|place| !place.as_os_str().is_empty());
    run(Command::new("mount").args(arguments).args(place));
}

fn run(command: &mut Command) {
    let output = command.output().expect("util-linux");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {why}");
}
