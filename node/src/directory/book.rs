//! The nodes that a directory knows, and whom it lets in among them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use phix_proto::directory::nodes::{Role, SemiSkimmed, Skimmed, SupportedRoles};
use phix_proto::directory::registration::{Description, Refusal, SignedDescription};
use phix_proto::directory::{NodeId, PublicKey};

use super::draw::Candidate;
use super::refused::Refused;
use super::window::Window;

/// Nodes that are known at a time.
pub const NODES_MAX: usize = 10_000;

/// A node.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it said last.
    pub signed: SignedDescription,
    /// What probes of it came to.
    pub window: Window,
}

impl Known {
    pub(super) fn description(&self) -> &Description {
        &self.signed.description
    }

    /// What it is able to do now: no clients enter where they could not connect when it was their
    /// entry.
    fn roles(&self) -> SupportedRoles {
        let roles = self.description().roles;
        let entry = roles.entry && self.window.lets_clients_in() != Some(false);
        SupportedRoles { entry, ..roles }
    }
}

/// The nodes by number.
#[derive(Debug, Default)]
pub struct Book {
    nodes: BTreeMap<NodeId, Known>,
    numbers: HashMap<PublicKey, NodeId>,
}

impl Book {
    /// Takes a node in, or what it says anew, under the number that it has.
    pub fn enter(&mut self, id: NodeId, signed: SignedDescription) {
        self.numbers.insert(signed.description.identity, id);
        let window = self.nodes.remove(&id).map(|known| known.window).unwrap_or_default();
        self.nodes.insert(id, Known { signed, window });
    }

    /// Strikes a node out.
    pub fn remove(&mut self, id: NodeId) {
        if let Some(known) = self.nodes.remove(&id) {
            self.numbers.remove(&known.description().identity);
        }
    }

    /// The nodes.
    pub const fn nodes(&self) -> &BTreeMap<NodeId, Known> {
        &self.nodes
    }

    /// The probes of a node, if it is known.
    pub fn window(&mut self, id: NodeId) -> Option<&mut Window> {
        self.nodes.get_mut(&id).map(|known| &mut known.window)
    }

    /// The number of a node, if it is known.
    pub fn number(&self, identity: &PublicKey) -> Option<NodeId> {
        self.numbers.get(identity).copied()
    }

    /// Whether `signed`, whose form is right, may be entered; gives the nodes whose place it takes,
    /// which are dead.
    ///
    /// # Errors
    /// If it is older than what is known, or another node that is alive is in its way, or there is
    /// no room.
    pub fn admits(&self, signed: &SignedDescription) -> Result<Vec<NodeId>, Refused> {
        let new = &signed.description;
        let own = self.number(&new.identity);
        if own.is_some_and(|id| self.nodes[&id].description().made_at_ms >= new.made_at_ms) {
            return Err(Refusal::Old.into());
        }
        let others = self.nodes.iter().filter(|(id, _)| Some(**id) != own);
        let in_the_way = others.filter(|(_, known)| collide(known.description(), new));
        let (alive, mut dead): (Vec<_>, Vec<_>) =
            in_the_way.partition(|(_, known)| known.window.alive());
        if !alive.is_empty() {
            return Err(Refused::Taken);
        }
        if own.is_none() && dead.is_empty() && self.nodes.len() >= NODES_MAX {
            // A node that never lived, or no longer does, makes room.
            let idle = self.nodes.iter().filter(|(_, known)| !known.window.alive());
            let oldest = idle.min_by_key(|(_, known)| known.description().made_at_ms);
            dead.push(oldest.ok_or(Refused::Full)?);
        }
        Ok(dead.into_iter().map(|(id, _)| *id).collect())
    }

    /// Those that may be drawn for an epoch in which keys of `rotation` are used.
    pub fn candidates(&self, rotation: u32) -> Vec<Candidate> {
        let able = self.nodes.iter().filter(|(_, known)| {
            known.window.alive() && known.description().sphinx_key(rotation).is_some()
        });
        able.map(|(&node, known)| Candidate {
            node,
            roles: known.roles(),
            performance: known.window.performance(),
        })
        .collect()
    }

    /// What is published of the nodes that ever proved themselves and have a key of `rotation`,
    /// with the version of their software.
    pub fn published(
        &self,
        rotation: u32,
        role: impl Fn(NodeId) -> Role,
    ) -> Vec<(SemiSkimmed, String)> {
        let shown = self.nodes.iter().filter(|(_, known)| known.window.proven());
        shown.filter_map(|(&id, known)| published(id, known, rotation, role(id))).collect()
    }
}

/// Whether two nodes cannot both be reached: packets go by address and port, Noise by address.
fn collide(one: &Description, other: &Description) -> bool {
    let canonical = |of: &Description| -> Vec<IpAddr> {
        of.addresses.iter().map(|address| address.to_canonical()).collect()
    };
    let (ones, others) = (canonical(one), canonical(other));
    let shared = ones.iter().any(|address| others.contains(address));
    let keys = |of: &Description| of.noise.map(|key| key.x25519_pubkey);
    shared && (one.mix_port == other.mix_port || keys(one) != keys(other))
}

fn published(
    id: NodeId,
    known: &Known,
    rotation: u32,
    role: Role,
) -> Option<(SemiSkimmed, String)> {
    let said = known.description();
    let basic = Skimmed {
        node_id: id,
        ed25519_identity_pubkey: said.identity,
        ip_addresses: said.addresses.clone(),
        mix_port: said.mix_port,
        x25519_sphinx_pubkey: said.sphinx_key(rotation)?,
        role,
        supported_roles: said.roles,
        entry: said.entry.clone().filter(|_| said.roles.entry),
        performance: known.window.performance(),
    };
    let node = SemiSkimmed { basic, x25519_noise_versioned_key: said.noise };
    Some((node, said.software.clone()))
}
