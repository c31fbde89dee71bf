//! Target: the address field of a header.

use phix_engine::wire::address::{canonical, encode, parse, routable};
use phix_engine::wire::geometry::ADDRESS;

use crate::input::Input;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut field: [u8; ADDRESS] = input.array();
    // Most first bytes are no address at all; half of the time this one is.
    if input.byte() & 1 == 1 {
        field[0] = [4, 6][usize::from(field[0] & 1)];
    }
    let Some(address) = parse(&field) else {
        assert!(field[0] != 4 && field[0] != 6);
        return;
    };
    let written = encode(address);
    assert_eq!(parse(&written), Some(address));
    let meant = if field[0] == 4 { 7 } else { 19 };
    assert_eq!(written[..meant], field[..meant]);
    assert!(written[meant..].iter().all(|byte| *byte == 0));

    let one = canonical(address);
    assert_eq!(canonical(one), one);
    assert_eq!(routable(&one), routable(&address));
    assert_eq!(one.port(), address.port());
}
