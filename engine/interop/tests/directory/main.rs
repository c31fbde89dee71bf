//! Our answers of a directory against the types of nym-api-requests 2.0.0, in both directions and
//! in both forms.

use std::net::IpAddr;
use std::time::Duration;

use nym_api_requests::models::{KeyRotationInfoResponse, NodeRefreshBody, RewardedSetResponse};
use nym_api_requests::nym_nodes as stock;
use nym_crypto::asymmetric::ed25519;
use nym_http_api_common::{BincodeOptions, make_bincode_serializer};
use nym_topology::{EpochRewardedSet, NymTopology, NymTopologyMetadata};
use phix_proto::directory::epoch::{KeyRotationInfo, KeyRotationState, RewardedSet};
use phix_proto::directory::nodes::{
    ByAddresses, Entry, Existence, Interval, Metadata, Nodes, NoiseKey, Page, Pagination, Role,
    SemiSkimmed, SemiSkimmedV3, Skimmed, Status, SupportedRoles,
};
use phix_proto::directory::refresh::RefreshRequest;
use phix_proto::directory::{Performance, PublicKey, bincode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

fn at(nanos: i128) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(1_795_558_500_000_000_000 + nanos).unwrap()
}

fn node(id: u32, role: Role) -> Skimmed {
    let secret = ed25519::PrivateKey::from_bytes(&[id as u8; 32]).unwrap();
    Skimmed {
        node_id: id,
        ed25519_identity_pubkey: PublicKey(secret.public_key().to_bytes()),
        ip_addresses: vec![
            IpAddr::from([192, 0, 2, id as u8]),
            IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, id as u16]),
        ],
        mix_port: 1789,
        x25519_sphinx_pubkey: PublicKey([id as u8; 32]),
        role,
        supported_roles: SupportedRoles { mixnode: true, exit_nr: true, ..Default::default() },
        entry: (role == Role::EntryGateway).then(|| Entry {
            hostname: Some("entry.example".to_owned()),
            ws_port: 9000,
            wss_port: Some(9001),
        }),
        performance: Performance::of(97, 100),
    }
}

fn nodes<T>(data: Vec<T>, status: Option<Status>) -> Nodes<T> {
    let size = data.len() as u64;
    let refreshed_at = at(120_000_000);
    Nodes {
        metadata: Metadata { status, absolute_epoch_id: 500_000, rotation_id: 7, refreshed_at },
        nodes: Page { pagination: Pagination { total: size + 300, page: 2, size }, data },
    }
}

fn fresh() -> Status {
    Status::Fresh(Interval {
        id: 1,
        epochs_in_interval: 720,
        current_epoch_start: at(0),
        current_epoch_id: 3,
        epoch_length: Duration::from_secs(3600),
        total_elapsed_epochs: 70_000,
    })
}

fn all_roles() -> Vec<Skimmed> {
    let roles = [
        Role::Mixnode { layer: 1 },
        Role::Mixnode { layer: 3 },
        Role::EntryGateway,
        Role::ExitGateway,
        Role::Standby,
        Role::Inactive,
    ];
    (1..).zip(roles).map(|(id, role)| node(id, role)).collect()
}

/// Stock reads ours, and writes the same; we read what stock writes.
fn agree_in_json<S: Serialize + DeserializeOwned, O>(ours: &O) -> S
where
    O: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let text = serde_json::to_string(ours).unwrap();
    let stock: S = serde_json::from_str(&text).unwrap();
    let theirs = serde_json::to_string(&stock).unwrap();
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(json(&theirs), json(&text));
    assert_eq!(&serde_json::from_str::<O>(&theirs).unwrap(), ours);
    stock
}

/// Stock reads what we write as bincode, and writes the same bytes.
fn agree_in_bincode<S: Serialize + DeserializeOwned>(ours: &impl Serialize) {
    let bytes = bincode::to_vec(ours).unwrap();
    let stock: S = make_bincode_serializer().deserialize(&bytes).unwrap();
    assert_eq!(make_bincode_serializer().serialize(&stock).unwrap(), bytes);
}

#[test]
fn lists_of_nodes_are_stocks_in_both_forms() {
    type Answer<T> = stock::PaginatedCachedNodesResponseV2<T>;
    for status in [None, Some(Status::NoUpdates), Some(fresh())] {
        let ours = nodes(all_roles(), status);
        agree_in_json::<Answer<stock::SkimmedNodeV1>, _>(&ours);
        agree_in_bincode::<Answer<stock::SkimmedNodeV1>>(&ours);
    }
    let noise = NoiseKey { supported_version: 1, x25519_pubkey: PublicKey([9; 32]) };
    let keyed = |basic: Skimmed| SemiSkimmed {
        x25519_noise_versioned_key: (basic.node_id != 2).then_some(noise),
        basic,
    };
    let ours = nodes(all_roles().into_iter().map(keyed).collect(), None);
    agree_in_json::<Answer<stock::SemiSkimmedNodeV1>, _>(&ours);
    agree_in_bincode::<Answer<stock::SemiSkimmedNodeV1>>(&ours);
    let third = |basic| SemiSkimmedV3 {
        basic,
        noise_key: Some(noise),
        build_version: "0.1.0".to_owned(),
        lp: None,
    };
    let ours = nodes(all_roles().into_iter().map(third).collect(), None);
    agree_in_json::<Answer<stock::SemiSkimmedNodeV3>, _>(&ours);
    agree_in_bincode::<Answer<stock::SemiSkimmedNodeV3>>(&ours);
}

#[test]
fn numbers_of_every_length_are_written_as_bincode_writes_them() {
    for number in [0, 250, 251, 0xffff, 0x1_0000, u32::MAX] {
        let mut ours = nodes(vec![node(1, Role::Standby)], None);
        ours.metadata.absolute_epoch_id = number;
        ours.nodes.pagination.total = u64::from(number) << 20;
        agree_in_bincode::<stock::PaginatedCachedNodesResponseV2<stock::SkimmedNodeV1>>(&ours);
    }
    #[derive(Serialize)]
    struct Signed(i16, i32, i64, f64, char, bool, (), i8);
    for sign in [1, -1] {
        let value = Signed(sign * 300, i32::from(sign) << 20, i64::MIN, 0.5, 'é', true, (), -1);
        let theirs = make_bincode_serializer().serialize(&value).unwrap();
        assert_eq!(bincode::to_vec(&value).unwrap(), theirs);
    }
}

#[test]
fn epochs_and_rotations_are_stocks() {
    let state = KeyRotationState { validity_epochs: 24, initial_epoch_id: 3 };
    for epoch in [3, 26, 27, 500_000] {
        let duration = Duration::new(3600, 5);
        let ours = KeyRotationInfo::new(state, epoch, at(0), duration);
        let stock: KeyRotationInfoResponse = agree_in_json(&ours);
        let calculated = KeyRotationInfoResponse::from(stock.details);
        let progress = calculated.progress;
        assert_eq!(progress.current_key_rotation_id, ours.progress.current_key_rotation_id);
        assert_eq!(
            progress.current_rotation_ending_epoch,
            ours.progress.current_rotation_ending_epoch
        );
        // Why this answer is JSON always: stock cannot write it as bincode, nor read it.
        assert!(make_bincode_serializer().serialize(&stock).is_err());
        let bytes = bincode::to_vec(&ours).unwrap();
        assert!(make_bincode_serializer().deserialize::<KeyRotationInfoResponse>(&bytes).is_err());
    }
}

fn set() -> RewardedSet {
    RewardedSet {
        epoch_id: 500_000,
        entry_gateways: vec![3],
        exit_gateways: vec![4],
        layer1: vec![1],
        layer2: vec![6],
        layer3: vec![2],
        standby: vec![5],
    }
}

#[test]
fn sets_are_stocks_in_both_forms() {
    agree_in_json::<RewardedSetResponse, _>(&set());
    agree_in_bincode::<RewardedSetResponse>(&set());
}

#[test]
fn questions_of_stock_nodes_are_understood_and_answered() {
    let addresses: Vec<IpAddr> =
        ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap()).into();
    let ours = ByAddresses { addresses: addresses.clone() };
    agree_in_json::<stock::NodesByAddressesRequestBody, _>(&ours);
    let existence = [(addresses[0], Some(5)), (addresses[1], None)].into();
    let ours = Existence { existence };
    let stock: stock::NodesByAddressesResponse = agree_in_json(&ours);
    assert_eq!(stock.existence[&addresses[0]], Some(5));

    let secret = ed25519::PrivateKey::from_bytes(&[5; 32]).unwrap();
    let theirs = NodeRefreshBody::new(&secret);
    let text = serde_json::to_string(&theirs).unwrap();
    let read: RefreshRequest = serde_json::from_str(&text).unwrap();
    assert_eq!(read.verify(theirs.request_timestamp), Ok(()));
    let own = RefreshRequest::new(
        &ed25519_dalek::SigningKey::from_bytes(&[5; 32]),
        OffsetDateTime::now_utc().unix_timestamp(),
    );
    let stock: NodeRefreshBody =
        serde_json::from_str(&serde_json::to_string(&own).unwrap()).unwrap();
    assert!(stock.verify_signature() && !stock.is_stale());
}

/// What a stock client does with the answers: a topology, and a route through it.
#[test]
fn stock_builds_a_topology_from_our_answers() {
    let mut known = all_roles();
    known[5].role = Role::Mixnode { layer: 2 };
    let text = serde_json::to_string(&nodes(known, None)).unwrap();
    let list: stock::PaginatedCachedNodesResponseV2<stock::SkimmedNodeV1> =
        serde_json::from_str(&text).unwrap();
    let text = serde_json::to_string(&set()).unwrap();
    let set: EpochRewardedSet = serde_json::from_str::<RewardedSetResponse>(&text).unwrap().into();
    let metadata = NymTopologyMetadata::new(
        list.metadata.rotation_id,
        list.metadata.absolute_epoch_id,
        list.metadata.refreshed_at(),
    );
    let topology = NymTopology::new(metadata, set, Vec::new()).with_skimmed_nodes(&list.nodes.data);
    assert!(topology.ensure_minimally_routable().is_ok());
    assert_eq!(topology.entry_gateways().count(), 1);
    let written = serde_json::to_value(&topology).unwrap();
    assert_eq!(written["node_details"].as_object().unwrap().len(), list.nodes.data.len());
}
