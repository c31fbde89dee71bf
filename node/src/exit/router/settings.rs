//! What the settings of the router can be.

use std::fmt;

use ipnet::Ipv4Net;

use super::nat::is_device;
use super::pool::SIZES;
use crate::settings::Value;

/// The name of a TUN device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceName(pub(in crate::exit) String);

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for DeviceName {
    fn read(text: &str) -> Option<Self> {
        // "on" and "true" are wishes and no names.
        let is_name = is_device(text) && !["on", "true", "false"].contains(&text);
        is_name.then(|| Self(text.to_owned()))
    }

    fn allowed() -> String {
        "the name of a device, such as phix0: up to 15 letters and digits".into()
    }
}

/// The network that clients get their IPv4 addresses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses(pub(in crate::exit) Ipv4Net);

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Value for Addresses {
    fn read(text: &str) -> Option<Self> {
        let network: Ipv4Net = text.parse().ok()?;
        (SIZES.contains(&network.prefix_len()) && network == network.trunc())
            .then_some(Self(network))
    }

    fn allowed() -> String {
        format!("an IPv4 network of /{} to /{}, such as 10.0.0.0/16", SIZES.start(), SIZES.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_no_names_and_addresses_are_a_network() {
        assert_eq!(DeviceName::read("phix0").unwrap().to_string(), "phix0");
        for wrong in ["", "on", "true", "0tun", "a b", "a;b", "abcdefghijklmnop"] {
            assert_eq!(DeviceName::read(wrong), None, "{wrong}");
        }
        assert_eq!(Addresses::read("10.0.0.0/16").unwrap().to_string(), "10.0.0.0/16");
        for wrong in ["10.0.0.0", "10.0.0.1/16", "10.0.0.0/15", "10.0.0.0/31", "fc00::/112", ""] {
            assert_eq!(Addresses::read(wrong), None, "{wrong}");
        }
    }
}
