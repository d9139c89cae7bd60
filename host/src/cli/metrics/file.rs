//! The file of metrics, for the textfile collector of Prometheus' node_exporter.

use std::io::{self, Write as _};
use std::path::Path;

/// Writes the file whole: a reader sees the old text or the new one. Others may read it, which is what it is for: it holds no
/// secret, and node_exporter runs as another user. The folder must be there.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    // node_exporter reads `*.prom` only, and so leaves this one alone.
    let mut file = tempfile::Builder::new()
        .prefix(".procore-auth-")
        .suffix(".tmp")
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    let_others_read(file.as_file())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Removes the file.
pub(super) fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "the metrics cannot be removed");
        }
        _ => {}
    }
}

/// Sets the mode 0644, whatever the umask.
#[cfg(unix)]
fn let_others_read(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn let_others_read(_: &std::fs::File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{remove, write};

    #[test]
    fn the_file_is_replaced_whole_and_others_may_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("procore.prom");
        for text in ["a 1\n", "b 2\n"] {
            write(&path, text).expect("written");
            assert_eq!(std::fs::read_to_string(&path).expect("there"), text);
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = path.metadata().expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o644);
        }
        let left: Vec<_> = folder.path().read_dir().expect("readable").collect();
        assert_eq!(left.len(), 1, "no temporary file stays");
        remove(&path);
        remove(&path);
        assert!(!path.exists());
        assert!(write(&folder.path().join("no/such.prom"), "").is_err());
    }
}
