//! What a directory takes from nodes, and what it does not.

use ed25519_dalek::SigningKey;
use phix_proto::directory::PublicKey;
use phix_proto::directory::nodes::{Entry, NoiseKey, SupportedRoles};
use phix_proto::directory::registration::{
    AGE_MAX_MS, ANY_ROTATION, Description, Refusal, Services, SphinxKey,
};

const NOW: u64 = 1_795_558_500_000;

type Change = fn(&mut Description);

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn description() -> Description {
    Description {
        identity: PublicKey(key().verifying_key().to_bytes()),
        sphinx: vec![
            SphinxKey { rotation_id: 7, public_key: PublicKey([1; 32]) },
            SphinxKey { rotation_id: 8, public_key: PublicKey([2; 32]) },
        ],
        noise: Some(NoiseKey { supported_version: 1, x25519_pubkey: PublicKey([4; 32]) }),
        addresses: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        mix_port: 1789,
        entry: Some(Entry { hostname: None, ws_port: 9000, wss_port: None }),
        roles: SupportedRoles { mixnode: true, entry: true, ..SupportedRoles::default() },
        services: Services::default(),
        software: "phix-node/0.1.0".to_owned(),
        made_at_ms: NOW,
    }
}

#[test]
fn a_signed_description_survives_json_and_is_good_for_two_minutes() {
    let signed = description().sign(&key());
    let json = serde_json::to_vec(&signed).unwrap();
    let read: phix_proto::directory::registration::SignedDescription =
        serde_json::from_slice(&json).unwrap();
    assert_eq!(read, signed);
    for (now, verdict) in [
        (NOW, Ok(())),
        (NOW + AGE_MAX_MS, Ok(())),
        (NOW + AGE_MAX_MS + 1, Err(Refusal::Old)),
        (NOW - AGE_MAX_MS, Ok(())),
        (NOW - AGE_MAX_MS - 1, Err(Refusal::Future)),
    ] {
        assert_eq!(read.verify(now), verdict, "{now}");
    }
}

/// Whatever is changed after signing, the signature is wrong.
#[test]
fn the_signature_covers_every_field() {
    let changes: [Change; 12] = [
        |one| one.identity = PublicKey(SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes()),
        |one| one.sphinx[0].rotation_id = 6,
        |one| one.sphinx[1].public_key.0[0] ^= 1,
        |one| one.noise = None,
        |one| one.addresses.truncate(1),
        |one| one.addresses.swap(0, 1),
        |one| one.mix_port += 1,
        |one| one.entry.as_mut().unwrap().ws_port += 1,
        |one| one.roles.exit_nr = true,
        |one| one.services.network_requester = Some("a.b@c".to_owned()),
        |one| one.software.push('1'),
        |one| one.made_at_ms += 1,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut signed = description().sign(&key());
        assert_eq!(signed.verify(NOW), Ok(()));
        change(&mut signed.description);
        assert_eq!(signed.verify(NOW), Err(Refusal::Signature), "change {at}");
    }
    let signed = description().sign(&key());
    for wrong in ["", "1", &"1".repeat(64), &"z".repeat(200), &signed.signature.replace('1', "2")] {
        let mut forged = signed.clone();
        if wrong != forged.signature {
            forged.signature = wrong.to_owned();
            assert_eq!(forged.verify(NOW), Err(Refusal::Signature), "{wrong}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused_by_reason() {
    let cases: [(Change, Refusal); 14] = [
        (|one| one.addresses.clear(), Refusal::Address),
        (|one| one.addresses = vec!["192.0.2.1".parse().unwrap(); 9], Refusal::Address),
        (|one| one.addresses[0] = "0.0.0.0".parse().unwrap(), Refusal::Address),
        (|one| one.addresses[1] = "ff02::1".parse().unwrap(), Refusal::Address),
        (|one| one.mix_port = 0, Refusal::Port),
        (|one| one.entry = None, Refusal::Port),
        (|one| one.entry.as_mut().unwrap().wss_port = Some(0), Refusal::Port),
        (|one| one.sphinx.clear(), Refusal::Keys),
        (|one| one.sphinx[0].rotation_id = 8, Refusal::Keys),
        (|one| one.sphinx = vec![one.sphinx[0]; 4], Refusal::Keys),
        (|one| one.roles = SupportedRoles::default(), Refusal::Roles),
        (|one| one.software = "x".repeat(254), Refusal::Text),
        (|one| one.software = "a\nb".to_owned(), Refusal::Text),
        (|one| one.services.ip_packet_router = Some("\u{7f}".to_owned()), Refusal::Text),
    ];
    for (at, (change, refusal)) in cases.into_iter().enumerate() {
        let mut one = description();
        change(&mut one);
        assert_eq!(one.sign(&key()).verify(NOW), Err(refusal), "case {at}");
    }
}

#[test]
fn a_key_without_rotation_stands_for_all() {
    let mut one = description();
    assert_eq!(one.sphinx_key(7), Some(PublicKey([1; 32])));
    assert_eq!(one.sphinx_key(9), None);
    one.sphinx[0].rotation_id = ANY_ROTATION;
    assert_eq!(one.sphinx_key(9), Some(PublicKey([1; 32])));
    assert_eq!(one.sphinx_key(8), Some(PublicKey([2; 32])));
}
