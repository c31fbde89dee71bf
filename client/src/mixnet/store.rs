//! A client's directory on disk: keys, the registration with its gateway, and settings.
//!
//! ```text
//! DIR/identity.key      Ed25519: who the client is to its gateway
//! DIR/encryption.key    X25519: what messages to it are encrypted with
//! DIR/gateway.json      its gateway, and the key that it shares with it
//! DIR/phix-client.toml  settings
//! DIR/lock              held by the program that uses the directory
//! ```
//!
//! Files are readable by their owner alone, appear whole or not at all, and are never overwritten.

use std::fmt;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use phix_proto::gateway::SharedKey;
use phix_proto::message::{AckKey, ClientKeys, Recipient};
use rand::CryptoRng;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::settings::{self, Settings, SettingsError};
use crate::files::words;
use crate::keyfile::{self, KeyFileError, KeyKind};

const IDENTITY: &str = "identity.key";
const ENCRYPTION: &str = "encryption.key";
const GATEWAY: &str = "gateway.json";
const LOCK: &str = "lock";

/// Bytes of a registration file, at most.
const REGISTRATION_MAX: u64 = 4096;

/// Why a client's directory cannot be used. The text says what to do.
#[derive(Debug)]
pub enum StoreError {
    /// A key file is missing, damaged, open to others, or cannot be made.
    Key(KeyFileError),
    /// The settings cannot be used.
    Settings(SettingsError),
    /// There is a client already.
    Exists(PathBuf),
    /// Another program uses the directory.
    InUse(PathBuf),
    /// The registration can be read by others.
    Exposed(PathBuf, u32),
    /// The registration is damaged.
    Corrupt(PathBuf),
    /// There is another registration already.
    Registered(PathBuf),
    /// A file cannot be read or made.
    Io(PathBuf, io::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(error) => error.fmt(f),
            Self::Settings(error) => error.fmt(f),
            Self::Exists(dir) => write!(
                f,
                "there is a client in {} already, and it is kept; name another directory",
                dir.display()
            ),
            Self::InUse(dir) => write!(
                f,
                "another program uses the client in {}; end it first, or use its WebSocket",
                dir.display()
            ),
            Self::Exposed(path, mode) => {
                let path = path.display();
                write!(f, "{path} can be read by others (mode {mode:o}); run `chmod 600 {path}`")
            }
            Self::Corrupt(path) => write!(
                f,
                "the registration {} is corrupt; restore it from a backup, or remove it to \
                 register anew",
                path.display()
            ),
            Self::Registered(path) => {
                write!(f, "there is a registration {} already, and it is kept", path.display())
            }
            Self::Io(path, error) => write!(
                f,
                "{} cannot be used: {}; see that the directory is there and belongs to you",
                path.display(),
                words(error)
            ),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<KeyFileError> for StoreError {
    fn from(error: KeyFileError) -> Self {
        Self::Key(error)
    }
}

impl From<SettingsError> for StoreError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

/// What a client knows of its gateway since it registered there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registration {
    pub(super) gateway: [u8; 32],
    pub(super) key: SharedKey,
}

/// The file of a [`Registration`].
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    gateway: String,
    shared_key: String,
}

/// A client's directory, held by this program.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    _lock: File,
}

impl Store {
    /// Makes a new client: the directory, its keys and its settings file.
    pub(super) fn create(dir: &Path, settings: &Settings) -> Result<Self, StoreError> {
        settings.check()?;
        let io = |error| StoreError::Io(dir.to_owned(), error);
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        let store = Self::take(dir)?;
        let taken = [IDENTITY, ENCRYPTION, GATEWAY, settings::FILE];
        if taken.iter().any(|name| dir.join(name).symlink_metadata().is_ok()) {
            return Err(StoreError::Exists(dir.to_owned()));
        }
        keyfile::generate(&dir.join(IDENTITY), KeyKind::Identity)?;
        keyfile::generate(&dir.join(ENCRYPTION), KeyKind::Encryption)?;
        // The settings come last: where they are, the client is whole.
        store.write_new(settings::FILE, settings.template().as_bytes())?;
        Ok(store)
    }

    /// Opens the directory of a client that was made before, and gives its settings.
    pub(super) fn open(dir: &Path) -> Result<(Self, Settings), StoreError> {
        let settings = Settings::load(&dir.join(settings::FILE))?;
        Ok((Self::take(dir)?, settings))
    }

    fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(LOCK);
        let io = |error| StoreError::Io(path.clone(), error);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(io)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { dir: dir.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse(dir.to_owned())),
            Err(error) => Err(io(error.into())),
        }
    }

    /// The client's keys. That of acknowledgements is new each time: those of an earlier run are
    /// for fragments that are no longer held.
    pub(super) fn keys(&self, rng: &mut impl CryptoRng) -> Result<ClientKeys, StoreError> {
        keys(&self.dir, rng)
    }

    /// The registration, if there is one.
    pub(super) fn registration(&self) -> Result<Option<Registration>, StoreError> {
        registration(&self.dir)
    }

    /// Keeps a new registration.
    pub(super) fn register(&self, registration: &Registration) -> Result<(), StoreError> {
        let base58 = |bytes: &[u8; 32]| bs58::encode(bytes).into_string();
        let form = Form {
            version: 1,
            gateway: base58(&registration.gateway),
            shared_key: base58(registration.key.as_bytes()),
        };
        let text = serde_json::to_vec(&form).map(Zeroizing::new);
        let text = text.expect("a registration has only what JSON can say");
        self.write_new(GATEWAY, &text)
    }

    /// Writes a file that was not there, whole or not at all.
    fn write_new(&self, name: &str, text: &[u8]) -> Result<(), StoreError> {
        let path = self.dir.join(name);
        let write = || -> Result<(), io::Error> {
            let mut new = tempfile::Builder::new()
                .prefix(".new-")
                .permissions(Permissions::from_mode(0o600))
                .tempfile_in(&self.dir)?;
            new.write_all(text)?;
            new.as_file().sync_all()?;
            new.persist_noclobber(&path).map_err(|error| error.error)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Registered(path.clone()),
            _ => StoreError::Io(path.clone(), error),
        })
    }
}

/// The keys of the client in `dir`, whoever uses it now.
pub(super) fn keys(dir: &Path, rng: &mut impl CryptoRng) -> Result<ClientKeys, StoreError> {
    let identity = keyfile::read(&dir.join(IDENTITY), KeyKind::Identity)?;
    let encryption = keyfile::read(&dir.join(ENCRYPTION), KeyKind::Encryption)?;
    Ok(ClientKeys::from_bytes(&identity, &encryption, AckKey::generate(rng)))
}

/// The address of the client in `dir`, whoever uses it now; nothing if it is not registered yet.
///
/// # Errors
/// If there is no client, or its files cannot be used.
pub fn address(dir: &Path) -> Result<Option<Recipient>, StoreError> {
    Settings::load(&dir.join(settings::FILE))?;
    let keys = keys(dir, &mut super::core::os_rng())?;
    let Some(registration) = registration(dir)? else { return Ok(None) };
    let address = keys.recipient(registration.gateway);
    address.map(Some).map_err(|_| StoreError::Corrupt(dir.join(GATEWAY)))
}

/// The address that the client in `dir` has, or will have, at this gateway.
///
/// # Errors
/// If there is no client, its files cannot be used, or the gateway's identity is no key.
pub fn address_at(dir: &Path, gateway: [u8; 32]) -> Result<Recipient, StoreError> {
    let keys = keys(dir, &mut super::core::os_rng())?;
    keys.recipient(gateway).map_err(|_| StoreError::Corrupt(dir.join(GATEWAY)))
}

/// Forgets the registration of the client in `dir`, so that it registers anew: its gateway has
/// forgotten it.
///
/// # Errors
/// If the file cannot be removed.
pub fn forget_registration(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(GATEWAY);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::Io(path, error)),
        _ => Ok(()),
    }
}

/// The registration of the client in `dir`, whoever uses it now.
pub(super) fn registration(dir: &Path) -> Result<Option<Registration>, StoreError> {
    let path = dir.join(GATEWAY);
    let io = |error| StoreError::Io(path.clone(), error);
    let file = match crate::files::open(&path) {
        Ok((file, _)) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let metadata = file.metadata().map_err(io)?;
    let corrupt = || StoreError::Corrupt(path.clone());
    if !metadata.is_file() || metadata.len() > REGISTRATION_MAX {
        return Err(corrupt());
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StoreError::Exposed(path.clone(), mode));
    }
    let text = Zeroizing::new(fs::read(&path).map_err(io)?);
    let form: Form = serde_json::from_slice(&text).map_err(|_| corrupt())?;
    let key = |text: &str| {
        let mut key = Zeroizing::new([0; 32]);
        let len = bs58::decode(text).onto(&mut key[..]);
        if len == Ok(32) { Ok(key) } else { Err(corrupt()) }
    };
    let (gateway, shared) = (key(&form.gateway)?, key(&form.shared_key)?);
    if form.version != 1 {
        return Err(corrupt());
    }
    Ok(Some(Registration { gateway: *gateway, key: SharedKey::from_bytes(*shared) }))
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use rand::SeedableRng;

    use super::*;

    fn settings() -> Settings {
        Settings { directory: Some("http://127.0.0.1:1".into()), ..Settings::default() }
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/client");
        (dir, path)
    }

    fn some_registration() -> Registration {
        Registration { gateway: [3; 32], key: SharedKey::from_bytes([4; 32]) }
    }

    #[test]
    fn a_client_survives_a_restart() {
        let (_dir, path) = place();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let store = Store::create(&path, &settings()).unwrap();
        let identity = store.keys(&mut rng).unwrap().identity().to_bytes();
        assert_eq!(store.registration().unwrap(), None);
        store.register(&some_registration()).unwrap();
        drop(store);
        let (store, read) = Store::open(&path).unwrap();
        assert_eq!(read, settings());
        assert_eq!(store.keys(&mut rng).unwrap().identity().to_bytes(), identity);
        assert_eq!(store.registration().unwrap(), Some(some_registration()));
        for name in [IDENTITY, ENCRYPTION, GATEWAY, settings::FILE] {
            let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600, "{name}");
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
    }

    #[test]
    fn nothing_is_overwritten() {
        let (_dir, path) = place();
        let store = Store::create(&path, &settings()).unwrap();
        store.register(&some_registration()).unwrap();
        let other = Registration { gateway: [9; 32], ..some_registration() };
        assert!(matches!(store.register(&other), Err(StoreError::Registered(_))));
        assert_eq!(store.registration().unwrap(), Some(some_registration()));
        drop(store);
        assert!(matches!(Store::create(&path, &settings()), Err(StoreError::Exists(_))));
        assert_eq!(fs::read_dir(&path).unwrap().count(), 5, "no temporary file stays");
    }

    #[test]
    fn one_program_at_a_time() {
        let (_dir, path) = place();
        let store = Store::create(&path, &settings()).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::InUse(_))));
        drop(store);
        Store::open(&path).unwrap();
    }

    #[test]
    fn a_damaged_or_exposed_registration_is_refused() {
        let (_dir, path) = place();
        let store = Store::create(&path, &settings()).unwrap();
        store.register(&some_registration()).unwrap();
        let file = path.join(GATEWAY);
        let good = fs::read_to_string(&file).unwrap();
        for bad in
            ["", "{}", &good[..good.len() - 3], &good.replace("\":1", "\":2"), &good.to_uppercase()]
        {
            fs::write(&file, bad).unwrap();
            assert!(matches!(store.registration(), Err(StoreError::Corrupt(_))), "{bad}");
        }
        fs::write(&file, &good).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(store.registration(), Err(StoreError::Exposed(_, 0o640))));
    }
}
