//! Reading and writing topology files, and what to say when that fails.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::error::Category;

use super::{Fault, Form, Topology};
use crate::files::{self, words};

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
                let (path, words) = (path.display(), words(error));
                write!(f, "the topology file {path} cannot be read: {words}; name one that can")
            }
            Self::Malformed(path, error) if error.classify() == Category::Data => {
                let path = path.display();
                write!(
                    f,
                    "the topology file {path} is not of the NymTopology form: {error}; get it anew \
                     from who runs the network"
                )
            }
            Self::Malformed(path, error) => write!(
                f,
                "the topology file {} is not JSON: {error}; is it the right file, and whole?",
                path.display()
            ),
            Self::Faulty(path, fault) => {
                write!(
                    f,
                    "the topology file {} cannot be used: {fault}; get it anew from who runs the \
                     network",
                    path.display()
                )
            }
            Self::Unwritable(path, error) => write!(
                f,
                "the topology file {} cannot be written: {}; name a file in a directory that \
                 exists and that you may write to",
                path.display(),
                words(error)
            ),
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

/// Writes a topology into a file, which at any time holds either its old contents or the new ones,
/// and which everyone may read.
///
/// # Errors
/// If the directory or the file cannot be written.
pub fn save(topology: &Topology, path: &Path) -> Result<(), TopologyError> {
    let unwritable = |error| TopologyError::Unwritable(path.to_owned(), error);
    let text = serde_json::to_vec_pretty(topology.form()).map_err(io::Error::from);
    let mut text = text.map_err(unwritable)?;
    text.push(b'\n');
    files::replace(path, 0o644, &text).map_err(unwritable)
}
