//! What a network requester counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::entry::counts::Gauge;

/// Makes the rows into an enum, and what is known of each variant.
macro_rules! reasons {
    ($(#[doc = $what:literal])+ $type:ident;
     $($(#[doc = $doc:literal])+ $variant:ident $name:literal;)+) => {
        $(#[doc = $what])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $type {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// Why a connection ended, or did not come about.
    Ending;
    /// Both sides have said all that they had to say.
    Finished "finished";
    /// The policy forbids the target.
    Forbidden "forbidden";
    /// The name has no address.
    Unresolved "unresolved";
    /// No way leads to the target's addresses.
    Unreachable "unreachable";
    /// The target refused the connection.
    Refused "refused";
    /// The target did not answer in time.
    Unanswered "unanswered";
    /// There are as many connections as there may be.
    Crowded "crowded";
    /// The client has as many connections as it may.
    CrowdedClient "crowded_client";
    /// The server broke the connection.
    Reset "reset";
    /// The server took nothing for too long.
    Stuck "stuck";
    /// The client sent more than its server took.
    Overrun "overrun";
    /// What the client sent makes no stream.
    Disordered "disordered";
    /// The client said nothing for too long.
    Silent "silent";
    /// One side had closed long ago, and the other did not end.
    HalfClosed "half_closed";
    /// The client's gateway acknowledged nothing, or the client gave no reply SURBs.
    Unanswerable "unanswerable";
}

reasons! {
    /// Why a message was dropped.
    Dropped;
    /// It is no request.
    Malformed "malformed";
    /// It says no way to answer it.
    NoWay "no_way";
    /// It has come before.
    Repeated "repeated";
    /// It is for a connection that has ended.
    Late "late";
    /// No wish to connect has come for it, and there is no room to wait for one.
    EarlyFull "early_full";
    /// No wish to connect has come for it in time.
    EarlyExpired "early_expired";
    /// Too many answers wait to be sent.
    Aside "aside";
}

/// Counts of one requester, which anyone may read while it runs.
#[derive(Debug)]
pub struct Counts {
    ended: [AtomicU64; Ending::ALL.len()],
    dropped: [AtomicU64; Dropped::ALL.len()],
    /// Connections that there are.
    pub connections: Gauge,
    /// Connections that were asked for.
    pub asked: Gauge,
    /// Bytes that servers took.
    pub uploaded: Gauge,
    /// Bytes that servers sent.
    pub downloaded: Gauge,
    /// Questions about the exit that were answered.
    pub answered: Gauge,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            ended: std::array::from_fn(|_| AtomicU64::new(0)),
            dropped: std::array::from_fn(|_| AtomicU64::new(0)),
            connections: Gauge::default(),
            asked: Gauge::default(),
            uploaded: Gauge::default(),
            downloaded: Gauge::default(),
            answered: Gauge::default(),
        }
    }
}

impl Counts {
    /// Connections that ended for this reason.
    pub fn ended(&self, why: Ending) -> u64 {
        self.ended[why as usize].load(Ordering::Relaxed)
    }

    /// Messages that were dropped for this reason.
    pub fn dropped(&self, why: Dropped) -> u64 {
        self.dropped[why as usize].load(Ordering::Relaxed)
    }

    pub(super) fn note_end(&self, why: Ending) {
        self.ended[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_drop(&self, why: Dropped) {
        self.dropped[why as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl Ending {
    /// What a client is told; nothing if it need not be told, or cannot.
    pub(super) const fn words(self) -> Option<&'static str> {
        Some(match self {
            Self::Finished | Self::Silent | Self::Unanswerable => return None,
            Self::Forbidden => "this exit does not connect to that target",
            Self::Unresolved => "the name of the target has no address",
            Self::Unreachable => "no way leads to the host of the target",
            Self::Refused => "the target refuses the connection",
            Self::Unanswered => "the target did not answer in time",
            Self::Crowded => "this exit has as many connections as it may have",
            Self::CrowdedClient => "this client has as many connections as it may have",
            Self::Reset => "the target broke the connection",
            Self::Stuck => "the target took nothing for a minute",
            Self::Overrun => "more was sent than the target took",
            Self::Disordered => "what was sent makes no stream",
            Self::HalfClosed => "one side had closed the connection minutes ago",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_names_of_their_own() {
        let names: std::collections::HashSet<_> = Ending::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), Ending::ALL.len());
        let names: std::collections::HashSet<_> = Dropped::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), Dropped::ALL.len());
    }
}
