//! A topology provider as a program of the SDK could have one: it asks the directory itself and
//! leaves out what it does not like.

use nym_http_api_client::Client;
use nym_topology::provider_trait::{ToTopologyMetadata, TopologyProvider, async_trait};
use nym_topology::{EpochRewardedSet, NymTopology};
use nym_validator_client::nym_api::NymApiClientExt;
use nym_validator_client::nym_api::error::NymAPIError;

use crate::Failure;

/// Networks with one gateway.
pub(crate) struct Provider {
    directory: Client,
    /// The gateway's identity, in base58.
    gateway: String,
}

impl Provider {
    pub(crate) fn new(directory: &str, gateway: String) -> Result<Self, Failure> {
        Ok(Self { directory: Client::builder(directory)?.build()?, gateway })
    }

    async fn topology(&self) -> Result<NymTopology, NymAPIError> {
        let set: EpochRewardedSet = self.directory.get_current_rewarded_set().await?.into();
        let mut mixes =
            self.directory.get_all_basic_active_mixing_assigned_nodes_with_metadata().await?;
        // They could let clients in, too.
        mixes.nodes.iter_mut().for_each(|node| node.supported_roles.entry = false);
        let gateways = self.directory.get_all_basic_entry_assigned_nodes_with_metadata().await?;
        let mut gateways = gateways.nodes;
        gateways.retain(|node| node.ed25519_identity_pubkey.to_base58_string() == self.gateway);
        let mut topology = NymTopology::new(mixes.metadata.to_topology_metadata(), set, Vec::new());
        topology.add_skimmed_nodes(&mixes.nodes);
        topology.add_skimmed_nodes(&gateways);
        Ok(topology)
    }
}

#[async_trait]
impl TopologyProvider for Provider {
    async fn get_new_topology(&mut self) -> Option<NymTopology> {
        self.topology().await.ok()
    }
}
