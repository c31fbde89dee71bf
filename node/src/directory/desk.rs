//! Where everything that happens to a directory comes together: registrations, what probes came
//! to, the passing of time. What is answered meanwhile is a [`Snapshot`].

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use phix_proto::directory::epoch::RewardedSet;
use phix_proto::directory::nodes::Role;
use phix_proto::directory::refresh::RefreshRequest;
use phix_proto::directory::registration::{LEN_MAX, Refusal, SignedDescription};
use phix_proto::directory::{NodeId, PublicKey};
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::book::Book;
use super::draw::{Sizes, draw};
use super::epochs::Epochs;
use super::hurry::Hurry;
use super::refused::{Counts, Refused};
use super::snapshot::Snapshot;
use super::store::Store;
use super::window::Round;
use crate::fault::Fault;

/// What a directory goes by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The course of epochs.
    pub epochs: Epochs,
    /// Places in the set.
    pub sizes: Sizes,
    /// Whether a registration must come from the one address that it names.
    pub check_source: bool,
    /// Where probes come back to.
    pub probes: SocketAddr,
}

/// What a node is told that has registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Its number.
    pub node_id: NodeId,
    /// The epoch.
    pub epoch_id: u32,
    /// What it does in this epoch.
    pub role: Role,
    /// Where probes of it come back to: a next hop that it must allow.
    pub probes: SocketAddr,
}

/// A node to probe.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its number.
    pub node: NodeId,
    /// Where it takes packets.
    pub address: SocketAddr,
    /// The key that it announced for this rotation.
    pub key: PublicKey,
    /// Where clients connect to it, if it ever lets any in.
    pub clients: Option<SocketAddr>,
    /// Whether that is its role in this epoch.
    pub is_entry: bool,
}

/// The directory itself, without its connections.
#[derive(Debug)]
pub struct Desk {
    rules: Rules,
    counts: Counts,
    hurry: Hurry,
    inner: Mutex<Inner>,
    snapshot: RwLock<Arc<Snapshot>>,
}

#[derive(Debug)]
struct Inner {
    book: Book,
    store: Store,
    set: RewardedSet,
    rng: StdRng,
}

impl Desk {
    /// A directory with what `store` remembers, at `now` since the Unix epoch. Lots are drawn by
    /// `rng`.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn open(rules: Rules, store: Store, rng: StdRng, now: Duration) -> Result<Self, Fault> {
        let unusable = |error: rusqlite::Error| {
            Fault::refused(format!(
                "the directory's file cannot be used ({error}): move it away to start anew."
            ))
        };
        let mut book = Book::default();
        for row in store.nodes().map_err(unusable)? {
            book.enter(row.id, row.signed);
            if let Some(window) = book.window(row.id) {
                *window = row.rounds.into_iter().collect();
            }
        }
        let set = RewardedSet::default();
        let mut inner = Inner { book, store, set, rng };
        inner.advance(&rules, now).map_err(unusable)?;
        let first = Snapshot::new(&rules.epochs, &inner.set, &inner.book, now);
        Ok(Self {
            rules,
            counts: Counts::default(),
            hurry: Hurry::default(),
            inner: Mutex::new(inner),
            snapshot: RwLock::new(Arc::new(first)),
        })
    }

    /// What it goes by.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How often what was refused.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What is answered at present.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether packets find a way through the nodes of this epoch.
    pub fn has_network(&self) -> bool {
        is_routable(&self.inner().set)
    }

    /// Goes on to the epoch of `now`, if it is another, and makes the answers anew.
    ///
    /// # Errors
    /// If the set cannot be written down; then the answers stay as they are.
    pub fn turn(&self, now: Duration) -> rusqlite::Result<()> {
        let mut inner = self.inner();
        inner.advance(&self.rules, now)?;
        let next = Snapshot::new(&self.rules.epochs, &inner.set, &inner.book, now);
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    /// Takes the registration in `body` that `source` sent.
    ///
    /// # Errors
    /// Why not; it is counted.
    pub fn register(
        &self,
        body: &[u8],
        source: IpAddr,
        now: Duration,
    ) -> Result<Registered, Refused> {
        let taken = self.try_register(body, source, now);
        match taken {
            Ok(_) => self.counts.registered(),
            Err(why) => self.counts.refused(why),
        }
        taken
    }

    fn try_register(
        &self,
        body: &[u8],
        source: IpAddr,
        now: Duration,
    ) -> Result<Registered, Refused> {
        if body.len() > LEN_MAX {
            return Err(Refusal::Oversize.into());
        }
        if self.rules.check_source && !self.hurry.allows(source, now) {
            return Err(Refused::Hurried);
        }
        let signed: SignedDescription =
            serde_json::from_slice(body).map_err(|_| Refusal::Malformed)?;
        signed.verify(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))?;
        // Whoever named others' addresses beside its own would keep them out, and have their peers
        // speak Noise to them with its key.
        let mut named = signed.description.addresses.iter();
        if self.rules.check_source
            && !named.all(|address| address.to_canonical() == source.to_canonical())
        {
            return Err(Refused::Source);
        }
        let node_id = self.inner().enter(signed)?;
        let (snapshot, probes) = (self.snapshot(), self.rules.probes);
        Ok(Registered { node_id, epoch_id: snapshot.epoch(), role: snapshot.role(node_id), probes })
    }

    /// Takes a node's wish to be looked at again.
    ///
    /// # Errors
    /// If it is not by a node that is known; it is counted.
    pub fn refresh(&self, body: &[u8], now: Duration) -> Result<NodeId, Refused> {
        let known = serde_json::from_slice::<RefreshRequest>(body)
            .map_err(|_| Refused::from(Refusal::Malformed))
            .and_then(|request| {
                request.verify(i64::try_from(now.as_secs()).unwrap_or(i64::MAX))?;
                self.inner().book.number(&request.node_identity).ok_or(Refused::Unknown)
            });
        known.inspect_err(|why| self.counts.refused(*why))
    }

    /// Whether a node was not probed yet since it came. The others wait for the next round: whoever
    /// could call for one would have the whole network probed at will, and its own bad rounds
    /// forgotten.
    pub fn is_new(&self, node: NodeId) -> bool {
        self.inner().book.nodes().get(&node).is_some_and(|known| known.window.is_empty())
    }

    /// Whom to probe with keys of the rotation of `now`, which is given beside.
    pub fn targets(&self, now: Duration) -> (u32, Vec<Target>) {
        let rotation = self.rules.epochs.rotation(self.rules.epochs.at(now));
        let inner = self.inner();
        let targets = inner.book.nodes().iter().filter_map(|(&node, known)| {
            let said = &known.signed.description;
            let ip = *said.addresses.first()?;
            let entry = said.entry.as_ref().filter(|_| said.roles.entry);
            Some(Target {
                node,
                address: SocketAddr::new(ip, said.mix_port),
                key: said.sphinx_key(rotation)?,
                clients: entry.map(|entry| SocketAddr::new(ip, entry.ws_port)),
                is_entry: inner.set.entry_gateways.contains(&node),
            })
        });
        (rotation, targets.collect())
    }

    /// Takes what a round of probes came to.
    ///
    /// # Errors
    /// If it cannot be written down; it counts all the same.
    pub fn probed(&self, results: &[(NodeId, Round)]) -> rusqlite::Result<()> {
        let mut inner = self.inner();
        for (node, round) in results {
            if let Some(window) = inner.book.window(*node) {
                window.push(*round);
            }
        }
        inner.store.round(results)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Enters a description whose form and signature are right, on disk first.
    fn enter(&mut self, signed: SignedDescription) -> Result<NodeId, Refused> {
        let dead = self.book.admits(&signed)?;
        for node in dead {
            self.store.forget(node).map_err(|_| Refused::Broken)?;
            self.book.remove(node);
        }
        let node = self.store.describe(&signed).map_err(|_| Refused::Broken)?;
        self.book.enter(node, signed);
        Ok(node)
    }

    /// Takes the set of the epoch of `now`: the one that was drawn, or a new one. A set that no
    /// packet can pass through is drawn again until nodes are there for a better one, so that a
    /// new network need not wait for an epoch.
    fn advance(&mut self, rules: &Rules, now: Duration) -> rusqlite::Result<()> {
        let epoch = rules.epochs.at(now);
        if self.set.epoch_id == epoch && is_routable(&self.set) {
            return Ok(());
        }
        let known = if self.set.epoch_id == epoch { None } else { self.store.set(epoch)? };
        if let Some(set) = known {
            self.set = set;
            if is_routable(&self.set) {
                return Ok(());
            }
        }
        let candidates = self.book.candidates(rules.epochs.rotation(epoch));
        let set = draw(epoch, &candidates, &rules.sizes, &mut self.rng);
        if self.set.epoch_id != epoch || is_routable(&set) {
            self.store.keep(&set)?;
            self.set = set;
        }
        Ok(())
    }
}

/// Whether packets find a way through: each layer has a node, and clients can enter.
fn is_routable(set: &RewardedSet) -> bool {
    let layers = set.layers();
    !set.entry_gateways.is_empty() && layers.iter().all(|layer| !layer.is_empty())
}
