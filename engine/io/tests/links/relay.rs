//! Links without a shard: what goes in comes out as it was, as much of it at once as there may be.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use phix_engine::wire::frame::{FRAME_HEADER_MAX, FrameHeader, KeyRotation};
use phix_engine::wire::geometry::PacketSize;
use phix_io::{LinkChoice, LinkKind, RelayPlan, relay};

use crate::common::{accept, each, hop};

/// More than one send holds, more than the relay holds, and more than the sockets hold.
const PACKETS: usize = 8000;

#[test]
fn a_relay_passes_on_every_packet_in_order() {
    each(|link| {
        let kind = if link == LinkChoice::Uring { LinkKind::Uring } else { LinkKind::Epoll };
        let hops = [hop(), hop()];
        let to = hops.each_ref().map(|hop| hop.local_addr().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            let relaying = scope.spawn(move || {
                let capacity = [2048, 0, 0, 0, 0];
                relay(listener, &RelayPlan { kind, capacity, to: &to, packets: PACKETS as u64 })
            });
            scope.spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                (0..PACKETS).for_each(|number| stream.write_all(&frame(number)).unwrap());
                // The relay ends the connection.
                let _ = stream.read(&mut [0]);
            });
            for (at, hop) in hops.iter().enumerate() {
                scope.spawn(move || {
                    let mut got = Vec::new();
                    accept(hop).read_to_end(&mut got).unwrap();
                    let expected: Vec<u8> =
                        (0..PACKETS).filter(|number| number % 2 == at).flat_map(frame).collect();
                    assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
                });
            }
            let counters = relaying.join().unwrap().unwrap();
            assert_eq!(counters.forwarded, PACKETS as u64);
        });
    });
}

fn frame(number: usize) -> Vec<u8> {
    let header = FrameHeader::current(PacketSize::Ack, KeyRotation::Unknown);
    let mut head = [0; FRAME_HEADER_MAX];
    let front = header.write(&mut head);
    let mut frame = head[..front].to_vec();
    frame.extend((number as u64).to_le_bytes());
    frame.resize(header.frame_len(), number as u8);
    frame
}
