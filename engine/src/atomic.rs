//! The atomics that shards share: those of the core library, or in tests under `cfg(loom)` those of
//! loom, which runs the tests of their users through every order of events.

#[cfg(not(all(loom, test)))]
pub(crate) use core::hint::spin_loop;
#[cfg(not(all(loom, test)))]
pub(crate) use core::sync::atomic::{AtomicU64, Ordering};
#[cfg(all(loom, test))]
pub(crate) use loom::hint::spin_loop;
#[cfg(all(loom, test))]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
