//! The router in front of a real kernel, in a network namespace of its own: packets of a client
//! reach a server in another namespace and come back, and nothing stays behind.

#[path = "../../../../tests/exit/namespace.rs"]
mod namespace;

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use phix_proto::ipr::{ResponseBody, packets};
use tokio::time::timeout;

use super::{World, tag, udp};
use crate::exit::policy::{OPEN, Policy};
use crate::exit::router::device::Device;
use crate::exit::router::nat::{self, Nat};
use crate::exit::router::pool::Pool;
use crate::exit::router::table::Output;

const PATIENCE: Duration = Duration::from_secs(90);
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

#[test]
fn packets_reach_a_server_behind_the_kernel_and_nothing_stays() {
    namespace::inside("exit::router::tests::kernel::inside");
}

fn forwarding() -> String {
    fs::read_to_string(FORWARDING).unwrap().trim().to_owned()
}

#[test]
#[ignore = "runs in a namespace that another test makes"]
fn inside() {
    let dir = tempfile::tempdir().unwrap();
    let _neighbour = namespace::neighbour();
    let pool = || Pool::new("10.93.0.0/16".parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        assert_eq!(forwarding(), "0");
        // A node that was killed: its rules and settings are still there.
        std::mem::forget(Nat::set(dir.path(), "phixt", pool().networks()).unwrap());
        let device = Device::open("phixt", &pool()).unwrap();
        let nat = Nat::set(dir.path(), "phixt", pool().networks()).unwrap();
        assert_eq!(forwarding(), "1");
        let policy = Policy::parse(OPEN).unwrap();
        let allowed = vec!["10.77.0.0/24".parse().unwrap(), "fd77::/64".parse().unwrap()];
        let mut world = World::with("10.93.0.0/16", policy.allowing(allowed));
        let mine = world.connect(tag(1));
        for (server, seen) in [("10.77.0.2", "::ffff:10.77.0.1"), ("fd77::2", "fd77::1")] {
            let server: IpAddr = server.parse().unwrap();
            let asks = udp((mine.v4, mine.v6), server, 5300, b"who am I?");
            let heard = exchange(&mut world, &device, &asks, server).await;
            assert!(heard.ends_with(seen.as_bytes()), "{server} saw {heard:?}");
        }
        drop(nat);
        assert_eq!(forwarding(), "0");
        assert_eq!(namespace::run("nft list tables").unwrap(), "", "no table stays");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no file stays");
        nat::undo(dir.path()).unwrap();
    });
}

/// Sends a packet through the router until the answer of `server` is there for the client.
async fn exchange(world: &mut World, device: &Device, packet: &[u8], server: IpAddr) -> Vec<u8> {
    let mut buffer = vec![0; 2000];
    let answered = timeout(PATIENCE, async {
        loop {
            world.send(tag(1), packet);
            for output in world.table.outputs() {
                let Output::Packet(packet) = output else { panic!("{output:?}") };
                assert!(device.send(&packet).await);
            }
            let wait = Duration::from_millis(500);
            // Neighbours have to be found first, and the kernel speaks to its routers meanwhile.
            while let Ok(read) = timeout(wait, device.receive(&mut buffer)).await {
                let now = world.now;
                world.table.packet(&buffer[..read.unwrap()], now);
                world.after(super::BUNDLING);
                for (_, message) in world.said() {
                    let response = phix_proto::ipr::Response::parse(&message).unwrap();
                    let ResponseBody::Data(bundle) = response.body else { panic!("{response:?}") };
                    if let Some(Ok(packet)) = packets(bundle).next() {
                        let source = super::super::packet::Packet::read(packet).unwrap().source;
                        assert_eq!(source, server);
                        return packet.to_vec();
                    }
                }
            }
        }
    });
    answered.await.expect("the server answers in time")
}
