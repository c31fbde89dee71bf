//! Target: binary messages of a client, as they come and as someone with the key may seal them.

use phix_engine::wire::geometry::PacketSize;
use phix_proto::gateway::binary::{Forward, open_pushed, seal_pushed};
use phix_proto::gateway::{CURRENT_VERSION, NONCE, Nonce, OLDEST_VERSION, SharedKey};

use crate::input::Input;

/// What inputs have led to.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) read: u64,
    pub(crate) refused: u64,
}

#[cfg_attr(test, expect(dead_code, reason = "the entry for a fuzzer; tests observe"))]
pub(crate) fn run(data: &[u8]) {
    observe(data, &mut Seen::default());
}

pub(crate) fn observe(data: &[u8], seen: &mut Seen) {
    let mut input = Input::new(data);
    let key = SharedKey::from_bytes(input.array());
    let nonce: Nonce = input.array();
    let mut message = match input.below(4) {
        // Bytes that nobody sealed.
        0 => {
            let mut raw = input.slice(100).to_vec();
            assert!(Forward::open(&key, &mut raw).is_err() && open_pushed(&key, &mut raw).is_err());
            seen.refused += 1;
            return;
        }
        // A sealed message of some kind, with nearly right contents.
        1 => {
            let mut content = input.slice(30).to_vec();
            let size = PacketSize::ALL[input.below(3)];
            let len = size.packet_len() - input.below(2);
            content.extend(input.stretched(len));
            let mut message = vec![input.byte() & 3, 1];
            message.extend_from_slice(&nonce);
            message.extend_from_slice(&key.seal(&nonce, &content));
            message
        }
        // Delivered messages have no form of their own: they come back as they went.
        2 => {
            let content = input.slice(255);
            let mut pushed = seal_pushed(&key, &nonce, content);
            assert_eq!(open_pushed(&key, &mut pushed), Ok(content));
            return;
        }
        // A message as clients write it, to some address.
        _ => {
            let hop = if input.byte() & 1 == 0 {
                (input.array::<4>(), u16::from_be_bytes(input.array())).into()
            } else {
                (input.array::<16>(), u16::from_be_bytes(input.array())).into()
            };
            let size = PacketSize::ALL[input.below(5)];
            let packet = input.stretched(size.packet_len());
            let rotation = phix_engine::wire::frame::KeyRotation::ALL[input.below(3)];
            let forward = Forward::new(hop, rotation, &packet).expect("it has one of five lengths");
            let version = OLDEST_VERSION + input.byte() % 3;
            let mut sealed = forward.seal(version, &key, &nonce);
            let read = Forward::open(&key, &mut sealed).expect("what is written is read");
            assert_eq!((read.next_hop, read.packet), (hop, &packet[..]));
            seen.read += 1;
            return;
        }
    };
    match Forward::open(&key, &mut message) {
        Ok(forward) => {
            let mut again = forward.seal(CURRENT_VERSION, &key, &[0; NONCE]);
            assert_eq!(Forward::open(&key, &mut again), Ok(forward));
            seen.read += 1;
        }
        Err(_) => seen.refused += 1,
    }
}
