//! What the router counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Makes the reasons and their words.
macro_rules! reasons {
    ($($(#[doc = $help:literal])+ $variant:ident = $word:literal,)+) => {
        /// Why something was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Dropped {
            $($(#[doc = $help])+ $variant,)+
        }

        impl Dropped {
            /// Every reason.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// Its name in metrics.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

reasons! {
    /// A message that is none, or of a version that is not spoken.
    Malformed = "malformed",
    /// A message that brought no reply SURBs, so that there is no way back.
    NoWay = "no_way",
    /// A message of a later version outside of a stream.
    NoStream = "no_stream",
    /// A client beyond those whose streams are remembered.
    Streams = "streams_full",
    /// Packets from a client that has no addresses.
    NotConnected = "not_connected",
    /// A packet that is no IP packet, or is longer than the router takes.
    Packet = "packet_malformed",
    /// A packet from an address that is not its client's.
    Spoofed = "spoofed",
    /// A part of a packet from a client.
    Fragment = "fragment",
    /// A protocol that no policy has words for.
    Protocol = "protocol",
    /// A packet that the exit policy refuses.
    Policy = "policy",
    /// A packet from the network for nobody.
    NoClient = "no_client",
    /// A message for a client that has too much under way.
    Window = "window_full",
    /// A message that its client's gateway never acknowledged.
    Unanswerable = "unanswerable",
    /// A packet that the device did not take.
    Device = "device_full",
}

/// What the router counts.
#[derive(Debug, Default)]
pub struct Counts {
    dropped: [AtomicU64; Dropped::ALL.len()],
    /// IP packets of clients that were sent on.
    pub out: Count,
    /// IP packets that were sent to clients.
    pub back: Count,
    /// Clients that got addresses.
    pub connected: Count,
    /// Clients that lost them because they were silent.
    pub expired: Count,
    /// Clients that have addresses now.
    pub clients: Count,
}

/// One number.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set(&self, number: usize) {
        self.0.store(number as u64, Ordering::Relaxed);
    }
}

impl Counts {
    /// How often something was dropped for this reason.
    pub fn dropped(&self, why: Dropped) -> u64 {
        self.dropped[why as usize].load(Ordering::Relaxed)
    }

    pub(super) fn note(&self, why: Dropped) {
        self.dropped[why as usize].fetch_add(1, Ordering::Relaxed);
    }
}
