//! The topology from a directory that speaks nym-api, or from a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::ACCEPT;
use hyper::{Request, StatusCode};
use phix_proto::directory::epoch::KeyRotationInfo;
use phix_proto::directory::network::{Disagreement, Network, whole};
use phix_proto::directory::nodes::{Nodes, Pagination, Skimmed};
use phix_proto::directory::{self, Performance, epoch, paths, registration};
use phix_proto::message::Recipient;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::dial::Url;
use super::http::{self, HttpError};
use super::settings::Settings;
use crate::files::words;
use crate::topology::{
    self, Entry, Fault, Form, Metadata, Node, NodeId, PublicKey, RewardedSet, SupportedRoles,
    Topology, TopologyError,
};

/// Bytes of an answer, at most: that of a network of ten thousand nodes has half of them.
const ANSWER_MAX: usize = 16 << 20;

/// Pages of a list, at most.
const PAGES_MAX: u32 = 256;

/// How often a list is asked for again because the epoch changed meanwhile.
const ATTEMPTS: u32 = 3;

/// Why there is no topology to be had. The text says what to do.
#[derive(Debug)]
pub enum DirectoryError {
    /// The URL is none.
    Url(String),
    /// The directory cannot be reached.
    Unreachable(String, io::Error),
    /// It takes too long.
    Late(String, Duration),
    /// It broke off, or says something that is not HTTP.
    Http(String, hyper::Error),
    /// It has no such answer.
    Status(String, StatusCode),
    /// Its answer is too long or broke off.
    Body(String),
    /// Its answer is not of the form of nym-api.
    Malformed(String, serde_json::Error),
    /// Its answers do not belong together.
    Disagreement(String, Disagreement),
    /// Its answers do not make a network that packets can be sent through.
    Faulty(String, Fault),
    /// The topology file cannot be used.
    File(TopologyError),
    /// There is no directory, but a topology file, which says nothing about services.
    NoDirectory,
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(what) => f.write_str(what),
            Self::Unreachable(url, error) => write!(
                f,
                "the directory {url} cannot be reached: {}; see that it runs, and the URL",
                words(error)
            ),
            Self::Late(url, limit) => write!(
                f,
                "{url} did not answer within {} ms; see that it runs, or raise topology-timeout",
                limit.as_millis()
            ),
            Self::Http(url, error) => {
                write!(f, "{url} does not speak HTTP as it should: {error}; see the URL")
            }
            Self::Status(url, status) => {
                write!(f, "{url} answers {status}; see that the URL is that of a nym-api")
            }
            Self::Body(url) => write!(
                f,
                "the answer of {url} broke off or is longer than {} MiB; see the URL",
                ANSWER_MAX >> 20
            ),
            Self::Malformed(url, error) => {
                write!(f, "the answer of {url} is not that of a nym-api: {error}; see the URL")
            }
            Self::Disagreement(url, what) => write!(f, "{url}: {what}"),
            Self::Faulty(url, fault) => {
                write!(f, "the network of {url} cannot be used now: {fault}; try again later")
            }
            Self::File(error) => error.fmt(f),
            Self::NoDirectory => f.write_str(
                "a topology file does not say which exits there are; name one by --exit",
            ),
        }
    }
}

impl std::error::Error for DirectoryError {}

/// The topology that a client with these settings would have now.
///
/// # Errors
/// If there is none to be had.
pub async fn topology(settings: &Settings) -> Result<Topology, DirectoryError> {
    Source::new(settings)?.fetch().await
}

/// The addresses of network requesters, services that connect to the internet, that the directory
/// of these settings knows.
///
/// # Errors
/// If there is no directory, or it does not say.
pub async fn network_requesters(settings: &Settings) -> Result<Vec<Recipient>, DirectoryError> {
    match Source::new(settings)? {
        Source::File(_) => Err(DirectoryError::NoDirectory),
        Source::Directory { url, patience, least } => {
            Directory { url: &url, patience, least }.network_requesters().await
        }
    }
}

/// Below what performance nodes are passed by, where there are better ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Least {
    mix: Performance,
    gateway: Performance,
}

impl Least {
    fn new(settings: &Settings) -> Self {
        let [mix, gateway] = [settings.mix_performance, settings.gateway_performance]
            .map(|percent| Performance::of(percent.into(), 100));
        Self { mix, gateway }
    }
}

/// Where topologies come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Directory { url: Url, patience: Duration, least: Least },
    File(PathBuf),
}

impl Source {
    /// What the settings name, which were checked.
    pub(super) fn new(settings: &Settings) -> Result<Self, DirectoryError> {
        if let Some(path) = &settings.topology {
            return Ok(Self::File(path.clone()));
        }
        let text = settings.directory.as_deref().unwrap_or_default();
        let url = Url::parse(text, ["http", "https"])
            .map_err(|error| DirectoryError::Url(format!("directory: {error}")))?;
        let (patience, least) = (settings.topology_timeout.duration(), Least::new(settings));
        Ok(Self::Directory { url, patience, least })
    }

    /// The topology of now.
    pub(super) async fn fetch(&self) -> Result<Topology, DirectoryError> {
        match self {
            Self::File(path) => topology::load(path).map_err(DirectoryError::File),
            Self::Directory { url, patience, least } => {
                let directory = Directory { url, patience: *patience, least: *least };
                let mut attempt = 1;
                loop {
                    match directory.topology().await {
                        Err(DirectoryError::Disagreement(_, what))
                            if what.passes() && attempt < ATTEMPTS =>
                        {
                            attempt += 1;
                        }
                        other => return other,
                    }
                }
            }
        }
    }
}

struct Directory<'a> {
    url: &'a Url,
    patience: Duration,
    least: Least,
}

impl Directory<'_> {
    async fn topology(&self) -> Result<Topology, DirectoryError> {
        let info: KeyRotationInfo = self.get(paths::KEY_ROTATION_INFO).await?;
        let set: epoch::RewardedSet = self.get(paths::REWARDED_SET).await?;
        let mixes = self.list(paths::SKIMMED_MIXNODES_ACTIVE).await?;
        let gateways = self.list(paths::SKIMMED_ENTRY_GATEWAYS).await?;
        // Services are reached at exits, also at those where no clients enter.
        let exits = self.list(paths::SKIMMED_EXIT_GATEWAYS).await?;
        let name = || self.url.authority();
        let network = Network::join(set, [mixes, gateways, exits])
            .map_err(|what| DirectoryError::Disagreement(name(), what))?;
        let here = network.metadata().absolute_epoch_id;
        if here != info.current_absolute_epoch_id {
            let what = Disagreement::Epochs(info.current_absolute_epoch_id, here);
            return Err(DirectoryError::Disagreement(name(), what));
        }
        Topology::new(form(network, self.least))
            .map_err(|fault| DirectoryError::Faulty(name(), fault))
    }

    /// All pages of a list of nodes.
    async fn list(&self, path: &str) -> Result<Nodes<Skimmed>, DirectoryError> {
        let mut pages: Vec<Nodes<Skimmed>> = Vec::new();
        let mut came = 0;
        for page in 0..PAGES_MAX {
            let next: Nodes<Skimmed> = self.get(&format!("{path}?page={page}")).await?;
            came += next.nodes.data.len() as u64;
            let done = next.nodes.data.is_empty() || came >= next.nodes.pagination.total;
            pages.push(next);
            if done {
                break;
            }
        }
        whole(pages).map_err(|what| DirectoryError::Disagreement(self.url.authority(), what))
    }

    /// A directory of Phix tells what nodes have signed, others tell what they have asked nodes.
    async fn network_requesters(&self) -> Result<Vec<Recipient>, DirectoryError> {
        match self.get::<Signed>(paths::REGISTER).await {
            Ok(Signed { nodes }) => {
                let alive = nodes.into_iter().filter(|node| node.alive);
                let addresses =
                    alive.filter_map(|node| node.description.services.network_requester);
                Ok(addresses.filter_map(|address| address.parse().ok()).collect())
            }
            Err(DirectoryError::Status(_, StatusCode::NOT_FOUND)) => self.described().await,
            Err(error) => Err(error),
        }
    }

    async fn described(&self) -> Result<Vec<Recipient>, DirectoryError> {
        let (mut addresses, mut came) = (Vec::new(), 0);
        for page in 0..PAGES_MAX {
            let next: Described = self.get(&format!("{}?page={page}", paths::DESCRIBED)).await?;
            came += next.data.len() as u64;
            let done = next.data.is_empty() || came >= next.pagination.total;
            let requesters = next.data.into_iter().filter_map(|node| node.description.requester);
            // One node with a bad address must not keep others from being used.
            addresses.extend(
                requesters.filter_map(|service| Recipient::from_str(&service.address).ok()),
            );
            if done {
                break;
            }
        }
        Ok(addresses)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, DirectoryError> {
        let whole = format!("{}{path}", self.url.authority());
        let body = timeout(self.patience, self.body(path))
            .await
            .map_err(|_| DirectoryError::Late(whole.clone(), self.patience))??;
        serde_json::from_slice(&body).map_err(|error| DirectoryError::Malformed(whole, error))
    }

    async fn body(&self, path: &str) -> Result<Bytes, DirectoryError> {
        let authority = self.url.authority();
        let request = Request::get(format!("{}{path}", self.url.path))
            .header(ACCEPT, "application/json")
            .body(Full::default())
            .expect("the parts of a URL that was parsed make a request");
        let answer = http::ask(self.url, None, request, ANSWER_MAX).await;
        let answer = answer.map_err(|error| match error {
            HttpError::Unreachable(error) => DirectoryError::Unreachable(authority.clone(), error),
            HttpError::Http(error) => DirectoryError::Http(authority.clone(), error),
        })?;
        let whole = format!("{authority}{path}");
        if answer.status != StatusCode::OK {
            return Err(DirectoryError::Status(whole, answer.status));
        }
        answer.body.map_err(|_| DirectoryError::Body(whole))
    }
}

/// What matters here of what nodes have signed.
#[derive(Deserialize)]
struct Signed {
    nodes: Vec<SignedNode>,
}

#[derive(Deserialize)]
struct SignedNode {
    alive: bool,
    description: registration::Description,
}

/// What matters here of what a directory has heard from nodes about themselves.
#[derive(Deserialize)]
struct Described {
    pagination: Pagination,
    data: Vec<DescribedNode>,
}

#[derive(Deserialize)]
struct DescribedNode {
    description: Description,
}

#[derive(Deserialize)]
struct Description {
    #[serde(default, rename = "network_requester")]
    requester: Option<Service>,
}

#[derive(Deserialize)]
struct Service {
    address: String,
}

/// The network as packets are routed by it. Nodes that the set names and no list describes have no
/// part in it, nor those that perform too badly, where there are better ones: a mix node that died
/// is in the set until the epoch ends.
fn form(network: Network, least: Least) -> Form {
    let (metadata, set, nodes) = network.into_parts();
    let performance: BTreeMap<NodeId, Performance> =
        nodes.values().map(|node| (node.node_id, node.performance)).collect();
    let node_details: BTreeMap<NodeId, Node> =
        nodes.into_values().filter_map(|node| Some((node.node_id, self::node(&node)?))).collect();
    let known = |ids: Vec<NodeId>| -> BTreeSet<NodeId> {
        ids.into_iter().filter(|id| node_details.contains_key(id)).collect()
    };
    let good = |ids: Vec<NodeId>, least: Performance| {
        let all = known(ids);
        let good: BTreeSet<NodeId> =
            all.iter().copied().filter(|id| performance[id] >= least).collect();
        if good.is_empty() { all } else { good }
    };
    let rewarded_set = RewardedSet {
        epoch_id: set.epoch_id,
        entry_gateways: good(set.entry_gateways, least.gateway),
        exit_gateways: known(set.exit_gateways),
        layer1: good(set.layer1, least.mix),
        layer2: good(set.layer2, least.mix),
        layer3: good(set.layer3, least.mix),
        standby: known(set.standby),
    };
    let metadata = Metadata {
        key_rotation_id: metadata.rotation_id,
        absolute_epoch_id: metadata.absolute_epoch_id,
        refreshed_at: metadata.refreshed_at,
    };
    Form { metadata, rewarded_set, node_details }
}

fn node(node: &Skimmed) -> Option<Node> {
    let directory::PublicKey(identity) = node.ed25519_identity_pubkey;
    // One node with a bad key must not take the whole network away.
    ed25519_dalek::VerifyingKey::from_bytes(&identity).ok()?;
    Some(Node {
        node_id: node.node_id,
        mix_host: node.mix_host()?,
        entry: node.entry.as_ref().map(|entry| Entry {
            ip_addresses: node.ip_addresses.clone(),
            clients_ws_port: entry.ws_port,
            hostname: entry.hostname.clone(),
            clients_wss_port: entry.wss_port,
        }),
        identity_key: PublicKey(identity),
        sphinx_key: PublicKey(node.x25519_sphinx_pubkey.0),
        supported_roles: SupportedRoles {
            mixnode: node.supported_roles.mixnode,
            mixnet_entry: node.supported_roles.entry,
            mixnet_exit: node.supported_roles.exit(),
        },
    })
}

#[cfg(test)]
mod tests;
