//! Sends without a copy. Over loopback the kernel copies after all; what has to be right about
//! them can be seen there all the same.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use phix_engine::wire::frame::FrameVersion;
use phix_engine::wire::geometry::PacketSize;
use phix_io::{Basis, LinkChoice, LinkKind, Refuse, Server, ServerConfig, ZeroCopy, zero_copy};

use crate::common::{
    Built, accept, assert_balance, assert_same, build, config, connect, frame, hop, keys, links,
    read, several, stream, until,
};

/// Whether there is something to test; says aloud if not.
fn has() -> bool {
    let decided = zero_copy(ZeroCopy::Auto, LinkKind::Uring);
    let has = links().contains(&LinkChoice::Uring) && matches!(decided, Ok((ZeroCopy::Auto, _)));
    if !has {
        let line = format!("ATTENTION: NOT TESTED: sends without a copy: {decided:?}\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
    }
    has
}

fn start(config: ServerConfig, zero_copy: ZeroCopy) -> Server {
    let basis = Basis { zero_copy, ..Basis::default() };
    let server = Server::start_silent(config, basis, keys(), |_| Refuse).unwrap();
    server.open(Vec::new()).unwrap();
    server
}

/// Packets that become due in heaps, so that one send carries several.
fn heaps(count: usize, to: SocketAddr) -> Vec<Built> {
    (0..count).map(|_| build(to, Duration::from_millis(300), PacketSize::Regular)).collect()
}

#[test]
fn packets_that_are_not_copied_arrive_whole() {
    if !has() {
        return;
    }
    let server = start(config(LinkChoice::Uring), ZeroCopy::On);
    let hops: [TcpListener; 2] = [hop(), hop()];
    let sent = hops.each_ref().map(|hop| {
        let to = hop.local_addr().unwrap();
        let large = PacketSize::ALL.map(|size| build(to, Duration::ZERO, size));
        large.into_iter().chain(heaps(700, to)).collect::<Vec<_>>()
    });
    std::thread::scope(|scope| {
        for (hop, sent) in hops.iter().zip(&sent) {
            scope.spawn(|| {
                assert_same(read(&mut accept(hop), sent.len(), FrameVersion::Current), sent);
            });
        }
        let mut connection = connect(&server);
        for built in sent.iter().flatten() {
            connection.write_all(&frame(&built.packet, FrameVersion::Current)).unwrap();
        }
        let all = sent.iter().map(Vec::len).sum::<usize>() as u64;
        until(&server, "all sent on", |counters| counters.forwarded == all);
    });
    let report = server.stop();
    assert_balance(&report);
    let c = &report.counters;
    assert!(c.lent_sends > 10 && c.copied_sends == c.lent_sends, "{c:?}");
    assert_eq!((c.dropped_total(), report.failed), (0, None));
}

#[test]
fn one_trial_tells_whether_the_kernel_copies() {
    if !has() {
        return;
    }
    let server = start(config(LinkChoice::Uring), ZeroCopy::Auto);
    let hop = hop();
    let sent = heaps(400, hop.local_addr().unwrap());
    let _open = crate::common::send(&server, &sent);
    assert_same(read(&mut accept(&hop), sent.len(), FrameVersion::Current), &sent);
    until(&server, "all sent on", |counters| counters.forwarded == 400);
    let report = server.stop();
    assert_balance(&report);
    let c = report.counters;
    assert_eq!((c.lent_sends, c.copied_sends), (1, 1), "loopback copies");
}

/// Packets that the kernel still reads when a server ends come back, whatever the end.
#[test]
fn a_next_hop_that_reads_nothing_keeps_no_packets() {
    if !has() {
        return;
    }
    for kill in [false, true] {
        let mut config = config(LinkChoice::Uring);
        config.drain = Duration::from_millis(200);
        let server = start(config, ZeroCopy::On);
        let hop = hop();
        // Much less than what is sent.
        socket2::SockRef::from(&hop).set_recv_buffer_size(1 << 15).unwrap();
        let sent = several(1_500, hop.local_addr().unwrap());
        let mut connection = connect(&server);
        connection.write_all(&stream(&sent)).unwrap();
        let stuck = accept(&hop);
        until(&server, "received", |counters| counters.received == 1_500);
        assert!(server.held().total() > 0, "some wait: {:?}", server.held());
        let begin = Instant::now();
        let report = if kill { server.kill() } else { server.stop() };
        assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
        assert_balance(&report);
        assert_eq!(report.failed, None);
        assert!(report.counters.lent_sends > 0, "{:?}", report.counters);
        drop(stuck);
    }
}

#[test]
fn the_next_hop_may_break_off_at_any_time() {
    if !has() {
        return;
    }
    let server = start(config(LinkChoice::Uring), ZeroCopy::On);
    let hop = hop();
    let to = hop.local_addr().unwrap();
    let mut connection = connect(&server);
    // Whoever connects there is reset, sooner or later.
    std::thread::spawn(move || {
        for stream in hop.incoming() {
            std::thread::sleep(Duration::from_millis(20));
            drop(stream);
        }
    });
    for round in 1..=5 {
        connection.write_all(&stream(&several(400, to))).unwrap();
        until(&server, "all accounted for", |counters| {
            counters.forwarded + counters.dropped_total() == round * 400
        });
    }
    let report = server.stop();
    assert_balance(&report);
    assert!(report.counters.lent_sends > 0 && report.failed.is_none());
}
