//! From settings and keys to a running server.

use std::os::fd::OwnedFd;

use phix_engine::crypto::Kernels;
use phix_engine::egress::NextHops;
use phix_engine::limits::BATCH_MAX;
use phix_engine::shard::{self, FinalHops, Sink};
use phix_engine::wire::frame::FrameVersion;
use phix_io::crypto::tiers;
use phix_io::noise::Noise;
use phix_io::{Basis, LinkPlan, PeerLimits, Server, ServerConfig};

use crate::fault::Fault;
use crate::machine;
use crate::settings::{Crypto, Frames, Settings, alternatives};

/// Packets per batch where the settings leave it open: four vectors of the kernels. More gain a few
/// per cent, and the wheel waits for as long as a batch takes, which is about the same time in each
/// tier: the wider a vector, the less a packet in it costs.
pub(crate) fn batch(kernels: &Kernels) -> usize {
    (4 * kernels.x25519_lanes).min(BATCH_MAX)
}

/// The crypto kernels that are asked for.
///
/// # Errors
/// If this processor cannot run them.
pub fn kernels(choice: Crypto) -> Result<Kernels, Fault> {
    let tiers = tiers();
    if choice == Crypto::Auto {
        return Ok(tiers.last().copied().expect("the portable kernels run everywhere"));
    }
    let name = choice.word();
    tiers.iter().find(|tier| tier.name == name).copied().ok_or_else(|| {
        let names: Vec<_> = tiers.iter().map(|tier| tier.name).collect();
        Fault::refused(format!(
            "this processor cannot run the {name} kernels: set --crypto to auto, or to {}.",
            alternatives(&names),
        ))
    })
}

/// Which link these settings lead to on this machine.
///
/// # Errors
/// If they ask for one that does not work here.
pub fn link(settings: &Settings) -> Result<LinkPlan, Fault> {
    phix_io::plan(settings.link).map_err(|error| Fault::refused(format!("{error}.")))
}

/// Starts the shards of a node with these keys. What ends at this node, and what it has to
/// remember, goes to `sinks`.
///
/// # Errors
/// If it cannot listen, or its link does not work here.
pub fn start<S: Sink + Send + 'static>(
    settings: &Settings,
    config: ServerConfig,
    keys: shard::Keys,
    sinks: impl FnMut(usize) -> S,
) -> Result<Server, Fault> {
    let server = start_silent(settings, config, None, keys, sinks)?;
    server.open(Vec::new()).map_err(|error| Fault::refused(format!("{error}.")))?;
    Ok(server)
}

/// Starts one that accepts nothing yet, on the listeners of the node that it is to replace.
///
/// # Errors
/// As [`start`].
pub fn start_silent<S: Sink + Send + 'static>(
    settings: &Settings,
    config: ServerConfig,
    listeners: Option<Vec<OwnedFd>>,
    keys: shard::Keys,
    sinks: impl FnMut(usize) -> S,
) -> Result<Server, Fault> {
    let basis = Basis { listeners, zero_copy: settings.send_zc };
    Server::start_silent(config, basis, keys, sinks)
        .map_err(|error| Fault::refused(format!("{error}.")))
}

/// How the settings want the shards of a node that sends to `next_hops`.
///
/// # Errors
/// If this processor cannot run the crypto kernels.
pub fn config(
    settings: &Settings,
    next_hops: NextHops,
    noise: Noise,
) -> Result<ServerConfig, Fault> {
    Ok(ServerConfig {
        listen: settings.listen,
        shards: machine::shards(settings),
        pin: settings.pin,
        link: settings.link,
        source: settings.source.get(),
        connections_max: settings.connections_max.size(),
        peers: PeerLimits {
            connections: settings
                .connections_per_source
                .get()
                .map_or(usize::MAX, |count| count.size()),
            packets_per_second: settings.packets_per_second.get().map(|count| count.get() as u32),
            next_hops,
        },
        noise,
        drain: settings.drain.get(),
        shard: shard(settings)?,
    })
}

fn shard(settings: &Settings) -> Result<shard::Config, Fault> {
    let kernels = kernels(settings.crypto)?;
    Ok(shard::Config {
        capacity: machine::capacity(settings),
        batch: settings.batch.get().map_or_else(|| batch(&kernels), |count| count.size()),
        frames: match settings.frames {
            Frames::Current => FrameVersion::Current,
            Frames::Legacy => FrameVersion::Legacy,
        },
        final_hops: FinalHops::Drop,
        kernels,
        // Each shard of a server draws its own.
        seed: [0; 32],
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_chosen_by_name_or_refused_with_those_there_are() {
        let all = tiers();
        let best = all.last().unwrap().name;
        assert_eq!(kernels(Crypto::Auto).unwrap().name, best);
        for choice in [Crypto::Portable, Crypto::Avx2, Crypto::Avx512] {
            let has = all.iter().any(|tier| tier.name == choice.word());
            match kernels(choice) {
                Ok(kernels) => assert!(has && kernels.name == choice.word()),
                Err(fault) => {
                    assert!(!has && fault.to_string().contains("auto, or to portable"), "{fault}");
                }
            }
        }
    }
}
