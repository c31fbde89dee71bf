//! Packets that begin at a node, over real links.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use phix_engine::counters::DropReason;
use phix_engine::shard::Origin;
use phix_engine::wire::frame::KeyRotation;
use phix_engine::wire::geometry::PacketSize;
use phix_io::{Injector, NotTaken, Refuse};

use crate::common::{config, each, start_with};

const SENDERS: u32 = 4;
const EACH: u32 = 2_000;

/// Sends packets of two sizes that carry numbers from `first` on, waiting where there is no room.
fn send(injector: &Injector, to: SocketAddr, first: u32) {
    for number in first..first + EACH {
        let size = [PacketSize::Ack, PacketSize::Regular][number as usize % 2];
        let mut packet = vec![0x5a; size.packet_len()];
        packet[..4].copy_from_slice(&number.to_be_bytes());
        let origin = Origin { next_hop: to, rotation: KeyRotation::Even, packet: &packet };
        while let Err(reason) = injector.send(&origin) {
            assert_eq!(reason, NotTaken::Full);
            thread::yield_now();
        }
        if number % 97 == 0 {
            // The shards get to sleep now and then.
            thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

/// The numbers of all packets that come over `connections` connections until they end.
fn numbers(listener: &TcpListener, connections: usize) -> Vec<u32> {
    let streams: Vec<_> = (0..connections).map(|_| listener.accept().unwrap().0).collect();
    let read = |mut stream: std::net::TcpStream| {
        let mut numbers = Vec::new();
        let mut head = [0; 4];
        while stream.read_exact(&mut head).is_ok() {
            assert_eq!((head[0], head[3]), (8, KeyRotation::Even.byte()));
            let mut packet = vec![0; PacketSize::from_tag(head[1]).unwrap().packet_len()];
            stream.read_exact(&mut packet).unwrap();
            assert!(packet[4..].iter().all(|&byte| byte == 0x5a));
            numbers.push(u32::from_be_bytes(*packet.first_chunk().unwrap()));
        }
        numbers
    };
    let threads: Vec<_> =
        streams.into_iter().map(|stream| thread::spawn(move || read(stream))).collect();
    threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn packets_of_many_senders_are_sent_once_each() {
    each(|link| {
        let mut config = config(link);
        config.shards = 2;
        let server = start_with(config, |_| Refuse);
        let injector = server.injector();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let reader = thread::spawn(move || numbers(&listener, 2));
        thread::scope(|scope| {
            for sender in 0..SENDERS {
                let injector = injector.clone();
                scope.spawn(move || send(&injector, to, sender * EACH));
            }
        });
        let report = server.stop();
        let mut numbers = reader.join().unwrap();
        numbers.sort_unstable();
        let counters = report.counters;
        let all = u64::from(SENDERS * EACH);
        assert_eq!((counters.originated, counters.received), (all, 0));
        // A shard that had no room for a moment may have dropped some, and counted them.
        let room = [DropReason::PoolEmpty, DropReason::PeerQueueFull];
        let dropped = room.iter().map(|&reason| counters.dropped(reason)).sum::<u64>();
        assert_eq!((counters.forwarded, counters.dropped_total()), (all - dropped, dropped));
        assert_eq!(numbers.len() as u64, all - dropped);
        numbers.dedup();
        assert_eq!(numbers.len() as u64, all - dropped, "each once");
        assert!(numbers.len() > 100);
        let origin = Origin { next_hop: to, rotation: KeyRotation::Odd, packet: &[0; 386] };
        assert_eq!(injector.send(&origin), Err(NotTaken::Stopped));
    });
}
