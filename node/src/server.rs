//! From settings and keys to a running server.

use std::sync::Arc;

use phix_engine::crypto::{Kernels, PORTABLE};
use phix_engine::limits::BATCH_MAX;
use phix_engine::replay::ReplayFilter;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{self, FinalHops, NodeKey};
use phix_engine::wire::frame::{FrameVersion, KeyRotation};
use phix_io::{LinkPlan, Server, ServerConfig};

use crate::fault::Fault;
use crate::keys::NodeKeys;
use crate::machine;
use crate::settings::{Crypto, Frames, Settings};

/// Packets per batch where the settings leave it open: the portable kernels gain nothing from
/// more, and a batch delays those behind it.
const BATCH: usize = 16;

const _: () = assert!(BATCH <= BATCH_MAX);

/// Which link these settings lead to on this machine.
///
/// # Errors
/// If they ask for one that does not work here.
pub fn link(settings: &Settings) -> Result<LinkPlan, Fault> {
    phix_io::plan(settings.link).map_err(|error| Fault::refused(format!("{error}.")))
}

/// Starts a mix node.
///
/// # Errors
/// If it cannot listen, or its link does not work here.
pub fn start(settings: &Settings, keys: &NodeKeys) -> Result<Server, Fault> {
    let config = ServerConfig {
        listen: settings.listen,
        shards: machine::shards(settings),
        pin: settings.pin,
        link: settings.link,
        source: settings.source.get(),
        connections_max: settings.connections_max.size(),
        drain: settings.drain.get(),
        shard: shard(settings),
    };
    let replay = ReplayFilter::new(settings.replay_capacity.size(), random()?);
    let primary = NodeKey {
        rotation: KeyRotation::Unknown,
        secret: NodeSecret::clone(&keys.secret),
        replay: Arc::new(replay),
    };
    let keys = shard::Keys { primary, secondary: None };
    Server::start(config, keys, |_| phix_io::Refuse)
        .map_err(|error| Fault::refused(format!("{error}.")))
}

fn shard(settings: &Settings) -> shard::Config {
    shard::Config {
        capacity: machine::capacity(settings),
        batch: settings.batch.get().map_or(BATCH, |count| count.size()),
        frames: match settings.frames {
            Frames::Current => FrameVersion::Current,
            Frames::Legacy => FrameVersion::Legacy,
        },
        final_hops: FinalHops::Drop,
        kernels: kernels(settings.crypto),
        // Each shard of a server draws its own.
        seed: [0; 32],
    }
}

/// The tier of kernels; the portable one is the only one so far.
const fn kernels(choice: Crypto) -> Kernels {
    match choice {
        Crypto::Auto | Crypto::Portable => PORTABLE,
    }
}

/// 32 bytes from the system.
pub(crate) fn random() -> Result<[u8; 32], Fault> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        Fault::refused(format!(
            "the system has no random numbers to give ({error}): see that getrandom is allowed."
        ))
    })?;
    Ok(bytes)
}
