//! The name and password that applications have to give.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::files::{self, words};

/// Bytes of a login file, at most: two texts of 255 bytes, a colon and the end of the line.
const FILE_MAX: u64 = 2 * 255 + 3;

/// A name and a password, of which only a hash is kept.
pub struct Login(blake3::Hash);

impl Login {
    /// The login of this name and password.
    ///
    /// # Errors
    /// If one of them is empty or longer than 255 bytes, which RFC 1929 has no place for.
    pub fn new(name: &str, password: &str) -> Result<Self, &'static str> {
        let fits = |text: &str| (1..=255).contains(&text.len());
        if !fits(name) || !fits(password) {
            return Err("name and password must have 1 to 255 bytes each");
        }
        Ok(Self(hash(name.as_bytes(), password.as_bytes())))
    }

    /// Reads `name:password` from a file that nobody else can read.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn load(path: &Path) -> Result<Self, String> {
        let here = path.display();
        let unreadable = |error: &std::io::Error| {
            format!("{here} cannot be read: {}; --login wants the path of a file", words(error))
        };
        let (file, metadata) = files::open(path).map_err(|error| unreadable(&error))?;
        if !metadata.is_file() {
            return Err(format!("{here} is not a file; put name:password into one"));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(format!("others can read {here}; say `chmod 600 {here}`"));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let parts = line.split_once(':').filter(|_| !line.contains('\n'));
        let (name, password) = parts
            .ok_or_else(|| format!("{here} is no login; put one line name:password into it"))?;
        Self::new(name, password).map_err(|what| format!("{here}: {what}"))
    }

    /// Whether it is this one, in a time that does not depend on how much of it is right.
    pub fn is(&self, name: &[u8], password: &[u8]) -> bool {
        // Hashes of this type are compared in constant time.
        self.0 == hash(name, password)
    }
}

fn hash(name: &[u8], password: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name).update(password);
    hasher.finalize()
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn load(text: &str, mode: u32) -> Result<Login, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("login");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        Login::load(&path)
    }

    #[test]
    fn a_login_file_is_one_line_that_nobody_else_can_read() {
        assert!(load("ada:love:lace\n", 0o600).unwrap().is(b"ada", b"love:lace"));
        assert!(load("ada:lovelace", 0o400).unwrap().is(b"ada", b"lovelace"));
        assert!(load("ada:lovelace\n", 0o644).unwrap_err().contains("chmod 600"));
        for text in ["", "ada\n", "ada:x\nbob:y\n", ":x\n", "ada:\n"] {
            assert!(load(text, 0o600).unwrap_err().contains("name"), "{text:?}");
        }
        let longest = "x".repeat(255);
        assert!(load(&format!("{longest}:{longest}\r\n"), 0o600).is_ok());
        assert!(load(&format!("{longest}:{longest}y"), 0o600).is_err());
        assert!(Login::load(Path::new("/")).unwrap_err().contains("not a file"));
    }
}
