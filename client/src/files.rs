//! Files that people name: opening them, and what to say when that fails.

use std::fs::{File, Metadata};
use std::io;
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
