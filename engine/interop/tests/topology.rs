//! Topology files cross between phix-client and nym-topology 2.0.0, both ways.

use std::collections::BTreeSet;
use std::path::Path;

use nym_topology::{NodeId, NymTopology, Role, RoutingNode};
use phix_client::keyfile::KeyKind;
use phix_client::topology::{self, Entry, Metadata, Node, PublicKey, SupportedRoles, Topology};

fn node(id: u8, entry: bool) -> Node {
    let details = Entry {
        ip_addresses: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        clients_ws_port: 9000,
        hostname: (id == 9).then(|| "gateway.example".into()),
        clients_wss_port: (id == 9).then_some(9001),
    };
    let host =
        if id == 1 { format!("[2001:db8::{id}]:1789") } else { format!("192.0.2.{id}:1789") };
    Node {
        node_id: id.into(),
        mix_host: host.parse().unwrap(),
        entry: entry.then_some(details),
        identity_key: PublicKey(KeyKind::Identity.public(&[id; 32])),
        sphinx_key: PublicKey(KeyKind::Sphinx.public(&[id; 32])),
        supported_roles: SupportedRoles {
            mixnode: !entry,
            mixnet_entry: entry,
            mixnet_exit: id == 10,
        },
    }
}

fn ours() -> Topology {
    let layers = [vec![node(1, false), node(2, false)], vec![node(3, false)], vec![node(4, false)]];
    let gateways = vec![node(9, true), node(10, true)];
    Topology::assemble(Metadata::now(7, 123), layers, gateways).unwrap()
}

fn ids<'a>(nodes: impl Iterator<Item = &'a RoutingNode>) -> BTreeSet<NodeId> {
    nodes.map(|node| node.node_id).collect()
}

fn assert_same(node: &Node, theirs: &RoutingNode) {
    assert_eq!(theirs.node_id, node.node_id);
    assert_eq!(theirs.mix_host, node.mix_host);
    assert_eq!(theirs.identity_key.to_bytes(), node.identity_key.0);
    assert_eq!(theirs.sphinx_key.to_bytes(), node.sphinx_key.0);
    let (roles, ours) = (theirs.supported_roles, node.supported_roles);
    assert_eq!(
        [roles.mixnode, roles.mixnet_entry, roles.mixnet_exit],
        [ours.mixnode, ours.mixnet_entry, ours.mixnet_exit]
    );
    let entry = theirs.entry.as_ref().map(|entry| Entry {
        ip_addresses: entry.ip_addresses.clone(),
        clients_ws_port: entry.clients_ws_port,
        hostname: entry.hostname.clone(),
        clients_wss_port: entry.clients_wss_port,
    });
    assert_eq!(entry, node.entry);
}

#[test]
fn ours_is_read_by_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("topology.json");
    let ours = ours();
    topology::save(&ours, &path).unwrap();
    let theirs: NymTopology = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();

    theirs.ensure_minimally_routable().unwrap();
    assert_eq!(theirs.metadata().key_rotation_id, 7);
    assert_eq!(theirs.metadata().absolute_epoch_id, 123);
    assert_eq!(theirs.metadata().refreshed_at, ours.metadata().refreshed_at);
    assert_eq!(theirs.rewarded_set().epoch_id, 123);
    let set = |role| ids(theirs.nodes_with_role(role));
    assert_eq!(set(Role::Layer1), [1, 2].into());
    assert_eq!(set(Role::Layer2), [3].into());
    assert_eq!(set(Role::Layer3), [4].into());
    assert_eq!(set(Role::EntryGateway), [9, 10].into());
    assert_eq!(set(Role::ExitGateway), [9, 10].into());
    assert_eq!(ids(theirs.entry_capable_nodes()), [9, 10].into());
    for node in ours.form().node_details.values() {
        assert_same(node, theirs.find_node(node.node_id).unwrap());
    }
}

#[test]
fn theirs_is_read_by_ours() {
    let text = serde_json::to_vec(ours().form()).unwrap();
    let theirs: NymTopology = serde_json::from_slice(&text).unwrap();
    for text in [serde_json::to_vec(&theirs).unwrap(), serde_json::to_vec_pretty(&theirs).unwrap()]
    {
        assert_eq!(topology::parse(&text, Path::new("theirs.json")).unwrap(), ours_at(&theirs));
    }
}

/// Our topology as of the time that theirs names.
fn ours_at(theirs: &NymTopology) -> Topology {
    let mut form = ours().form().clone();
    form.metadata.refreshed_at = theirs.metadata().refreshed_at;
    Topology::new(form).unwrap()
}

#[test]
fn both_refuse_an_identity_that_is_no_key() {
    let mut value = serde_json::to_value(ours().form()).unwrap();
    let mut bytes = [0; 32];
    bytes[0] = 2;
    value["node_details"]["3"]["identity_key"] = serde_json::json!(bytes);
    let text = value.to_string();
    assert!(serde_json::from_str::<NymTopology>(&text).is_err());
    assert!(topology::parse(text.as_bytes(), Path::new("t.json")).is_err());
}

#[test]
fn both_fill_in_missing_metadata() {
    let mut value = serde_json::to_value(ours().form()).unwrap();
    value.as_object_mut().unwrap().remove("metadata");
    let text = value.to_string();
    let theirs: NymTopology = serde_json::from_str(&text).unwrap();
    let ours = topology::parse(text.as_bytes(), Path::new("t.json")).unwrap();
    assert_eq!(theirs.metadata().key_rotation_id, ours.metadata().key_rotation_id);
    assert_eq!(theirs.metadata().absolute_epoch_id, ours.metadata().absolute_epoch_id);
}
