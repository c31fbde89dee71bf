//! What a client counts.

/// Names a field each, with what it means.
macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident,)+) => {
        /// Events since the client was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $help])+ pub $name: u64,)+
        }

        impl Counters {
            /// Every count with its name.
            pub const fn named(&self) -> [(&'static str, u64); [$(stringify!($name)),+].len()] {
                [$((stringify!($name), self.$name)),+]
            }
        }
    };
}

counters! {
    /// Packets that carried a fragment for the first time.
    sent_fragments,
    /// Packets that carried a fragment again, because its acknowledgement did not come in time.
    sent_again,
    /// Packets of the main stream that carried cover.
    sent_cover_main,
    /// Packets of the loop cover stream.
    sent_cover_loop,
    /// Acknowledgements of fragments that were waiting for them.
    acknowledged,
    /// Acknowledgements of cover, and of fragments acknowledged before.
    acknowledged_other,
    /// Cover that came back.
    received_cover,
    /// Fragments that came for the first time.
    received_fragments,
    /// Fragments that came again; they are not delivered twice.
    received_duplicates,
    /// Messages put together.
    received_messages,
    /// Packets that nobody could have meant for this client, or that were damaged.
    received_unreadable,
    /// Messages whose parts did not make sense when they were together.
    received_malformed,
    /// Messages given up after as many retransmissions as are allowed.
    given_up,
    /// Turns in which a packet could not be built, because the topology has no route to a gateway.
    no_route,
}
