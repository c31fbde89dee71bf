//! A SOCKS5 client of the stock SDK, as a program of it would have one.

use nym_sdk::mixnet::{MixnetClientBuilder, Socks5, Socks5MixnetClient};

use crate::Failure;
use crate::arguments::{Arguments, Form};

/// Connects and serves applications; the arguments name where, and the exit.
pub(crate) async fn connect(arguments: &Arguments) -> Result<Socks5MixnetClient, Failure> {
    let exit = arguments.exit.as_deref().ok_or("--exit is missing")?;
    let mut config = Socks5::new(exit);
    config.bind_address = arguments.listen.ok_or("--socks5 is missing")?;
    config.send_anonymously = arguments.form != Form::Addressed;
    if arguments.form == Form::Current {
        config.provider_interface_version = Default::default();
        config.socks5_protocol_version = Default::default();
    }
    let builder = MixnetClientBuilder::new_ephemeral()
        .network_details(arguments.network())
        .debug_config(arguments.settings())
        .socks5_config(config);
    Ok(builder.build()?.connect_to_mixnet_via_socks5().await?)
}
