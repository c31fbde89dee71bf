//! What a node says of itself when it registers, signed with its identity.
//!
//! The signature covers the [`bincode`](super::bincode) form of the description behind a text that
//! says what it is; so it does not depend on how somebody spells JSON.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::nodes::{Entry, NoiseKey, SupportedRoles};
use super::{PublicKey, bincode};

/// Bytes that a registration has at most.
pub const LEN_MAX: usize = 8 * 1024;
/// Addresses that a node has at most.
pub const ADDRESSES_MAX: usize = 8;
/// Sphinx keys that a node announces at most: of this rotation, the one before and the next.
pub const KEYS_MAX: usize = 3;
/// Bytes of each text at most.
pub const TEXT_MAX: usize = 253;
/// Milliseconds by which the clocks of node and directory may differ, and after which a
/// registration is too old.
pub const AGE_MAX_MS: u64 = 120_000;

/// The rotation of a key that is used for ever.
pub const ANY_ROTATION: u32 = u32::MAX;

const DOMAIN: &[u8] = b"Phix node description, version 1\n";

/// A Sphinx key and when it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SphinxKey {
    /// Its rotation; [`ANY_ROTATION`] for a key that is used for ever.
    pub rotation_id: u32,
    /// The X25519 key.
    pub public_key: PublicKey,
}

/// The addresses of the services behind an exit, as clients write them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// Of the network requester.
    pub network_requester: Option<String>,
    /// Of the IP packet router.
    pub ip_packet_router: Option<String>,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Its Ed25519 identity.
    pub identity: PublicKey,
    /// Its Sphinx keys: of this rotation, and of the next if it is there already.
    pub sphinx: Vec<SphinxKey>,
    /// Its key for Noise, if it speaks it.
    pub noise: Option<NoiseKey>,
    /// Its addresses; packets go to the first.
    pub addresses: Vec<IpAddr>,
    /// The port on which it takes packets.
    pub mix_port: u16,
    /// How clients reach it, if it lets any in.
    pub entry: Option<Entry>,
    /// What it is able to do.
    pub roles: SupportedRoles,
    /// The services behind it.
    pub services: Services,
    /// Name and version of its software.
    pub software: String,
    /// When it was made, in milliseconds since the Unix epoch. A later one replaces an earlier one.
    pub made_at_ms: u64,
}

/// A description and the signature over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedDescription {
    /// What is said.
    pub description: Description,
    /// The Ed25519 signature, 64 bytes in base58.
    pub signature: String,
}

/// Why a registration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// It is not of the form that it must have.
    Malformed,
    /// It is larger than it may be.
    Oversize,
    /// It is from too long ago, or not newer than what is known.
    Old,
    /// It is from the time to come.
    Future,
    /// The signature is not by the identity, or over something else.
    Signature,
    /// There is no address, or one that no node can have, or too many.
    Address,
    /// A port is 0, or a node that lets clients in has none for them.
    Port,
    /// There is no Sphinx key, or too many, or two for one rotation.
    Keys,
    /// It does nothing.
    Roles,
    /// A text is too long or has control characters in it.
    Text,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::Oversize,
        Self::Old,
        Self::Future,
        Self::Signature,
        Self::Address,
        Self::Port,
        Self::Keys,
        Self::Roles,
        Self::Text,
    ];

    /// Its name where it is counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Oversize => "oversize",
            Self::Old => "old",
            Self::Future => "future",
            Self::Signature => "signature",
            Self::Address => "address",
            Self::Port => "port",
            Self::Keys => "keys",
            Self::Roles => "roles",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is not JSON of the right form",
            Self::Oversize => "it is larger than 8 KiB",
            Self::Old => "it is too old, or not newer than the last one: set the node's clock",
            Self::Future => "it is from the time to come: set the node's clock",
            Self::Signature => "the signature is not by the identity that it names",
            Self::Address => "it has no address, too many, or one that no node can have",
            Self::Port => "a port is missing or 0",
            Self::Keys => "it must have one to three Sphinx keys, each for a rotation of its own",
            Self::Roles => "it names no role",
            Self::Text => "a text in it is longer than 253 bytes or has control characters",
        })
    }
}

impl std::error::Error for Refusal {}

impl Description {
    /// Signs it. Whoever reads it wants `identity` to be the public part of `key`.
    ///
    /// # Panics
    /// If `identity` is another key's.
    pub fn sign(self, key: &SigningKey) -> SignedDescription {
        assert_eq!(
            self.identity.0,
            key.verifying_key().to_bytes(),
            "a description is signed by the identity in it"
        );
        let signature = key.sign(&self.signed_bytes()).to_bytes();
        SignedDescription { description: self, signature: bs58::encode(signature).into_string() }
    }

    /// The key of `rotation`, if it has one.
    pub fn sphinx_key(&self, rotation: u32) -> Option<PublicKey> {
        let of = |id| self.sphinx.iter().find(|key| key.rotation_id == id);
        of(rotation).or_else(|| of(ANY_ROTATION)).map(|key| key.public_key)
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bincode::write(self, &mut bytes).expect("a description has a bincode form");
        bytes
    }

    /// Everything that can be wrong with it apart from its age and signature.
    fn check(&self) -> Result<(), Refusal> {
        let reachable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
        if !(1..=ADDRESSES_MAX).contains(&self.addresses.len())
            || !self.addresses.iter().all(reachable)
        {
            return Err(Refusal::Address);
        }
        let client_ports = self.entry.as_ref().map(|entry| (entry.ws_port, entry.wss_port));
        if self.mix_port == 0
            || client_ports.is_some_and(|(ws, wss)| ws == 0 || wss == Some(0))
            || (self.roles.entry && client_ports.is_none())
        {
            return Err(Refusal::Port);
        }
        let rotations: BTreeSet<u32> = self.sphinx.iter().map(|key| key.rotation_id).collect();
        if !(1..=KEYS_MAX).contains(&self.sphinx.len()) || rotations.len() != self.sphinx.len() {
            return Err(Refusal::Keys);
        }
        if self.roles.none() {
            return Err(Refusal::Roles);
        }
        let plain = |text: &str| text.len() <= TEXT_MAX && !text.chars().any(char::is_control);
        if !self.texts().all(plain) {
            return Err(Refusal::Text);
        }
        Ok(())
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let hostname = self.entry.as_ref().and_then(|entry| entry.hostname.as_deref());
        let Services { network_requester, ip_packet_router } = &self.services;
        [
            Some(self.software.as_str()),
            hostname,
            network_requester.as_deref(),
            ip_packet_router.as_deref(),
        ]
        .into_iter()
        .flatten()
    }
}

impl SignedDescription {
    /// Checks form, age at `now_ms`, and signature, the dearest last.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self, now_ms: u64) -> Result<(), Refusal> {
        let description = &self.description;
        description.check()?;
        if description.made_at_ms.saturating_add(AGE_MAX_MS) < now_ms {
            return Err(Refusal::Old);
        }
        if description.made_at_ms > now_ms.saturating_add(AGE_MAX_MS) {
            return Err(Refusal::Future);
        }
        self.verify_signature()
    }

    /// Checks the signature alone.
    ///
    /// # Errors
    /// If it is not by the identity that the description names.
    pub fn verify_signature(&self) -> Result<(), Refusal> {
        let mut signature = [0; 64];
        match bs58::decode(&self.signature).onto(&mut signature) {
            Ok(64) => {}
            _ => return Err(Refusal::Signature),
        }
        VerifyingKey::from_bytes(&self.description.identity.0)
            .and_then(|key| {
                let bytes = self.description.signed_bytes();
                key.verify_strict(&bytes, &Signature::from_bytes(&signature))
            })
            .map_err(|_| Refusal::Signature)
    }
}
