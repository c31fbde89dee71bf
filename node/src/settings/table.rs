//! The table of all settings. A row is a setting's name, its type, its default and its explanation;
//! file, environment, flags, help and the generated configuration file all follow from it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use phix_io::{LinkChoice, ZeroCopy};

use super::Setting;
use super::value::{
    Any, Auto, Count, Crypto, DirectoryUrl, Frames, NoisePattern, NoiseUse, Nothing, Off, Or, Span,
    Value,
};
use crate::exit::policy::{Networks, PolicySource};
use crate::exit::resolve::Nameservers;
use crate::exit::router::{Addresses, DeviceName};
use crate::roles::Roles;

/// Makes the rows into [`Settings`], one typed field each, and [`TABLE`], one [`Setting`] each.
macro_rules! settings {
    ($($(#[doc = $help:literal])+ $name:literal $field:ident: $type:ty = $default:literal;)+) => {
        /// The value of every setting.
        #[derive(Clone, Debug)]
        pub struct Settings {
            $($(#[doc = $help])+ pub $field: $type,)+
        }

        impl Settings {
            /// Reads every setting from the text that `text` gives for its name; the name of the
            /// setting whose text is not acceptable otherwise.
            ///
            /// # Errors
            /// The first setting whose text its type does not accept.
            pub fn read<'a>(text: impl Fn(&str) -> &'a str) -> Result<Self, &'static str> {
                Ok(Self { $($field: <$type>::read(text($name)).ok_or($name)?,)+ })
            }
        }

        /// Every setting, in the order in which they are explained.
        pub const TABLE: &[Setting] = &[$(Setting {
            name: $name,
            default: $default,
            help: concat!($($help),+),
            allowed: <$type as Value>::allowed,
            accepts: |text| <$type>::read(text).is_some(),
        }),+];
    };
}

settings! {
    /// What this node does for the network, one role or several. "mix" takes packets in, removes
    /// one layer of encryption from each, holds it for as long as its sender asked, and sends it
    /// on; every node does that with packets that come. "entry" lets clients in, hands them the
    /// messages that end here, and keeps those for clients that are away; "exit" does the same for
    /// services behind it; both need `entry`. "directory" tells nodes and clients which nodes there
    /// are and what each does. The flag --role may be given several times.
    "roles" roles: Roles = "mix";

    /// Whether the directory decides in each epoch which of `roles` this node has, if `directory`
    /// names one. The node then is a gateway only while the directory has it be one, and its
    /// clients must look for another in other epochs. With false it has all of them all the time.
    "assigned-roles" assigned_roles: bool = "false";

    /// How long a node that is told to be a gateway no longer goes on to take messages for its
    /// clients, because packets may be on their way to them.
    "role-overlap" role_overlap: Span<0, 3600> = "30s";

    /// Address and port on which packets come in; 0.0.0.0 takes them on every IPv4 address of the
    /// machine, [::] on every address, IPv4 and IPv6.
    "listen" listen: SocketAddr = "0.0.0.0:1789";

    /// Address and port under which others reach this node, if that is not the one it listens on:
    /// behind NAT, in a container, or where it listens on all addresses. `phix-node topology`
    /// writes it into the topology file; "none" means the listen address.
    "announce" announce: Or<Nothing, SocketAddr> = "none";

    /// The directory with which this node registers, and from which it learns the other nodes,
    /// their Noise keys and what it does in each epoch: the base URL of a Phix directory, or of any
    /// that speaks nym-api. Packets then go to the nodes of the directory only, unless next-hops
    /// names a file. "none" means that the files below say it all.
    "directory" directory: Or<Nothing, DirectoryUrl> = "none";

    /// Directory of the key files identity.key, sphinx.key and noise.key. A relative path starts at
    /// the directory of the configuration file.
    "keys-dir" keys_dir: PathBuf = "keys";

    /// Threads that carry packets. "auto" takes one per processor core; fewer leave cores to other
    /// programs. What is said below to be per shard is needed once for each of them.
    "shards" shards: Or<Auto, Count<1, 256>> = "auto";

    /// Whether each shard stays on one core. That is faster on a machine of its own and slower
    /// where the cores are shared with other busy programs.
    "pin" pin: bool = "false";

    /// Kernel interface for the packets. "auto" takes io_uring where the kernel offers it and
    /// epoll elsewhere, and the node says at start which it took and why; "io_uring" does not
    /// start without it.
    "link" link: LinkChoice = "auto";

    /// Whether the kernel sends packets from where they lie, without a copy (SEND_ZC, io_uring
    /// only). "auto" tries it once on each connection to another node and stays with it where the
    /// kernel says that it did not copy after all; "on" always does it, which is slower where the
    /// kernel copies, and does not start where it cannot; "off" never does. Packets that the kernel
    /// does not copy stay in the node's memory until the other node has acknowledged them.
    "send-zc" send_zc: ZeroCopy = "off";

    /// Local address from which the node connects to other nodes, for machines with several;
    /// "none" leaves the choice to the kernel.
    "source" source: Or<Nothing, IpAddr> = "none";

    /// Whether packets to and from other nodes are encrypted once more on their way (Noise).
    /// "allow-plain" does so towards every node whose key is in `noise-peers` or the directory,
    /// speaks plainly to everybody else, as stock Nym nodes do, and takes what comes in either way;
    /// "required" has nothing to do with anybody whose key is not known or who speaks plainly, so
    /// that clients that send to this node must be in that file, too; "off" encrypts nothing.
    "noise" noise: NoiseUse = "allow-plain";

    /// File with the Noise keys of other nodes, one line `"192.0.2.1" = "key in base58"` for each
    /// IP address that they connect from and listen on; "none" if no key is known. A relative path
    /// starts at the directory of the configuration file. It is read when the node starts.
    /// `phix-node topology` writes such a file.
    "noise-peers" noise_peers: Or<Nothing, PathBuf> = "none";

    /// Noise protocol, which must be the same at both ends: "xk" is XKpsk3 with AES-256-GCM, which
    /// all stock Nym nodes use; "ik" is IKpsk2 with ChaCha20-Poly1305.
    "noise-pattern" noise_pattern: NoisePattern = "xk";

    /// Connections from other nodes that one shard keeps at a time; more are refused and counted.
    /// The node raises its limit of open files as far as the system lets it, and `check-config`
    /// says whether that is far enough.
    "connections-max" connections_max: Count<1, 65535> = "1024";

    /// Connections that one source may have at a time, all shards together; more are refused and
    /// counted. A source is an IPv4 address, or an IPv6 network of 64 bits. Another Phix node
    /// connects once for each of its shards, stock nodes connect once. "off" sets no limit.
    "connections-per-source" connections_per_source: Or<Off, Count<1, 65535>> = "64";

    /// Packets that one source may bring per second, all shards together. What it sends beyond that
    /// is not dropped: its connections are read more slowly, each up to an equal part of the rate,
    /// and TCP slows it down. Set it well above what the busiest node of the network has for this
    /// one. "off" sets no limit; a source that sends a lot has no more than its turn then, too.
    "packets-per-second-per-source" packets_per_second: Or<Off, Count<1, 10_000_000>> = "off";

    /// Where packets may go. "any" lets the sender of a packet name any address and port: keep the
    /// node, by firewall, from reaching what it need not. Better, if the node is part of a network
    /// whose nodes are known: a file with these, either a topology file or a list with one address
    /// and port in each line, and packets for others are dropped and counted as next_hop_unknown.
    /// The file is read when the node starts; a relative path starts at the directory of the
    /// configuration file.
    "next-hops" next_hops: Or<Any, PathBuf> = "any";

    /// Regular packets, and as many acknowledgements, that one shard can hold at a time; more are
    /// dropped and counted. A packet is held for the delay that its sender asked for, so that
    /// 32768 packets are enough for 300000 packets a second at 100 ms. Memory per shard: 3 KiB for
    /// each, 96 MiB for 32768, taken only as traffic needs it.
    "capacity" capacity: Count<64, 4_194_304> = "32768";

    /// Extended packets of each of the three sizes (8, 16 and 32 KiB) that one shard can hold.
    /// They are rare. Memory per shard: 57 KiB for each, 3.6 MiB for 64.
    "capacity-extended" capacity_extended: Count<1, 65536> = "64";

    /// Packets that are decrypted together at most; a node that is not busy never waits for a
    /// batch to fill. What is due waits for the batch that runs, so that more packets in a batch
    /// gain a few per cent of time and make delays less exact. "auto" is four vectors of the
    /// kernels: 32 with AVX-512, 16 with AVX2, otherwise 4.
    "batch" batch: Or<Auto, Count<1, 64>> = "auto";

    /// Frame version that the node sends; it reads both. "current" is what present Nym nodes
    /// expect, "legacy" what nodes read that know nothing of key rotations.
    "frames" frames: Frames = "current";

    /// Packets that the node remembers, so that a packet which comes a second time is dropped.
    /// Take the packets per second that you expect times the seconds for which the key is used:
    /// 50000000 is 550 a second for 25 hours. Once it is full, new packets are dropped too, and
    /// counted as replay_filter_full. It takes 4 bytes of memory for each packet at once, 200 MB
    /// for 50000000, and 8 bytes or more on disk (see state-dir). A larger number takes effect when
    /// the node is started again, and what it remembers stays. "auto", for nodes with rotation,
    /// makes each filter for half as many packets again as the busiest ten minutes of the last four
    /// rotations would lead to, and for 555 a second where the node has not seen a rotation yet;
    /// one that was too small is followed by a larger one at the next rotation or start.
    "replay-capacity" replay_capacity: Or<Auto, Count<1_000, 100_000_000_000>> = "50000000";

    /// Directory in which the node keeps what it must still know after a restart: the packets that
    /// it has seen, 8 bytes for each, and up to 40 where only few come in a second. What a killed
    /// node loses is less than a second old. Two nodes cannot share one. A relative path starts at
    /// the directory of the configuration file. With "none", packets that passed before a restart
    /// can pass again.
    "state-dir" state_dir: Or<Nothing, PathBuf> = "state";

    /// How long one Sphinx key is used, before the next one takes its place. All nodes of a network
    /// change their keys at the same time, at multiples of this since 1970, and need the same
    /// value here; stock Nym nodes use 24h. The keys are files beside identity.key, named after
    /// the number of their rotation, and sphinx.key is not used. With "off" it is used for ever.
    "rotation" rotation: Or<Off, Span<3, 31_536_000>> = "off";

    /// How long before and after a change both keys are served, the old and the new, so that no
    /// packet is lost that was on its way. Then the old key is destroyed, with the memory of what
    /// passed under it. During that time replay-capacity is needed twice.
    "rotation-overlap" rotation_overlap: Span<1, 604_800> = "1h";

    /// Address and port on which clients connect, if this node is to be an entry gateway: stock Nym
    /// gateways have 0.0.0.0:9000. The clients speak WebSocket without TLS; for TLS, put a server
    /// in front that ends it. The node keeps what it knows of its clients in entry.sqlite in
    /// state-dir. "off" serves no clients.
    "entry" entry: Or<Off, SocketAddr> = "off";

    /// Connections of clients that the node has at a time; more are refused and counted. A client
    /// that is idle takes about 16 KiB and one open file.
    "entry-connections" entry_connections: Count<1, 1_000_000> = "16384";

    /// Clients that may be registered; each takes about 200 bytes on disk. When there is no room
    /// for a new one, those whom nobody has seen for 90 days are forgotten.
    "clients-max" clients_max: Count<1, 100_000_000> = "1000000";

    /// New clients that one source may register at once, and then as many in each day; more are
    /// refused and counted. A source is an IPv4 address, or an IPv6 network of 64 bits, of which 16
    /// times as many have a network of 48 bits. Clients that come back do not count. "off" sets no
    /// limit: where all clients come through a server that ends TLS, all of them are one source.
    "registrations-per-source" registrations_per_source: Or<Off, Count<1, 1_000_000>> = "100";

    /// Whether clients get bandwidth for nothing, 64 GiB whenever they ask, which is worth nothing
    /// any more when the day ends (UTC). True is for test networks; this version takes no zk-nym
    /// tickets, so that with false no client can send.
    "free-bandwidth" free_bandwidth: bool = "false";

    /// Whether clients may name private addresses as the first hop of a packet. True is for
    /// networks within one machine or one building; elsewhere it lets everybody send packets to
    /// services that only this machine can reach.
    "private-first-hops" private_first_hops: bool = "false";

    /// MiB of messages that are kept for one client while it is away, for 24 hours at most; more
    /// are dropped and not acknowledged. A regular message takes 1.7 KiB.
    "inbox-client" inbox_client: Count<1, 1_048_576> = "8";

    /// MiB of messages that are kept for all clients together. entry.sqlite can become a quarter
    /// larger than this.
    "inbox-total" inbox_total: Count<1, 16_777_216> = "1024";

    /// For the role exit: to which addresses and ports the node connects for others. "reduced" are
    /// those of usual applications (web, reading and submitting mail, chat, source code), "open" is
    /// everything. A URL or a path names a policy in Tor's syntax, one rule such as `accept *:443`
    /// in each line; the first that matches decides, and what none accepts is refused. What comes
    /// from a URL is kept in state-dir, for starts without it. A relative path starts at the
    /// directory of the configuration file. `phix-node exit-policy check` says what is refused why.
    "exit-policy" exit_policy: PolicySource = "reduced";

    /// For the role exit: how often a policy that is in a file or at a URL is read again.
    "exit-policy-refresh" exit_policy_refresh: Span<60, 2_592_000> = "6h";

    /// For the role exit: networks that the policy may accept although they are private, local,
    /// special or this machine's own. Whoever uses the exit can then reach the services there as
    /// this machine does: name as little as possible. "none" keeps all of them out of reach.
    "exit-private-targets" exit_private_targets: Or<Nothing, Networks> = "none";

    /// For the role exit: a topology file by which its services find their ways in the network,
    /// where there is no `directory`. A relative path starts at the directory of the configuration
    /// file. With neither, the node has no services, and is a gateway for those of others.
    "exit-topology" exit_topology: Or<Nothing, PathBuf> = "none";

    /// For the role exit: the nameservers that are asked for the addresses of names. "auto" is what
    /// /etc/resolv.conf and /etc/hosts say when the node starts; where nameservers are given here,
    /// neither counts.
    "exit-nameservers" exit_nameservers: Or<Auto, Nameservers> = "auto";

    /// For the role exit: the TUN device of the IP packet router, which carries the packets of
    /// whole machines, as far as exit-policy lets them. Name a device that is not there yet, phix0
    /// for instance. The node needs CAP_NET_ADMIN, /dev/net/tun and the program nft for it; it has
    /// the kernel forward packets and masquerade those of clients while it runs; "off" has none.
    "exit-router" exit_router: Or<Off, DeviceName> = "off";

    /// For exit-router: the network that clients get their IPv4 addresses from. Nothing else that
    /// this machine reaches may be in it, nor in fc00::/112, where their IPv6 addresses are.
    "exit-router-addresses" exit_router_addresses: Addresses = "10.0.0.0/16";

    /// How long a node that was told to stop goes on sending the packets it holds, before it drops
    /// the rest. Delays are 10 seconds at most.
    "drain" drain: Span<0, 60> = "5s";

    /// Crypto kernels. "auto" takes the fastest that this processor has, and the node says at start
    /// which; "portable" are those that run everywhere, and "avx2" and "avx512" do not start on a
    /// processor without these instructions.
    "crypto" crypto: Crypto = "auto";

    /// Address and port on which the node shows how it fares to programs of this machine:
    /// http://ADDRESS/metrics for Prometheus and `phix-node top`, /livez and /readyz for those who
    /// watch over services. 127.0.0.1:9178 is a good choice; "off" shows nothing. Metrics tell how
    /// much traffic there is when, which helps to find out who talks to whom: on an address that
    /// others can reach, let only your own monitoring through.
    "metrics" metrics: Or<Off, SocketAddr> = "off";

    /// How often the running node prints one line with packets in, out and dropped by reason;
    /// "off" prints none. Such lines say how much traffic there is when: keep them to yourself.
    "status-interval" status_interval: Or<Off, Span<1, 86400>> = "60s";

    /// For the role directory: address and port on which nodes and clients ask it, by HTTP. For
    /// HTTPS put a server in front of it that ends TLS, and see directory-check-source.
    "directory-listen" directory_listen: SocketAddr = "127.0.0.1:8000";

    /// For the role directory: address and port to which the packets come back with which it probes
    /// nodes. Nodes must be able to reach it, and no node may have the same IP address. "auto" is
    /// the address of directory-listen with a port that is free.
    "directory-probes" directory_probes: Or<Auto, SocketAddr> = "auto";

    /// For the role directory: how long an epoch lasts. At the beginning of each, the directory
    /// draws anew which node does what. Stock networks have 1h.
    "directory-epoch" directory_epoch: Span<1, 604_800> = "1h";

    /// For the role directory: epochs for which nodes use one Sphinx key. The nodes need as much in
    /// `rotation`, 24h for 24 epochs of 1h. With "off", all their keys are used for ever.
    "directory-rotation" directory_rotation: Or<Off, Count<3, 100_000>> = "24";

    /// For the role directory: nodes that are entry gateways in an epoch, at most.
    "directory-entries" directory_entries: Count<1, 10_000> = "70";

    /// For the role directory: nodes that are exit gateways in an epoch, at most.
    "directory-exits" directory_exits: Count<0, 10_000> = "50";

    /// For the role directory: nodes that mix in an epoch, all three layers together, at most.
    "directory-mixnodes" directory_mixnodes: Count<3, 10_000> = "120";

    /// For the role directory: nodes that stand by in an epoch, at most.
    "directory-standby" directory_standby: Count<0, 10_000> = "0";

    /// For the role directory: whether a node must register from the one address that it announces,
    /// and not too often. Without that, anyone can announce the address of another. Set it to false
    /// only where all requests come through a server in front of the directory that sees to it.
    "directory-check-source" directory_check_source: bool = "true";
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;

    #[test]
    fn defaults_are_accepted() {
        for setting in TABLE {
            let Setting { name, default, .. } = setting;
            assert!(setting.accepts(default), "{name} = {default}");
        }
        let settings = Settings::read(|name| find(name).unwrap().default).unwrap();
        assert_eq!(settings.listen.port(), 1789);
        assert!(settings.shards.get().is_none());
    }

    #[test]
    fn names_have_one_spelling_and_are_explained() {
        for (i, setting) in TABLE.iter().enumerate() {
            assert!(setting.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
            assert!(setting.help().len() > 60 && setting.help().ends_with('.'), "{}", setting.name);
            assert!(!setting.allowed().is_empty());
            assert!(TABLE[..i].iter().all(|other| other.name != setting.name));
        }
    }

    #[test]
    fn the_wrong_text_is_named() {
        let text = |name: &str| if name == "drain" { "soon" } else { find(name).unwrap().default };
        assert_eq!(Settings::read(text).err(), Some("drain"));
    }
}
