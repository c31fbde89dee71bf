//! Reading and writing topology files, and what to say when that fails.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::error::Category;

use super::{Fault, Form, Topology};

/// Why a topology file could not be read or written. The text says what to do.
#[derive(Debug)]
pub enum TopologyError {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// The file is not JSON, or not JSON of the right form.
    Malformed(PathBuf, serde_json::Error),
    /// The file says things that cannot be.
    Faulty(PathBuf, Fault),
    /// The file cannot be written.
    Unwritable(PathBuf, io::Error),
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) if error.kind() == io::ErrorKind::NotFound => {
                let path = path.display();
                write!(f, "there is no topology file {path}; give the path of one that exists")
            }
            Self::Unreadable(path, error) => {
                write!(f, "the topology file {} cannot be read: {error}", path.display())
            }
            Self::Malformed(path, error) if error.classify() == Category::Data => {
                let path = path.display();
                write!(f, "the topology file {path} is not of the NymTopology form: {error}")
            }
            Self::Malformed(path, error) => write!(
                f,
                "the topology file {} is not JSON: {error}; is it the right file, and whole?",
                path.display()
            ),
            Self::Faulty(path, fault) => {
                write!(f, "the topology file {} cannot be used: {fault}", path.display())
            }
            Self::Unwritable(path, error) => {
                write!(f, "the topology file {} cannot be written: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for TopologyError {}

/// Reads the topology in a file.
///
/// # Errors
/// If the file cannot be read, is malformed or faulty.
pub fn load(path: &Path) -> Result<Topology, TopologyError> {
    let text = fs::read(path).map_err(|error| TopologyError::Unreadable(path.to_owned(), error))?;
    parse(&text, path)
}

/// Reads a topology from the bytes of a file; `path` is for error messages only.
///
/// # Errors
/// If they are malformed or faulty.
pub fn parse(text: &[u8], path: &Path) -> Result<Topology, TopologyError> {
    let form: Form = serde_json::from_slice(text)
        .map_err(|error| TopologyError::Malformed(path.to_owned(), error))?;
    Topology::new(form).map_err(|fault| TopologyError::Faulty(path.to_owned(), fault))
}

/// Writes a topology into a file, which at any time holds either its old contents or the new ones.
///
/// # Errors
/// If the directory or the file cannot be written.
pub fn save(topology: &Topology, path: &Path) -> Result<(), TopologyError> {
    let unwritable = |error| TopologyError::Unwritable(path.to_owned(), error);
    let text = serde_json::to_vec_pretty(topology.form()).map_err(io::Error::from);
    let text = text.map_err(unwritable)?;
    let name = path.file_name().ok_or_else(|| unwritable(io::ErrorKind::InvalidInput.into()))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let aside = path.with_file_name(hidden);
    let written = write_aside(&aside, &text).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // It may not exist; the error to report is the first one.
        let _ = fs::remove_file(&aside);
    }
    written.map_err(unwritable)
}

fn write_aside(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    file.write_all(b"\n")?;
    file.sync_all()
}
