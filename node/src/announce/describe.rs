//! What this node says of itself.

use std::net::SocketAddr;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use phix_client::topology;
use phix_proto::directory::PublicKey;
use phix_proto::directory::nodes::{Entry, NoiseKey, SupportedRoles};
use phix_proto::directory::registration::{
    ANY_ROTATION, Description, Services, SignedDescription, SphinxKey,
};

use crate::fault::Fault;
use crate::keys::NodeKeys;
use crate::place::Place;
use crate::rotation::{self, Keyring, Schedule};

/// The version of how Noise is used that Phix speaks.
const NOISE_VERSION: u8 = 1;

/// What a node is ready to do.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// For the network.
    pub roles: SupportedRoles,
    /// How clients reach it, if it lets any in.
    pub entry: Option<Entry>,
    /// The addresses of the services behind it.
    pub services: Services,
}

/// Everything that goes into descriptions of one node.
#[derive(Debug)]
pub struct Describer {
    identity: Box<SigningKey>,
    address: SocketAddr,
    fixed: topology::PublicKey,
    rotating: Option<(Schedule, Keyring)>,
    noise: Option<NoiseKey>,
    offer: Offer,
    last_ms: u64,
}

impl Describer {
    /// Descriptions of the node at `place`, which others reach at `address`.
    ///
    /// # Errors
    /// If its address stands for all addresses, or its settings of rotation contradict each other.
    pub fn new(
        place: &Place,
        keys: &NodeKeys,
        address: SocketAddr,
        offer: Offer,
    ) -> Result<Self, Fault> {
        if address.ip().is_unspecified() {
            return Err(Fault::refused(
                "a directory must be told where this node is, and listen stands for all addresses: \
                 set --announce to the address and port under which others reach it.",
            ));
        }
        let schedule = rotation::schedule(&place.settings)?;
        let noise = keys.noise.as_ref().map(|key| NoiseKey {
            supported_version: NOISE_VERSION,
            x25519_pubkey: PublicKey(*key.public()),
        });
        Ok(Self {
            identity: keys.signing.clone(),
            address,
            fixed: keys.sphinx,
            rotating: schedule.map(|schedule| (schedule, Keyring::new(place.keys_dir()))),
            noise: noise.filter(|_| place.settings.noise != crate::settings::NoiseUse::Off),
            offer,
            last_ms: 0,
        })
    }

    /// The public identity.
    pub fn identity(&self) -> PublicKey {
        PublicKey(self.identity.verifying_key().to_bytes())
    }

    /// The schedule of its keys, if they change.
    pub fn schedule(&self) -> Option<Schedule> {
        self.rotating.as_ref().map(|(schedule, _)| *schedule)
    }

    /// The description of `now`, signed. It names the key of the present rotation, and of the next
    /// as soon as there is one.
    ///
    /// # Errors
    /// If a key cannot be read.
    pub fn describe(&mut self, now: Duration) -> Result<SignedDescription, Fault> {
        let sphinx = match &self.rotating {
            None => {
                let public_key = PublicKey(self.fixed.0);
                vec![SphinxKey { rotation_id: ANY_ROTATION, public_key }]
            }
            Some((schedule, keyring)) => announced(keyring, schedule.number(now))?,
        };
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        // A later description has a later time, whatever the clock does.
        self.last_ms = now_ms.max(self.last_ms.saturating_add(1));
        let Offer { roles, entry, services } = self.offer.clone();
        let description = Description {
            identity: self.identity(),
            sphinx,
            noise: self.noise,
            addresses: vec![self.address.ip()],
            mix_port: self.address.port(),
            entry,
            roles,
            services,
            software: format!("phix-node/{}", env!("CARGO_PKG_VERSION")),
            made_at_ms: self.last_ms,
        };
        Ok(description.sign(&self.identity))
    }
}

/// The public keys of rotation `number` and the next that are there.
fn announced(keyring: &Keyring, number: u32) -> Result<Vec<SphinxKey>, Fault> {
    let there = keyring.numbers()?;
    let wanted = [number, number.saturating_add(1)].into_iter().filter(|id| there.contains(id));
    wanted
        .map(|rotation_id| {
            let public_key = PublicKey(keyring.secret(rotation_id)?.public());
            Ok(SphinxKey { rotation_id, public_key })
        })
        .collect()
}
