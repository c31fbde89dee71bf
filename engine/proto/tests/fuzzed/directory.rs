//! Targets: what a directory reads from nodes, and what nodes and clients read from a directory.

use ed25519_dalek::SigningKey;
use phix_proto::directory::epoch::{KeyRotationInfo, RewardedSet};
use phix_proto::directory::network::Network;
use phix_proto::directory::nodes::{
    ByAddresses, Entry, Nodes, NoiseKey, SemiSkimmed, Skimmed, SupportedRoles,
};
use phix_proto::directory::refresh::RefreshRequest;
use phix_proto::directory::registration::{
    Description, Refusal, Services, SignedDescription, SphinxKey,
};
use phix_proto::directory::{PublicKey, bincode};
use serde_json::{Value, json};

const NOW: u64 = 1_795_558_500_000;

/// A registration that was right before `data` had its way with the text.
pub(crate) fn registration(data: &[u8]) {
    let signed = serde_json::to_vec(&sample()).unwrap();
    let text = damaged(signed, data);
    if let Ok(read) = serde_json::from_slice::<SignedDescription>(&text) {
        let verdict = read.verify(NOW);
        // The signature holds for what was signed and for nothing else.
        assert_eq!(verdict.is_ok(), read == sample(), "{verdict:?}");
        if verdict.is_ok() {
            assert!(bincode::to_vec(&read.description).is_ok());
        }
        assert!(verdict.err().is_none_or(|refusal| Refusal::ALL.contains(&refusal)));
    }
    let refresh = RefreshRequest::new(&key(), 1_000);
    let text = damaged(serde_json::to_vec(&refresh).unwrap(), data);
    if let Ok(read) = serde_json::from_slice::<RefreshRequest>(&text) {
        assert_eq!(read.verify(1_000).is_ok(), read == refresh);
    }
    if let Ok(asked) = serde_json::from_slice::<ByAddresses>(data) {
        assert!(serde_json::to_vec(&asked).is_ok());
    }
}

/// Answers that were right before `data` had its way with the text.
pub(crate) fn answers(data: &[u8]) {
    let nodes = damaged(serde_json::to_vec(&list()).unwrap(), data);
    let set = json!({
        "epoch_id": 5, "entry_gateways": [1], "exit_gateways": [], "layer1": [2], "layer2": [3],
        "layer3": [4], "standby": [],
    });
    let set: RewardedSet = serde_json::from_value(set).unwrap();
    if let Ok(read) = serde_json::from_slice::<Nodes<Skimmed>>(&nodes) {
        let epoch = read.metadata.absolute_epoch_id;
        assert_eq!(Network::join(set, [read.clone()]).is_ok(), epoch == 5);
        // What was read can be written, and says the same.
        let again = serde_json::to_vec(&read);
        if let Ok(again) = again {
            assert_eq!(serde_json::from_slice::<Nodes<Skimmed>>(&again).unwrap(), read);
            assert!(bincode::to_vec(&read).is_ok());
        }
    }
    let _ = serde_json::from_slice::<Nodes<SemiSkimmed>>(&nodes).is_ok();
    let info = br#"{"key_rotation_state":{"validity_epochs":24,"initial_epoch_id":0},
        "current_absolute_epoch_id":30,"current_epoch_start":"2026-11-24T22:00:00Z",
        "epoch_duration":{"secs":3600,"nanos":0},"progress":{"current_key_rotation_id":1,
        "current_rotation_starting_epoch":24,"current_rotation_ending_epoch":47}}"#;
    if let Ok(read) = serde_json::from_slice::<KeyRotationInfo>(&damaged(info.to_vec(), data)) {
        let state = read.key_rotation_state;
        let rotation = state.rotation(read.current_absolute_epoch_id);
        assert!(state.begins(rotation) <= read.current_absolute_epoch_id.max(state.begins(0)));
        let _ = read.rotation_length();
    }
}

/// Changes a few bytes, cuts or doubles a part, or leaves the text as it is.
fn damaged(mut text: Vec<u8>, data: &[u8]) -> Vec<u8> {
    for part in data.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([part[0], part[1]])) % text.len().max(1);
        match part[2] % 8 {
            0 => text.truncate(at),
            1 => text = [&text[..at], &text[at / 2..]].concat(),
            2 | 3 if at < text.len() => text[at] = part[3],
            4 if at < text.len() => text[at] = b"0123456789-,:.\"{}[]"[usize::from(part[3]) % 19],
            _ => {}
        }
        // Most inputs are to get further than the first bracket.
        if part[2] & 0x40 != 0 {
            break;
        }
    }
    text
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn sample() -> SignedDescription {
    let description = Description {
        identity: PublicKey(key().verifying_key().to_bytes()),
        sphinx: vec![SphinxKey { rotation_id: 7, public_key: PublicKey([1; 32]) }],
        noise: Some(NoiseKey { supported_version: 1, x25519_pubkey: PublicKey([4; 32]) }),
        addresses: vec!["192.0.2.7".parse().unwrap()],
        mix_port: 1789,
        entry: Some(Entry { hostname: Some("a.example".into()), ws_port: 9000, wss_port: None }),
        roles: SupportedRoles { mixnode: true, entry: true, ..SupportedRoles::default() },
        services: Services::default(),
        software: "phix-node/0.1.0".to_owned(),
        made_at_ms: NOW,
    };
    description.sign(&key())
}

fn list() -> Value {
    json!({
        "metadata": {
            "status": {"fresh": {
                "id": 0, "epochs_in_interval": 720, "current_epoch_start": "2026-11-24T22:00:00Z",
                "current_epoch_id": 5, "epoch_length": {"secs": 3600, "nanos": 0},
                "total_elapsed_epochs": 5,
            }},
            "absolute_epoch_id": 5, "rotation_id": 7,
            "refreshed_at": "2026-11-24 22:15:00.12 +00:00:00",
        },
        "nodes": {"pagination": {"total": 1, "page": 0, "size": 1}, "data": [{
            "node_id": 2,
            "ed25519_identity_pubkey": PublicKey(key().verifying_key().to_bytes()),
            "ip_addresses": ["192.0.2.7", "2001:db8::7"],
            "mix_port": 1789,
            "x25519_sphinx_pubkey": PublicKey([1; 32]),
            "role": {"Mixnode": {"layer": 1}},
            "supported_roles":
                {"mixnode": true, "entry": false, "exit_nr": false, "exit_ipr": false},
            "entry": null,
            "performance": "0.97",
        }]},
    })
}
