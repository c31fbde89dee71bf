//! Which addresses may be next hops.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::wire::address;

/// The addresses that a node sends packets to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NextHops {
    /// Whatever a sender names. The table of next hops is then shared out by quotas, so that
    /// strangers cannot fill it.
    #[default]
    Any,
    /// These and no others, sorted and in canonical form: what [`NextHops::only`] makes.
    Only(Arc<[SocketAddr]>),
}

impl NextHops {
    /// The given addresses and no others.
    pub fn only(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let mut all: Vec<SocketAddr> = addresses.into_iter().map(address::canonical).collect();
        all.sort_unstable();
        all.dedup();
        Self::Only(all.into())
    }

    /// Whether packets may go to `address`, which must be in canonical form.
    pub fn allows(&self, address: &SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Only(known) => known.binary_search(address).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_allows_what_is_in_it_whatever_form_it_has_there() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let list = ["[::ffff:192.0.2.1]:1789", "192.0.2.9:1", "192.0.2.1:1789"].map(address);
        let only = NextHops::only(list);
        assert!(only.allows(&address("192.0.2.1:1789")) && only.allows(&address("192.0.2.9:1")));
        assert!(!only.allows(&address("192.0.2.1:1790")));
        assert!(!NextHops::only([]).allows(&list[2]));
        assert!(NextHops::Any.allows(&list[2]));
    }
}
