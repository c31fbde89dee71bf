//! The TUN device, on the other side of which is the kernel.

use std::io;

use tun_rs::{AsyncDevice, DeviceBuilder};

use super::limits::MTU;
use super::pool::Pool;
use crate::fault::Fault;

/// A device that is gone when this is dropped, or the process is.
pub(super) struct Device(AsyncDevice);

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").finish_non_exhaustive()
    }
}

impl Device {
    /// Makes the device `name` with the router's addresses of `pool`. Needs a tokio runtime around
    /// it.
    ///
    /// # Errors
    /// A sentence, if the kernel refuses.
    pub(super) fn open(name: &str, pool: &Pool) -> Result<Self, Fault> {
        let (router, (v4, v6)) = (pool.router(), pool.networks());
        let made = DeviceBuilder::new()
            .name(name)
            .mtu(MTU)
            .ipv4(router.v4, v4.prefix_len(), None)
            .ipv6(router.v6, v6.prefix_len())
            .build_async();
        made.map(Self).map_err(|error| {
            Fault::refused(format!(
                "the TUN device {name} cannot be made ({error}): run the node with CAP_NET_ADMIN \
                 and /dev/net/tun, or set exit-router to \"off\"."
            ))
        })
    }

    /// Waits for the next packet from the kernel.
    ///
    /// # Errors
    /// If the device is gone.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer).await
    }

    /// Gives a packet to the kernel; whether it took it.
    pub(super) async fn send(&self, packet: &[u8]) -> bool {
        self.0.send(packet).await.is_ok()
    }
}
