//! Addresses of next hops: the stock encoding and ours, both ways.

use std::net::SocketAddr;

use nym_sphinx_addressing::nodes::NymNodeRoutingAddress;
use nym_sphinx_types::NodeAddressBytes;
use phix_engine::wire::address::{encode, parse};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

fn stock_encode(address: SocketAddr) -> [u8; 32] {
    let bytes: NodeAddressBytes = NymNodeRoutingAddress::from(address).try_into().unwrap();
    *bytes.as_bytes()
}

fn stock_parse(field: [u8; 32]) -> Option<SocketAddr> {
    let address = NymNodeRoutingAddress::try_from(NodeAddressBytes::from_bytes(field));
    address.ok().map(SocketAddr::from)
}

#[test]
fn the_first_byte_decides_for_both() {
    for family in 0..=255 {
        let mut field = [0xa5; 32];
        field[0] = family;
        assert_eq!(parse(&field), stock_parse(field), "{family}");
        assert_eq!(parse(&field).is_some(), [4, 6].contains(&family));
    }
}

proptest! {
    #![proptest_config(Config {
        cases: 2_000,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn both_write_the_same_and_read_it_back(address: SocketAddr) {
        let field = encode(address);
        prop_assert_eq!(field, stock_encode(address));
        let read = parse(&field);
        prop_assert_eq!(read, stock_parse(field));
        prop_assert_eq!(read.map(|it| (it.ip(), it.port())), Some((address.ip(), address.port())));
    }

    #[test]
    fn both_read_any_field_the_same(
        family in prop_oneof![Just(4_u8), Just(6), any::<u8>()],
        mut field: [u8; 32],
    ) {
        field[0] = family;
        prop_assert_eq!(parse(&field), stock_parse(field));
    }
}
