//! Private keys in files: one line, readable by the owner alone, never overwritten.
//!
//! ```text
//! phix-x25519-private-key-v1 <32 bytes in base58>
//! ```

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::files::{self, words};

/// Bytes that a key file has at most; more than any line that is written.
const LEN_MAX: usize = 160;

/// What a private key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// An X25519 scalar that opens Sphinx packets.
    Sphinx,
    /// The seed of an Ed25519 identity.
    Identity,
    /// An X25519 scalar that a node proves to other nodes in Noise.
    Noise,
    /// An X25519 scalar that messages to a client are encrypted with.
    Encryption,
}

impl KeyKind {
    const ALL: [Self; 4] = [Self::Sphinx, Self::Identity, Self::Noise, Self::Encryption];

    /// The first word of the file.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Sphinx => "phix-x25519-private-key-v1",
            Self::Identity => "phix-ed25519-private-key-v1",
            Self::Noise => "phix-noise-private-key-v1",
            Self::Encryption => "phix-encryption-private-key-v1",
        }
    }

    /// The public key that belongs to a private one of this kind.
    pub fn public(self, secret: &[u8; 32]) -> [u8; 32] {
        match self {
            Self::Sphinx | Self::Noise | Self::Encryption => {
                let secret = x25519_dalek::StaticSecret::from(*secret);
                x25519_dalek::PublicKey::from(&secret).to_bytes()
            }
            Self::Identity => {
                ed25519_dalek::SigningKey::from_bytes(secret).verifying_key().to_bytes()
            }
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sphinx => "Sphinx",
            Self::Identity => "identity",
            Self::Noise => "Noise",
            Self::Encryption => "encryption",
        })
    }
}

/// What is wrong with a key file.
#[derive(Debug)]
enum Fault {
    Missing,
    Exists,
    Exposed(u32),
    NotAFile,
    Corrupt(KeyKind),
    OtherKind { wanted: KeyKind, found: KeyKind },
    Randomness(getrandom::Error),
    Unreadable(io::Error),
    Unwritable(io::Error),
}

/// Why a key file could not be read or made. The text says what to do.
#[derive(Debug)]
pub struct KeyFileError {
    path: PathBuf,
    fault: Fault,
}

impl KeyFileError {
    /// Whether the key itself is gone, so that a backup or a new key is needed.
    pub const fn is_lost(&self) -> bool {
        matches!(self.fault, Fault::Missing | Fault::Corrupt(_))
    }

    /// Whether there is no such file.
    pub const fn is_missing(&self) -> bool {
        matches!(self.fault, Fault::Missing)
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            Fault::Missing => {
                write!(f, "there is no key file {path}; restore it from a backup")
            }
            Fault::Exists => {
                write!(f, "the key file {path} exists and is kept; remove it or name another")
            }
            Fault::Exposed(mode) => write!(
                f,
                "the key file {path} can be read by others (mode {mode:o}); run `chmod 600 {path}`"
            ),
            Fault::NotAFile => write!(f, "{path} is not a regular file; name a key file"),
            Fault::Corrupt(kind) => write!(
                f,
                "the key file {path} is corrupt: it must hold one line, `{} <32 bytes in base58>`; \
                 restore it from a backup",
                kind.label()
            ),
            Fault::OtherKind { wanted, found } => {
                write!(
                    f,
                    "the key file {path} holds the {found} key; name that of the {wanted} key"
                )
            }
            Fault::Randomness(error) => write!(
                f,
                "there is no randomness for the key file {path}: {error}; see that this program \
                 may use getrandom"
            ),
            Fault::Unreadable(error) => write!(
                f,
                "the key file {path} cannot be read: {}; see that it belongs to you, or name \
                 another",
                words(error)
            ),
            Fault::Unwritable(error) => write!(
                f,
                "the key file {path} cannot be made: {}; name a file in a directory that exists \
                 and that you may write to",
                words(error)
            ),
        }
    }
}

impl std::error::Error for KeyFileError {}

/// A new key from the operating system's generator, written to a new file.
///
/// # Errors
/// As [`create`], or if there is no randomness to be had.
pub fn generate(path: &Path, kind: KeyKind) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret)
        .map_err(|error| KeyFileError { path: path.to_owned(), fault: Fault::Randomness(error) })?;
    create(path, kind, &secret)?;
    Ok(secret)
}

/// Writes `secret` to a new file of mode 600 and waits until it is on the disk.
///
/// # Errors
/// If the file exists or cannot be written; nothing is left behind then, and nothing overwritten.
pub fn create(path: &Path, kind: KeyKind, secret: &[u8; 32]) -> Result<(), KeyFileError> {
    let failed = |fault| KeyFileError { path: path.to_owned(), fault };
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => failed(Fault::Exists),
        _ => failed(Fault::Unwritable(error)),
    })?;
    let line = encode(kind, secret);
    let written = file.write_all(&line).and_then(|()| file.sync_all()).and_then(|()| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    });
    written.map_err(|error| {
        // The error to report is the first one.
        let _ = fs::remove_file(path);
        failed(Fault::Unwritable(error))
    })
}

/// Reads the private key of the given kind.
///
/// # Errors
/// If the file is missing, open to others, corrupt, or holds a key of another kind.
pub fn read(path: &Path, kind: KeyKind) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    read_line(path, kind).map_err(|fault| KeyFileError { path: path.to_owned(), fault })
}

fn read_line(path: &Path, kind: KeyKind) -> Result<Zeroizing<[u8; 32]>, Fault> {
    let (file, metadata) = files::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Fault::Missing,
        _ => Fault::Unreadable(error),
    })?;
    if !metadata.is_file() {
        return Err(Fault::NotAFile);
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Fault::Exposed(mode));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(LEN_MAX + 1));
    let limit = LEN_MAX as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(Fault::Unreadable)?;
    decode(&bytes, kind)
}

fn encode(kind: KeyKind, secret: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    let mut digits = Zeroizing::new([0; 48]);
    let len = bs58::encode(secret).onto(&mut digits[..]).expect("32 bytes take 44 digits at most");
    let mut line = Zeroizing::new(Vec::with_capacity(LEN_MAX));
    line.extend_from_slice(kind.label().as_bytes());
    line.push(b' ');
    line.extend_from_slice(&digits[..len]);
    line.push(b'\n');
    line
}

fn decode(bytes: &[u8], kind: KeyKind) -> Result<Zeroizing<[u8; 32]>, Fault> {
    let corrupt = || Fault::Corrupt(kind);
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let blank = line.iter().position(|&byte| byte == b' ').ok_or_else(corrupt)?;
    let (label, digits) = (&line[..blank], &line[blank + 1..]);
    let found = KeyKind::ALL.into_iter().find(|kind| kind.label().as_bytes() == label);
    let found = found.ok_or_else(corrupt)?;
    if found != kind {
        return Err(Fault::OtherKind { wanted: kind, found });
    }
    let mut secret = Zeroizing::new([0; 32]);
    match bs58::decode(digits).onto(&mut secret[..]) {
        Ok(32) => Ok(secret),
        _ => Err(corrupt()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sphinx.key");
        (dir, path)
    }

    #[test]
    fn round_trip_with_mode_600() {
        let (_dir, path) = place();
        let secret = generate(&path, KeyKind::Sphinx).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(read(&path, KeyKind::Sphinx).unwrap(), secret);
        for secret in [[0; 32], [255; 32]] {
            assert_eq!(
                *decode(&encode(KeyKind::Identity, &secret), KeyKind::Identity).unwrap(),
                secret
            );
        }
    }

    #[test]
    fn never_overwritten() {
        let (dir, path) = place();
        create(&path, KeyKind::Sphinx, &[1; 32]).unwrap();
        let text = create(&path, KeyKind::Sphinx, &[2; 32]).unwrap_err().to_string();
        assert!(text.contains("exists and is kept"), "{text}");
        assert_eq!(*read(&path, KeyKind::Sphinx).unwrap(), [1; 32]);
        // A link that leads nowhere is not followed either.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("target"), &link).unwrap();
        assert!(create(&link, KeyKind::Sphinx, &[2; 32]).is_err());
        assert!(!dir.path().join("target").exists());
    }

    #[test]
    fn a_file_open_to_others_is_refused() {
        let (_dir, path) = place();
        create(&path, KeyKind::Sphinx, &[1; 32]).unwrap();
        for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let text = read(&path, KeyKind::Sphinx).unwrap_err().to_string();
            let path = path.display();
            assert_eq!(
                text,
                format!(
                    "the key file {path} can be read by others (mode {mode:o}); \
                     run `chmod 600 {path}`"
                )
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (dir, path) = place();
        let said = |path: &Path, what: &str| {
            let text = read(path, KeyKind::Sphinx).unwrap_err().to_string();
            assert!(text.contains(what), "{text}");
        };
        said(&path, "there is no key file");
        said(dir.path(), "not a regular file");
        create(&path, KeyKind::Identity, &[1; 32]).unwrap();
        said(&path, "holds the identity key");
        let label = KeyKind::Sphinx.label();
        let long = "1".repeat(1000);
        for text in ["", "x", label, &format!("{label} "), &format!("{label} 0OIl"), &long] {
            fs::write(&path, text).unwrap();
            said(&path, "is corrupt");
        }
        let good = String::from_utf8(encode(KeyKind::Sphinx, &[9; 32]).to_vec()).unwrap();
        for text in [good.replace('\n', "1\n"), format!("{good}\n"), good.replace("v1", "v2")] {
            fs::write(&path, text).unwrap();
            said(&path, "is corrupt");
        }
    }

    #[test]
    fn public_keys() {
        // RFC 7748, section 6.1, and RFC 8032, section 7.1, test 1.
        let hex = |text: &str| -> [u8; 32] {
            std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        };
        assert_eq!(
            KeyKind::Sphinx
                .public(&hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")),
            hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
        );
        assert_eq!(
            KeyKind::Identity
                .public(&hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")),
            hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        );
    }
}
