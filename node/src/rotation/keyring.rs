//! The keys of rotations on disk: one file each, named after its rotation.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use phix_client::files::words;
use phix_client::keyfile::{self, KeyKind};
use phix_engine::secret::NodeSecret;

use crate::fault::Fault;

/// A directory with keys of rotations.
#[derive(Clone, Debug)]
pub struct Keyring {
    dir: PathBuf,
}

impl Keyring {
    /// The keys in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The file of the key of a rotation.
    pub fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("sphinx-{number}.key"))
    }

    /// The rotations whose keys are there.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn numbers(&self) -> Result<BTreeSet<u32>, Fault> {
        let cannot = |error: io::Error| {
            Fault::refused(format!(
                "the directory {} cannot be read ({}): see that it belongs to the node's user.",
                self.dir.display(),
                words(&error),
            ))
        };
        let mut numbers = BTreeSet::new();
        for entry in fs::read_dir(&self.dir).map_err(cannot)? {
            let name = entry.map_err(cannot)?.file_name();
            numbers.extend(name.to_str().and_then(number_of));
        }
        Ok(numbers)
    }

    /// Makes the key of a rotation.
    ///
    /// # Errors
    /// If it exists or cannot be written.
    pub fn make(&self, number: u32) -> Result<(), Fault> {
        let made = keyfile::generate(&self.path(number), KeyKind::Sphinx);
        made.map(drop).map_err(|error| Fault::refused(format!("{error}.")))
    }

    /// Reads the key of a rotation.
    ///
    /// # Errors
    /// If it is missing, open to others or corrupt.
    pub fn secret(&self, number: u32) -> Result<Box<NodeSecret>, Fault> {
        let read = keyfile::read(&self.path(number), KeyKind::Sphinx);
        let secret = read.map_err(|error| Fault::refused(format!("{error}.")))?;
        Ok(Box::new(NodeSecret::from_bytes(*secret)))
    }

    /// Removes the key of a rotation, if it is there, and waits until the disk knows.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn destroy(&self, number: u32) -> Result<(), Fault> {
        let path = self.path(number);
        match fs::remove_file(&path).and_then(|()| File::open(&self.dir)?.sync_all()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::refused(format!(
                "the key file {} has served its time and cannot be removed ({}): remove it.",
                path.display(),
                words(&error),
            ))),
            _ => Ok(()),
        }
    }

    /// Where the keys are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("sphinx-")?.strip_suffix(".key")?;
    // One spelling only, so that a number leads back to its file.
    digits.parse().ok().filter(|number: &u32| number.to_string() == digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_and_go_by_number() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::new(dir.path().to_owned());
        for name in ["sphinx.key", "sphinx-.key", "sphinx-07.key", "sphinx--1.key", "sphinx-9.new"]
        {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(keyring.numbers().unwrap(), BTreeSet::new());
        keyring.make(8).unwrap();
        keyring.make(7).unwrap();
        assert!(keyring.make(7).unwrap_err().to_string().contains("exists and is kept"));
        assert_eq!(keyring.numbers().unwrap(), BTreeSet::from([7, 8]));
        assert_ne!(keyring.secret(7).unwrap().as_bytes(), keyring.secret(8).unwrap().as_bytes());
        keyring.destroy(7).unwrap();
        keyring.destroy(7).unwrap();
        assert_eq!(keyring.numbers().unwrap(), BTreeSet::from([8]));
        assert!(keyring.secret(7).is_err());
    }
}
