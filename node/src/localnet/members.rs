//! Who belongs to a local network, and the settings of each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Mix layers of a path, as Nym's clients build it.
pub(crate) const LAYERS: usize = 3;

/// Where clients connect to a gateway, as stock gateways have it.
const CLIENTS: u16 = 9000;

/// What a process of the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Registers the others and answers clients.
    Directory,
    /// Mixes.
    Mix,
    /// Lets clients in.
    Entry,
    /// Lets clients in, and is there for services.
    Exit,
}

/// A process of the network.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// What to call it; also its directory.
    pub(crate) name: String,
    /// What it does.
    pub(crate) part: Part,
    /// Its own address.
    pub(crate) ip: IpAddr,
}

/// All members of a network with so many mix nodes per layer, the directory first. Each has an
/// address of its own, as nodes are known by their addresses.
pub(crate) fn members(width: usize) -> Vec<Member> {
    let mixes = (1..=LAYERS * width).map(|number| (format!("mix{number}"), Part::Mix));
    let gateways = [("entry".to_owned(), Part::Entry), ("exit".to_owned(), Part::Exit)];
    let all = [("directory".to_owned(), Part::Directory)].into_iter().chain(mixes).chain(gateways);
    all.enumerate().map(|(i, (name, part))| Member { name, part, ip: address(i) }).collect()
}

/// The address of member `index`, the directory's being the first.
fn address(index: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 10 + index as u8))
}

impl Member {
    /// Where the member can be talked to first: by HTTP, if it is the directory, else by packets.
    pub(crate) fn front(&self, ports: Ports) -> SocketAddr {
        let port = if self.part == Part::Directory { ports.directory } else { ports.packets };
        SocketAddr::new(self.ip, port)
    }

    /// The settings of `phix-node init`, as flags.
    pub(crate) fn settings(&self, ports: Ports, directory: &str) -> Vec<String> {
        let front = self.front(ports).to_string();
        let own: Vec<(&str, String)> = match self.part {
            Part::Directory => vec![
                ("roles", "directory".into()),
                ("listen", SocketAddr::new(self.ip, ports.packets).to_string()),
                ("source", self.ip.to_string()),
                ("directory-listen", front),
                ("directory-rotation", "off".into()),
            ],
            Part::Mix => vec![("roles", "mix".into())],
            Part::Entry => vec![("roles", "mix,entry".into())],
            // All that is there to be reached is on this machine.
            Part::Exit => vec![
                ("roles", "mix,exit".into()),
                ("exit-policy", "open".into()),
                ("exit-private-targets", "127.0.0.0/8,::1".into()),
            ],
        };
        let mut all = own;
        if self.part != Part::Directory {
            all.extend([
                ("listen", self.front(ports).to_string()),
                ("source", self.ip.to_string()),
                ("directory", directory.to_owned()),
                ("shards", "1".into()),
                ("capacity", "16384".into()),
                ("replay-capacity", "10000000".into()),
            ]);
        }
        if matches!(self.part, Part::Entry | Part::Exit) {
            all.extend([
                ("entry", SocketAddr::new(self.ip, CLIENTS).to_string()),
                ("free-bandwidth", "true".into()),
                ("registrations-per-source", "off".into()),
                ("private-first-hops", "true".into()),
            ]);
        }
        all.into_iter().flat_map(|(name, value)| [format!("--{name}"), value]).collect()
    }
}

/// Ports that the members listen on, each at its own address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// Of nodes, for packets.
    pub(crate) packets: u16,
    /// Of the directory.
    pub(crate) directory: u16,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_member_has_an_address_of_its_own() {
        let all = members(2);
        assert_eq!(all.len(), 1 + 6 + 2);
        assert_eq!(all[0].part, Part::Directory);
        let addresses: BTreeSet<_> = all.iter().map(|member| member.ip).collect();
        assert_eq!(addresses.len(), all.len());
        assert!(addresses.iter().all(IpAddr::is_loopback));
    }

    #[test]
    fn gateways_say_where_clients_connect() {
        let ports = Ports { packets: 1789, directory: 8000 };
        for member in members(1) {
            let settings = member.settings(ports, "http://127.0.0.10:8000");
            let is_gateway = matches!(member.part, Part::Entry | Part::Exit);
            assert_eq!(settings.iter().any(|flag| flag == "--entry"), is_gateway, "{member:?}");
        }
    }
}
