//! `phix-node topology`: the file by which clients find the nodes of a network of your own.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};
use phix_client::topology::{
    self, Entry, Metadata, Node, NodeId, PublicKey, SupportedRoles, Topology,
};

use crate::cli::say;
use crate::fault::Fault;
use crate::keys;
use crate::noise;
use crate::place::Place;
use crate::rotation;

/// Port of a Nym gateway's WebSocket, by custom.
const WEBSOCKET_PORT: u16 = 9000;

const LAYERS: [(&str, &str); 3] = [
    ("layer1", "Directory of a node in the first layer; may be given several times"),
    ("layer2", "Directory of a node in the second layer; may be given several times"),
    ("layer3", "Directory of a node in the third layer; may be given several times"),
];

const TEACH: &str = "\
Reads keys and address of each node from its directory (the setting `announce`, or else `listen`)
and writes them in the NymTopology JSON form, which phix-client reads, and stock Nym clients with
--custom-mixnet. Only public keys are written. FILE is never overwritten.

Example:
  for n in a b c g; do phix-node init --dir $n --listen 127.0.0.1:$((++port + 1789)); done
  phix-node topology --layer1 a --layer2 b --layer3 c --gateway g --out topology.json";

/// The command's arguments and help.
pub fn command(command: Command) -> Command {
    let directories = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .value_hint(ValueHint::DirPath)
            .action(ArgAction::Append)
            .required(true)
            .help(help)
    };
    let out = Arg::new("out")
        .long("out")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .required(true)
        .help("The file to write");
    let noise = Arg::new("noise-peers")
        .long("noise-peers")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Another file to write: the nodes' Noise keys, for the setting of the same name");
    command
        .arg(noise)
        .args(LAYERS.map(|(name, help)| directories(name, help)))
        .arg(directories("gateway", "Directory of a gateway; may be given several times"))
        .arg(out)
        .about("Write the topology file of a network of your own")
        .after_help(TEACH)
}

/// Runs the command.
///
/// # Errors
/// If a node's directory cannot be read, the file exists or cannot be written.
pub fn run(matches: &ArgMatches) -> Result<(), Fault> {
    let out = matches.get_one::<PathBuf>("out").expect("clap asks for it");
    let noise = matches.get_one::<PathBuf>("noise-peers");
    [Some(out), noise].into_iter().flatten().try_for_each(|path| is_new(path))?;
    let (mut ids, mut rotations, now) = (1.., BTreeSet::new(), rotation::now());
    let mut noise_keys = Vec::new();
    let mut nodes = |role: &str| {
        let dirs = matches.get_many::<PathBuf>(role).into_iter().flatten();
        let nodes = dirs.zip(ids.by_ref()).map(|(dir, id)| {
            let (rotation, node, key) = node(dir, id, role == "gateway", now)?;
            rotations.insert(rotation);
            noise_keys.extend(key.map(|key| (node.mix_host.ip(), key)));
            Ok(node)
        });
        nodes.collect::<Result<Vec<Node>, Fault>>()
    };
    let layers = [nodes(LAYERS[0].0)?, nodes(LAYERS[1].0)?, nodes(LAYERS[2].0)?];
    let gateways = nodes("gateway")?;
    let topology = Topology::assemble(metadata(&rotations)?, layers, gateways)
        .map_err(|fault| Fault::refused(format!("these nodes make no topology: {fault}.")))?;
    topology::save(&topology, out).map_err(|error| Fault::refused(format!("{error}.")))?;
    if let Some(path) = noise {
        let (count, text) = (noise_keys.len(), noise::write(noise_keys)?);
        fs::write(path, text).map_err(|error| {
            Fault::refused(format!(
                "the file {} cannot be written ({error}): give --noise-peers a place where you \
                 may write.",
                path.display(),
            ))
        })?;
        say(format_args!("Wrote {count} Noise keys to {}.", path.display()));
    }
    say(format_args!("Wrote {} nodes to {}.", topology.form().node_details.len(), out.display()));
    Ok(())
}

fn is_new(path: &Path) -> Result<(), Fault> {
    if path.symlink_metadata().is_ok() {
        let path = path.display();
        return Err(Fault::refused(format!("{path} exists and is kept: give a new name.")));
    }
    Ok(())
}

/// What a topology of nodes with keys of these rotations says of itself.
fn metadata(rotations: &BTreeSet<u32>) -> Result<Metadata, Fault> {
    match rotations.iter().collect::<Vec<_>>()[..] {
        [rotation] => Ok(Metadata::now(*rotation, 0)),
        _ => Err(Fault::refused(
            "these nodes do not change their keys at the same times: give all of them the same \
             `rotation`.",
        )),
    }
}

/// A node, the rotation that its Sphinx key is of, and its key for Noise.
fn node(
    dir: &Path,
    node_id: NodeId,
    gateway: bool,
    now: Duration,
) -> Result<(u32, Node, Option<PublicKey>), Fault> {
    let place = Place::of(dir)?;
    let keys = keys::load(&place.keys_dir())?;
    let (rotation, sphinx_key) = rotation::announced(&place, &keys, now)?;
    let mix_host = reachable(&place)?;
    let entry = Entry {
        ip_addresses: vec![mix_host.ip()],
        clients_ws_port: WEBSOCKET_PORT,
        hostname: None,
        clients_wss_port: None,
    };
    let noise = keys.noise.map(|key| PublicKey(*key.public()));
    let node = Node {
        node_id,
        mix_host,
        entry: gateway.then_some(entry),
        identity_key: keys.identity,
        sphinx_key,
        supported_roles: SupportedRoles {
            mixnode: !gateway,
            mixnet_entry: gateway,
            mixnet_exit: gateway,
        },
    };
    Ok((rotation, node, noise))
}

/// The address under which others reach the node.
fn reachable(place: &Place) -> Result<SocketAddr, Fault> {
    let address = place.settings.announce.get().unwrap_or(place.settings.listen);
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err(Fault::refused(format!(
            "{} does not say under which address others reach the node: set `announce` to one.",
            place.config.display(),
        )));
    }
    Ok(address)
}
