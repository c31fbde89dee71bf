//! What the kernel reads of ours while it connects or sends: addresses and vectors that stay put.
//!
//! A [`Message`] lives in a box, belongs to one connection out and is lent to the kernel for one
//! operation at a time (see `Ring::send`). The pointers in it lead into the box itself and into
//! the slots that the message owns.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::ptr;

use phix_engine::limits::SEND_MAX;
use phix_engine::pool::Pool;
use socket2::SockAddr;

use crate::sending::Sending;

/// The argument block of one connection out.
pub(super) struct Message {
    pub(super) address: SockAddr,
    /// The packets under way; they stay here as long as the vector points at them.
    pub(super) sending: Option<Sending>,
    vector: [libc::iovec; SEND_MAX],
    header: libc::msghdr,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").field("sending", &self.sending).finish_non_exhaustive()
    }
}

impl Message {
    pub(super) fn new(address: SocketAddr) -> Box<Self> {
        let nothing = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        let header = libc::msghdr {
            msg_name: ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: ptr::null_mut(),
            msg_iovlen: 0,
            msg_control: ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        };
        let vector = [nothing; SEND_MAX];
        Box::new(Self { address: address.into(), sending: None, vector, header })
    }

    /// Points the vector at what is still to be sent. `pool` is that of the slots in `sending`.
    pub(super) fn aim(self: &mut Box<Self>, pool: &Pool) {
        let rest = self.sending.as_ref().map(|sending| sending.rest(pool)).unwrap_or_default();
        for (entry, slice) in self.vector.iter_mut().zip(&rest) {
            *entry = iovec(slice);
        }
        self.header.msg_iov = self.vector.as_mut_ptr();
        self.header.msg_iovlen = rest.len();
    }

    pub(super) const fn header(&self) -> *const libc::msghdr {
        &raw const self.header
    }
}

fn iovec(slice: &IoSlice<'_>) -> libc::iovec {
    libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: slice.len() }
}
