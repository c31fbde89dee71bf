//! All that a directory answers, made at once and never changed. The next one takes its place as a
//! whole, so that no answer mixes two epochs.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use hyper::body::Bytes;
use phix_proto::directory::described::Described;
use phix_proto::directory::epoch::RewardedSet;
use phix_proto::directory::nodes::{Existence, Metadata, Role, SemiSkimmed, SemiSkimmedV3};
use phix_proto::directory::{NodeId, bincode, paths};

use super::book::Book;
use super::epochs::{Epochs, instant};
use super::listing::{Format, Listing, PAGE_MAX};
use super::page;

/// An answer that is the same for everybody.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its bytes.
    pub body: Bytes,
    /// What they are.
    pub media_type: &'static str,
    /// What tells it from other answers at the same place.
    pub tag: String,
}

impl Answer {
    pub(super) fn new(body: Bytes, media_type: &'static str) -> Self {
        // Eight bytes of a hash tell versions of one answer apart.
        let hash = u64::from_le_bytes(*blake3::hash(&body).as_bytes().first_chunk().expect("32"));
        Self { body, media_type, tag: format!("\"{hash:016x}\"") }
    }

    fn json(value: &impl serde::Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("answers have a JSON form");
        Self::new(body.into(), super::http::JSON)
    }

    fn bincode(value: &impl serde::Serialize) -> Self {
        let body = bincode::to_vec(value).expect("this answer has a bincode form");
        Self::new(body.into(), super::http::BINCODE)
    }
}

/// A list, and its first page ready.
#[derive(Debug)]
struct List {
    all: Listing,
    /// Items on a page where nobody asks for another number.
    size: usize,
    first: [Answer; 2],
}

impl List {
    fn new(all: Listing, size: usize) -> Self {
        let json = Self::cut(&all, 0, size, Format::Json);
        let bincode = match all.form(Format::Bincode) {
            Format::Json => json.clone(),
            form @ Format::Bincode => Self::cut(&all, 0, size, form),
        };
        Self { all, size, first: [json, bincode] }
    }

    fn page(&self, page: u32, size: Option<usize>, format: Format) -> Answer {
        let size = size.map_or(self.size, |size| size.min(PAGE_MAX));
        match (page, size == self.size, format) {
            (0, true, Format::Json) => self.first[0].clone(),
            (0, true, Format::Bincode) => self.first[1].clone(),
            _ => Self::cut(&self.all, page, size, format),
        }
    }

    fn cut(all: &Listing, page: u32, size: usize, format: Format) -> Answer {
        Answer::new(all.page(page, size, format), media_type(all.form(format)))
    }
}

const fn media_type(format: Format) -> &'static str {
    match format {
        Format::Json => super::http::JSON,
        Format::Bincode => super::http::BINCODE,
    }
}

/// The answers of one moment.
#[derive(Debug)]
pub struct Snapshot {
    epoch: u32,
    roles: HashMap<NodeId, Role>,
    fixed: HashMap<(&'static str, Format), Answer>,
    lists: HashMap<&'static str, List>,
    by_address: HashMap<IpAddr, NodeId>,
}

impl Snapshot {
    /// What is to be answered at `now`, in the epoch of `set`.
    pub fn new(epochs: &Epochs, set: &RewardedSet, book: &Book, now: Duration) -> Self {
        let epoch = set.epoch_id;
        let rotation_id = epochs.rotation(epoch);
        let roles: HashMap<NodeId, Role> = set.members().collect();
        let role = |id: NodeId| roles.get(&id).copied().unwrap_or_default();
        let nodes = book.published(rotation_id, role);
        let metadata = Metadata {
            status: None,
            absolute_epoch_id: epoch,
            rotation_id,
            refreshed_at: instant(now),
        };
        let info = epochs.info(epoch);
        let requester = |id: NodeId| {
            let said = book.nodes().get(&id)?.description();
            said.services.network_requester.clone()
        };
        let page = page::render(&info, set, &nodes, requester);
        let page = Answer::new(page.into(), super::http::HTML);
        let fixed = HashMap::from([
            ((paths::KEY_ROTATION_INFO, Format::Json), Answer::json(&info)),
            ((paths::REWARDED_SET, Format::Json), Answer::json(set)),
            ((paths::REWARDED_SET, Format::Bincode), Answer::bincode(set)),
            (("/", Format::Json), page),
        ]);
        let by_address = nodes
            .iter()
            .flat_map(|(node, _)| {
                let addresses = node.basic.ip_addresses.iter();
                addresses.map(|address| (address.to_canonical(), node.basic.node_id))
            })
            .collect();
        let mut lists = lists(&metadata, &nodes);
        lists.insert(paths::REGISTER, descriptions(book));
        lists.insert(paths::DESCRIBED, described(book, rotation_id, now));
        Self { epoch, roles, fixed, lists, by_address }
    }

    /// The epoch that all answers are of.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What a node does in it.
    pub fn role(&self, node: NodeId) -> Role {
        self.roles.get(&node).copied().unwrap_or_default()
    }

    /// An answer that has no parameters but its form; JSON where there is no other.
    pub fn fixed(&self, path: &'static str, format: Format) -> Option<Answer> {
        let of = |format| self.fixed.get(&(path, format)).cloned();
        of(format).or_else(|| of(Format::Json))
    }

    /// A page of a list.
    pub fn page(
        &self,
        path: &'static str,
        page: u32,
        size: Option<usize>,
        format: Format,
    ) -> Option<Answer> {
        Some(self.lists.get(path)?.page(page, size, format))
    }

    /// Which nodes have these addresses.
    pub fn by_addresses(&self, addresses: &[IpAddr]) -> Existence {
        let node = |address: &IpAddr| self.by_address.get(&address.to_canonical()).copied();
        let existence: BTreeMap<_, _> =
            addresses.iter().map(|address| (*address, node(address))).collect();
        Existence { existence }
    }
}

/// The lists by their places.
fn lists(metadata: &Metadata, nodes: &[(SemiSkimmed, String)]) -> HashMap<&'static str, List> {
    let third: Vec<SemiSkimmedV3> = nodes
        .iter()
        .map(|(node, software)| SemiSkimmedV3 {
            basic: node.basic.clone(),
            noise_key: node.x25519_noise_versioned_key,
            build_version: software.clone(),
            lp: None,
        })
        .collect();
    let skimmed = |wanted: fn(&SemiSkimmed) -> bool| {
        let chosen = nodes.iter().map(|(node, _)| node).filter(move |node| wanted(node));
        List::new(Listing::new(metadata, chosen.map(|node| &node.basic)), PAGE_MAX)
    };
    let semi_skimmed = Listing::new(metadata, nodes.iter().map(|(node, _)| node));
    HashMap::from([
        (paths::SKIMMED, skimmed(|_| true)),
        (
            paths::SKIMMED_MIXNODES_ACTIVE,
            skimmed(|node| matches!(node.basic.role, Role::Mixnode { .. })),
        ),
        (paths::SKIMMED_MIXNODES_ALL, skimmed(|node| node.basic.supported_roles.mixnode)),
        // Stock clients know the gateways of this list only, and services are reached at exits.
        (
            paths::SKIMMED_ENTRY_GATEWAYS,
            skimmed(|node| {
                let roles = node.basic.supported_roles;
                node.basic.entry.is_some() && (roles.entry || roles.exit())
            }),
        ),
        (paths::SKIMMED_EXIT_GATEWAYS, skimmed(|node| node.basic.supported_roles.exit())),
        (paths::SEMI_SKIMMED, List::new(semi_skimmed, PAGE_MAX)),
        (paths::SEMI_SKIMMED_V3, List::new(Listing::new(metadata, third.iter()), PAGE_MAX)),
    ])
}

/// What all nodes said of themselves, as nym-api passes it on.
fn described(book: &Book, rotation: u32, now: Duration) -> List {
    let proven = book.nodes().iter().filter(|(_, known)| known.window.proven());
    let at = instant(now);
    let data =
        proven.filter_map(|(id, known)| Described::new(*id, known.description(), rotation, at));
    List::new(Listing::plain("data", data), PAGE_MAX)
}

/// What all nodes said of themselves, with their signatures, and how they fare: whole, for those
/// who ask for no pages.
fn descriptions(book: &Book) -> List {
    let proven = book.nodes().iter().filter(|(_, known)| known.window.proven());
    let nodes = proven.map(|(id, known)| {
        serde_json::json!({
            "node_id": id,
            "performance": known.window.performance(),
            "alive": known.window.alive(),
            "description": known.signed.description,
            "signature": known.signed.signature,
        })
    });
    List::new(Listing::plain("nodes", nodes), usize::MAX)
}
