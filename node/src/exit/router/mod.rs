//! The IP packet router: it carries packets of whole machines between the mixnet and the internet.
//!
//! [`table`] knows the clients, their addresses and what each may send; [`pool`] gives addresses
//! out; [`packet`] reads as much of a packet as the policy has to judge; [`device`] is the way to
//! the kernel, [`nat`] what the kernel has to do with what comes out of it; [`serve`] connects all
//! of them with a client of the mixnet. The protocol is [`phix_proto::ipr`].

pub mod counts;
mod device;
mod limits;
mod nat;
mod packet;
mod pool;
mod serve;
mod settings;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ipnet::Ipv4Net;
use phix_client::mixnet::Client;
use tokio::sync::watch;

use crate::exit::policy::Policy;
use crate::fault::Fault;
use counts::Counts;
use device::Device;
use nat::Nat;
use pool::Pool;
use table::Table;

pub use nat::{is_device, undo};
pub use settings::{Addresses, DeviceName};

/// A router that is ready: device and rules are there until it is dropped.
#[derive(Debug)]
pub struct Router {
    table: Table,
    policy: watch::Receiver<Arc<Policy>>,
    counts: Arc<Counts>,
    // Rules go before the device that they name.
    _nat: Nat,
    device: Device,
}

impl Router {
    /// Makes the TUN device `device` and sets the kernel up for clients with addresses of
    /// `network`, which has 2 to 16 bits for hosts. What has to be undone is noted in `dir`. Needs
    /// a tokio runtime around it.
    ///
    /// # Errors
    /// A sentence, if the kernel or its tools refuse.
    ///
    /// # Panics
    /// If `device` is no name of a device ([`is_device`]), or `network` has another size.
    pub fn open(
        dir: &Path,
        device: &str,
        network: Ipv4Net,
        policy: watch::Receiver<Arc<Policy>>,
        counts: Arc<Counts>,
    ) -> Result<Self, Fault> {
        assert!(is_device(device), "the name of a device is short and plain");
        let pool = Pool::new(network);
        let name = device;
        let device = Device::open(name, &pool)?;
        let nat = Nat::set(dir, name, pool.networks())?;
        let table = Table::new(pool, Arc::clone(&counts), Instant::now());
        Ok(Self { table, policy, counts, _nat: nat, device })
    }

    /// Serves what comes to `client`, until that has ended or the device is gone. Clients keep
    /// their addresses meanwhile, for the next time.
    pub async fn serve(&mut self, client: Client) {
        serve::serve(client, &mut self.table, &self.device, &self.policy, &self.counts).await;
    }
}
