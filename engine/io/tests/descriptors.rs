//! Descriptors: none is lost, and running out of them is survived. A program of its own, because
//! it counts and limits what the whole process has.

#[expect(dead_code, reason = "these tests need a part of what the others share")]
#[path = "links/common.rs"]
mod common;

use std::fs::read_dir;
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use phix_engine::wire::frame::FrameVersion;
use phix_io::ServerConfig;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use common::{
    accept, assert_same, config, connect, hop, is_closed, links, read, send, several, start, until,
};

/// One test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn open_descriptors() -> usize {
    read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn connections_and_servers_give_their_descriptors_back() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for link in links() {
        let before_server = open_descriptors();
        let server = start(config(link));
        let before = open_descriptors();
        for round in 0..50 {
            let mut all: Vec<TcpStream> = (0..40).map(|_| connect(&server)).collect();
            for connection in &mut all {
                connection.shutdown(Shutdown::Write).unwrap();
                assert!(is_closed(connection));
            }
            // Connections out, ended by the next hop.
            let hop = hop();
            let sent = several(2, hop.local_addr().unwrap());
            let connection = send(&server, &sent);
            assert_same(read(&mut accept(&hop), 2, FrameVersion::Current), &sent);
            let accepted = 41 * (round + 1);
            until(&server, "accepted", |counters| counters.accepted == accepted);
            drop(connection);
        }
        let begin = Instant::now();
        while open_descriptors() > before {
            assert!(begin.elapsed() < Duration::from_secs(5), "{before} {}", open_descriptors());
            std::thread::sleep(Duration::from_millis(5));
        }
        server.stop();
        let begin = Instant::now();
        while open_descriptors() > before_server {
            assert!(begin.elapsed() < Duration::from_secs(5), "{}", open_descriptors());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn running_out_of_descriptors_neither_spins_nor_ends_the_server() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for link in links() {
        let server = start(ServerConfig { connections_max: 10_000, ..config(link) });
        let hop = hop();
        let mut clients: Vec<_> = (0..4).map(|_| connect(&server)).collect();
        until(&server, "accepted", |counters| counters.accepted == 4);
        let usual = getrlimit(Resource::Nofile);
        // Room for the two ends that this side opens and one that the server accepts.
        let tight = Rlimit { current: Some(highest() + 4), maximum: usual.maximum };
        setrlimit(Resource::Nofile, tight).unwrap();
        while let Ok(connection) = TcpStream::connect(server.address()) {
            clients.push(connection);
        }
        let used = processor_time();
        std::thread::sleep(Duration::from_millis(500));
        let used = processor_time() - used;
        setrlimit(Resource::Nofile, usual).unwrap();
        assert!(used < Duration::from_millis(150), "{link}: {used:?} of CPU time in half a second");
        let all = clients.len() as u64;
        until(&server, "accepted", |counters| counters.accepted == all);
        let sent = several(3, hop.local_addr().unwrap());
        let _connection = send(&server, &sent);
        assert_same(read(&mut accept(&hop), 3, FrameVersion::Current), &sent);
        server.stop();
    }
}

/// The highest descriptor in use.
fn highest() -> u64 {
    let names = read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.to_str().unwrap().parse().unwrap()).max().unwrap()
}

/// What all threads of this process have used. Takes no descriptor.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}
