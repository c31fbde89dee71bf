//! What a running node does with a directory: it is started here, and what it tells is done here.

use std::net::SocketAddr;
use std::sync::Arc;

use phix_io::Server;
use phix_proto::directory::nodes::{Entry, Role, SupportedRoles};
use phix_proto::directory::registration::Services;

use super::{Announcer, Describer, LISTS, News, Offer, words};
use crate::cli::say;
use crate::fault::Fault;
use crate::keys::NodeKeys;
use crate::place::Place;
use crate::roles::Post;
use crate::settings::NoiseUse;

/// Announces the node at `place`, which listens on `address` and is at `post`, if it has a
/// directory.
///
/// # Errors
/// If it cannot say where it is, or the system gives no thread.
pub fn start(
    place: &Place,
    keys: &NodeKeys,
    address: SocketAddr,
    post: &Post<'_>,
) -> Result<Option<Announcer>, Fault> {
    let Some(directory) = place.settings.directory.clone().get() else { return Ok(None) };
    let address = place.settings.announce.get().unwrap_or(address);
    // An entry that is to have whatever port is free has none before it opens.
    let clients = post.clients().filter(|at| at.port() != 0);
    let entry = clients.map(|at| Entry { hostname: None, ws_port: at.port(), wss_port: None });
    let roles = post.offered().offered();
    let roles = SupportedRoles { entry: roles.entry && entry.is_some(), ..roles };
    let services = post.services().map_or_else(Services::default, |all| Services {
        network_requester: Some(all.requester.to_string()),
        ip_packet_router: all.router.map(|router| router.to_string()),
    });
    let offer = Offer { roles, entry, services };
    let describer = Describer::new(place, keys, address, offer)?;
    let source = place.settings.source.get();
    Announcer::start(directory.url(), source, describer, say).map(Some)
}

/// What the node was told last.
#[derive(Debug, Default)]
pub struct Told {
    role: Option<Role>,
    nodes: Option<usize>,
}

impl Told {
    /// Does what follows from `news`, and says what is new.
    pub fn take(&mut self, news: &News, place: &Place, server: &Server) {
        let settings = &place.settings;
        if settings.noise != NoiseUse::Off && settings.noise_peers.clone().get().is_none() {
            server.set_noise_peers(&Arc::new(news.noise.clone()));
        }
        if settings.next_hops.clone().get().is_none() {
            server.set_next_hops(&news.next_hops);
        }
        let before = (self.role.replace(news.role), self.nodes.replace(news.nodes));
        if before != (Some(news.role), Some(news.nodes)) {
            say(format_args!(
                "epoch {}: role {}; {LISTS}{} nodes{}",
                news.epoch,
                words(news.role),
                news.nodes,
                news.node.map_or(String::new(), |node| format!(", this one as {node}")),
            ));
        }
    }
}
