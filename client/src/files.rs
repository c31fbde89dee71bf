//! Files that people name: opening them, and what to say when that fails.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Opens a file for reading and says what it is. It waits for nobody, as opening a pipe would for
/// the one who writes to it; the caller looks whether the file is a regular one.
///
/// # Errors
/// If the file cannot be opened.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    // The open file is asked, not the path: the answer is about what will be read.
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// Writes a file, which at any time holds either its old contents or the new ones, with these
/// permissions.
///
/// # Errors
/// If the directory or the file cannot be written.
pub fn replace(path: &Path, mode: u32, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut new = tempfile::Builder::new()
        .prefix(".phix-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    new.write_all(text)?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    Ok(())
}

/// The system's words, without the number and the temporary name that may follow them.
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_no_temporary_file() {
        let error = tempfile::tempfile_in("/nonexistent").unwrap_err();
        assert_eq!(words(&error), "No such file or directory");
        assert_eq!(words(&io::Error::other("no room")), "no room");
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_is_opened_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, Mode::RUSR, 0).unwrap();
        assert!(!open(&path).unwrap().1.is_file());
    }
}
