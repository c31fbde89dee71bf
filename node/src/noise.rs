//! How this node speaks with others: its key for Noise, their keys, and what the settings say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use clap::{ArgMatches, Command};
use phix_client::files::{self, words};
use phix_client::keyfile::{self, KeyKind};
use phix_client::topology::PublicKey;
use phix_io::noise::{Noise, NoiseKey, NoisePeers, Plain};

use crate::cli::say;
use crate::fault::Fault;
use crate::keys::{self, NodeKeys};
use crate::place::{self, Place};
use crate::settings::NoiseUse;

/// Bytes that a file of other nodes' keys has at most: room for some 50,000 nodes.
const FILE_MAX: u64 = 4 << 20;

const TEACH: &str = "\
Makes the key that a node proves to other nodes in Noise, in the node's directory of keys, and
prints its public part. `init` makes one for each new node; this is for nodes that were made
before there was Noise. A key that exists is kept.

Example:
  phix-node noise-key --dir /var/lib/phix";

/// The arguments and help of `phix-node noise-key`.
pub fn command(command: Command) -> Command {
    place::with_settings(place::with_config(place::with_dir(command)))
        .about("Make a node's key for Noise, where it has none")
        .after_help(TEACH)
}

/// Runs `phix-node noise-key`.
///
/// # Errors
/// If there is a key, or none can be made.
pub fn run(matches: &ArgMatches) -> Result<(), Fault> {
    let place = Place::given(matches)?;
    let path = keys::noise_path(&place.keys_dir());
    let secret = keyfile::generate(&path, KeyKind::Noise)
        .map_err(|error| Fault::refused(format!("{error}.")))?;
    say(format_args!("Made {}.", path.display()));
    say(format_args!("Noise key (X25519):  {}", PublicKey(KeyKind::Noise.public(&secret))));
    Ok(())
}

/// How the node at `place` speaks with others.
///
/// # Errors
/// If the settings contradict each other, or the file of keys is wrong, or the node has no key of
/// its own and needs one.
pub fn policy(place: &Place, keys: &NodeKeys) -> Result<Noise, Fault> {
    let settings = &place.settings;
    let plain = match settings.noise {
        NoiseUse::Off => return Ok(Noise::default()),
        NoiseUse::AllowPlain => Plain::Allowed,
        NoiseUse::Required => Plain::Refused,
    };
    let file = settings.noise_peers.clone().get();
    if file.is_none() && settings.directory.clone().get().is_none() {
        return match plain {
            Plain::Allowed => Ok(Noise::default()),
            Plain::Refused => Err(Fault::refused(
                "with noise = \"required\" this node would speak with nobody, because it knows no \
                 other node's key: set --noise-peers to a file of them, --directory to a directory \
                 that tells them, or --noise to allow-plain.",
            )),
        };
    }
    // What a directory tells comes later.
    let peers = match file {
        Some(file) => read(&place.resolve(&file))?,
        None => NoisePeers::default(),
    };
    let key = keys.noise.clone().ok_or_else(|| {
        Fault::refused(format!(
            "there is no key file {}, which a node needs for Noise: make one with `phix-node \
             noise-key`, or set --noise to off.",
            keys::noise_path(&place.keys_dir()).display(),
        ))
    })?;
    let (key, peers) = (Some(Arc::new(key)), Arc::new(peers));
    Ok(Noise { key, pattern: settings.noise_pattern.pattern(), peers, plain })
}

/// What `check-config` says of it.
///
/// # Errors
/// As [`policy`].
pub fn check(place: &Place, keys: &NodeKeys) -> Result<String, Fault> {
    let noise = policy(place, keys)?;
    let word = place.settings.noise.word();
    Ok(match noise.key {
        None => "noise         with nobody".to_owned(),
        Some(_) => format!(
            "noise         {word}; {} by address; {}",
            counted(noise.peers.len()),
            noise.pattern.protocol(),
        ),
    })
}

fn counted(keys: usize) -> String {
    format!("{keys} {}", if keys == 1 { "key" } else { "keys" })
}

/// Reads a file of other nodes' keys: TOML, one line for each address.
fn read(path: &Path) -> Result<NoisePeers, Fault> {
    let shown = path.display();
    let cannot = |what: &dyn std::fmt::Display| {
        Fault::refused(format!("the file of Noise keys {shown} {what}."))
    };
    let unreadable = |error: std::io::Error| {
        cannot(&format_args!("cannot be read ({}): set --noise-peers to one", words(&error)))
    };
    let (file, metadata) = files::open(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > FILE_MAX {
        return Err(cannot(&"is not a file of at most 4 MiB: set --noise-peers to one"));
    }
    let mut text = String::new();
    file.take(FILE_MAX).read_to_string(&mut text).map_err(unreadable)?;
    let wanted = "a line of it is `\"192.0.2.1\" = \"32 bytes in base58\"`";
    let lines: BTreeMap<String, String> = toml::from_str(&text)
        .map_err(|error| cannot(&format_args!("is not right ({}): {wanted}", error.message())))?;
    let mut peers = BTreeMap::new();
    for (address, key) in lines {
        let of = |what| cannot(&format_args!("has {what} at \"{address}\": {wanted}"));
        let ip: IpAddr = address.parse().map_err(|_| of("no IP address"))?;
        let key = public(&key).ok_or_else(|| of("no key"))?;
        if peers.insert(ip.to_canonical(), key).is_some_and(|other| other != key) {
            return Err(of("a second key"));
        }
    }
    Ok(peers.into_iter().collect())
}

fn public(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    (bs58::decode(text).onto(&mut key) == Ok(32)).then_some(key)
}

/// The text of a file of keys.
///
/// # Errors
/// If two nodes at one address have different keys, which cannot be told apart.
pub fn write(nodes: impl IntoIterator<Item = (IpAddr, PublicKey)>) -> Result<String, Fault> {
    let mut text = String::from("# The Noise keys of nodes by address, for `noise-peers`.\n");
    let mut all = BTreeMap::new();
    for (address, key) in nodes {
        if all.insert(address.to_canonical(), key).is_some_and(|other| other != key) {
            return Err(Fault::refused(format!(
                "two nodes at {address} have different Noise keys, and only addresses tell nodes \
                 apart: give each node an address of its own, or all of them one noise.key."
            )));
        }
    }
    for (address, key) in all {
        writeln!(text, "\"{address}\" = \"{key}\"").expect("writing to a string cannot fail");
    }
    Ok(text)
}

/// The Noise key of a node's directory, if it has one.
///
/// # Errors
/// If the file is there and not right.
pub(crate) fn load(path: &Path) -> Result<Option<NoiseKey>, keyfile::KeyFileError> {
    match keyfile::read(path, KeyKind::Noise) {
        Ok(secret) => Ok(Some(NoiseKey::new(phix_engine::secret::NodeSecret::from_bytes(*secret)))),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers.toml");
        std::fs::write(&path, text).unwrap();
        match read(&path) {
            Ok(peers) => format!("{} keys", peers.len()),
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn files_of_keys_there_and_back() {
        let (one, two) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let [a, b] = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap());
        let text = write([(a, one), (b, two), (a, one)]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers.toml");
        std::fs::write(&path, text).unwrap();
        let peers = read(&path).unwrap();
        assert_eq!((peers.len(), peers.key(a), peers.key(b)), (2, Some(&one.0), Some(&two.0)));
        assert!(write([(a, one), (a, two)]).unwrap_err().to_string().contains("192.0.2.1"));
    }

    #[test]
    fn wrong_files_are_named_with_what_is_right() {
        let (key, other) = (PublicKey([1; 32]), PublicKey([2; 32]));
        assert_eq!(said(""), "0 keys");
        assert_eq!(said(&format!("\"192.0.2.1\" = \"{key}\"")), "1 keys");
        for (text, what) in [
            ("[", "is not right"),
            ("\"192.0.2.1\" = 5", "is not right"),
            (&format!("\"here\" = \"{key}\""), "no IP address at \"here\""),
            (&format!("\"192.0.2.1:1789\" = \"{key}\""), "no IP address"),
            ("\"192.0.2.1\" = \"1111\"", "no key at \"192.0.2.1\""),
            ("\"192.0.2.1\" = \"0OIl\"", "no key"),
            (
                &format!("\"192.0.2.1\" = \"{key}\"\n\"::ffff:192.0.2.1\" = \"{other}\""),
                "a second key",
            ),
        ] {
            let said = said(text);
            assert!(said.contains(what) && said.contains("in base58"), "{said}");
        }
        assert!(read(Path::new("/")).unwrap_err().to_string().contains("--noise-peers"));
        assert!(read(Path::new("/nowhere")).unwrap_err().to_string().contains("cannot be read"));
    }
}
