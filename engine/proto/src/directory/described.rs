//! What nodes say of themselves, in the form in which nym-api passes it on
//! (`NymNodeDescriptionV1` of nym-api-requests 2.0.0).

use std::net::IpAddr;

use serde::Serialize;
use time::OffsetDateTime;

use super::nodes::{NoiseKey, SupportedRoles};
use super::registration::{Description, SphinxKey};
use super::{NodeId, PublicKey, instant};

/// A node, and what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Described {
    node_id: NodeId,
    contract_node_type: &'static str,
    description: Data,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Data {
    #[serde(with = "instant")]
    last_polled: OffsetDateTime,
    host_information: Host,
    declared_role: SupportedRoles,
    auxiliary_details: Auxiliary,
    build_information: Build,
    network_requester: Option<Requester>,
    ip_packet_router: Option<Service>,
    authenticator: Option<Service>,
    wireguard: Option<()>,
    mixnet_websockets: WebSockets,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Host {
    ip_address: Vec<IpAddr>,
    hostname: Option<String>,
    keys: Keys,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Keys {
    ed25519: PublicKey,
    x25519: PublicKey,
    current_x25519_sphinx_key: SphinxKey,
    pre_announced_x25519_sphinx_key: Option<SphinxKey>,
    x25519_versioned_noise: Option<NoiseKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Auxiliary {
    location: Option<()>,
    announce_ports: Ports,
    accepted_operator_terms_and_conditions: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Ports {
    verloc_port: Option<u16>,
    mix_port: Option<u16>,
}

/// Nothing is known of a build but name and version; the rest is there because readers need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Build {
    binary_name: String,
    build_version: String,
    build_timestamp: &'static str,
    commit_sha: &'static str,
    commit_timestamp: &'static str,
    commit_branch: &'static str,
    rustc_version: &'static str,
    rustc_channel: &'static str,
    cargo_profile: &'static str,
    cargo_triple: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Requester {
    address: String,
    uses_exit_policy: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Service {
    address: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct WebSockets {
    ws_port: u16,
    wss_port: Option<u16>,
}

impl Described {
    /// The node `node_id`, which `said` this at `at`, while keys of `rotation` are used; nothing if
    /// it has none of them.
    pub fn new(
        node_id: NodeId,
        said: &Description,
        rotation: u32,
        at: OffsetDateTime,
    ) -> Option<Self> {
        let entry = said.entry.as_ref().filter(|_| said.roles.entry || said.roles.exit());
        let build = Build::of(&said.software);
        let service = |address: &Option<String>| address.clone().map(|address| Service { address });
        // Nodes of Phix always have a policy, if only one that accepts everything.
        let requester = said.services.network_requester.clone();
        let network_requester =
            requester.map(|address| Requester { address, uses_exit_policy: true });
        let description = Data {
            last_polled: at,
            host_information: Host {
                ip_address: said.addresses.clone(),
                hostname: entry.and_then(|entry| entry.hostname.clone()),
                keys: Keys::of(said, rotation)?,
            },
            declared_role: said.roles,
            auxiliary_details: Auxiliary {
                location: None,
                announce_ports: Ports { verloc_port: None, mix_port: Some(said.mix_port) },
                accepted_operator_terms_and_conditions: false,
            },
            build_information: build,
            network_requester,
            ip_packet_router: service(&said.services.ip_packet_router),
            authenticator: None,
            wireguard: None,
            mixnet_websockets: WebSockets {
                ws_port: entry.map_or(0, |entry| entry.ws_port),
                wss_port: entry.and_then(|entry| entry.wss_port),
            },
        };
        Some(Self { node_id, contract_node_type: "nym_node", description })
    }
}

impl Keys {
    fn of(said: &Description, rotation: u32) -> Option<Self> {
        let of = |id| said.sphinx.iter().find(|key| key.rotation_id == id).copied();
        let current = of(rotation).or_else(|| of(super::registration::ANY_ROTATION))?;
        Some(Self {
            ed25519: said.identity,
            x25519: current.public_key,
            current_x25519_sphinx_key: current,
            pre_announced_x25519_sphinx_key: rotation.checked_add(1).and_then(of),
            x25519_versioned_noise: said.noise,
        })
    }
}

impl Build {
    /// From a name and a version with a slash between them.
    fn of(software: &str) -> Self {
        let (name, version) = software.split_once('/').unwrap_or((software, ""));
        Self { binary_name: name.to_owned(), build_version: version.to_owned(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::nodes::Entry;
    use super::super::registration::Services;
    use super::*;

    #[test]
    fn services_and_keys_stand_where_others_look_for_them() {
        let key = |rotation_id| SphinxKey { rotation_id, public_key: PublicKey([7; 32]) };
        let said = Description {
            identity: PublicKey([1; 32]),
            sphinx: vec![key(3), key(4)],
            noise: None,
            addresses: vec![[192, 0, 2, 1].into()],
            mix_port: 1789,
            entry: Some(Entry { hostname: None, ws_port: 9000, wss_port: None }),
            roles: SupportedRoles { exit_nr: true, ..SupportedRoles::default() },
            services: Services { network_requester: Some("a.b@c".into()), ..Services::default() },
            software: "phix-node/0.1.0".into(),
            made_at_ms: 1,
        };
        let at = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(Described::new(5, &said, 9, at), None);
        let described = Described::new(5, &said, 3, at).unwrap();
        let json = serde_json::to_value(described).unwrap();
        let text = |path: &str| json.pointer(path).cloned().unwrap();
        assert_eq!(text("/description/network_requester/address"), "a.b@c");
        assert_eq!(text("/description/network_requester/uses_exit_policy"), true);
        assert_eq!(text("/description/mixnet_websockets/ws_port"), 9000);
        assert_eq!(text("/description/build_information/build_version"), "0.1.0");
        let keys = "/description/host_information/keys";
        let rotation = |key: &str| text(&format!("{keys}/{key}_x25519_sphinx_key/rotation_id"));
        assert_eq!((rotation("current"), rotation("pre_announced")), (3.into(), 4.into()));
    }
}
