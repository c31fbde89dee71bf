//! Why a directory turns somebody away, and how often it did.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use phix_proto::directory::registration::Refusal;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// For what it says.
    Form(Refusal),
    /// A registration names another address than the one that it comes from.
    Source,
    /// Another node lives at the address, or has another Noise key there.
    Taken,
    /// The directory has all the nodes that it has room for.
    Full,
    /// It is from a node that is not known.
    Unknown,
    /// The source asked too often.
    Hurried,
    /// The directory cannot write down what it was told.
    Broken,
}

impl Refused {
    const OWN: [Self; 6] =
        [Self::Source, Self::Taken, Self::Full, Self::Unknown, Self::Hurried, Self::Broken];

    /// Its name where it is counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Form(refusal) => refusal.name(),
            Self::Source => "source",
            Self::Taken => "taken",
            Self::Full => "full",
            Self::Unknown => "unknown",
            Self::Hurried => "hurried",
            Self::Broken => "broken",
        }
    }

    /// The HTTP status that says it.
    pub const fn status(self) -> u16 {
        match self {
            Self::Form(Refusal::Oversize) => 413,
            Self::Form(Refusal::Signature) | Self::Source => 403,
            Self::Form(_) => 400,
            Self::Taken => 409,
            Self::Unknown => 404,
            Self::Hurried => 429,
            Self::Full => 503,
            Self::Broken => 500,
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Form(refusal)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form(refusal) => return refusal.fmt(f),
            Self::Source => {
                "it does not come from an address that it names: set --source to one that the \
                 node announces"
            }
            Self::Taken => {
                "another node that is alive has this address, or this IP address with another \
                 Noise key: give each node an address of its own"
            }
            Self::Full => "the directory is full: ask its operator",
            Self::Unknown => "no node of this identity has registered here",
            Self::Hurried => "this source registers too often: wait a minute",
            Self::Broken => "the directory cannot write it down now: try again later",
        })
    }
}

/// How often what was refused, and how often not.
#[derive(Debug, Default)]
pub struct Counts {
    registered: AtomicU64,
    form: [AtomicU64; Refusal::ALL.len()],
    own: [AtomicU64; Refused::OWN.len()],
}

impl Counts {
    /// Counts a registration that was taken.
    pub fn registered(&self) {
        self.registered.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that was not.
    pub fn refused(&self, why: Refused) {
        let counter = match why {
            Refused::Form(refusal) => {
                Refusal::ALL.iter().position(|one| *one == refusal).map(|at| &self.form[at])
            }
            own => Refused::OWN.iter().position(|one| *one == own).map(|at| &self.own[at]),
        };
        counter.expect("every reason is in its list").fetch_add(1, Ordering::Relaxed);
    }

    /// Every count with its name: what was taken first.
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let form = Refusal::ALL.iter().map(|one| one.name()).zip(self.form.iter().map(load));
        let own = Refused::OWN.iter().map(|one| one.name()).zip(self.own.iter().map(load));
        [("registered", load(&self.registered))].into_iter().chain(form).chain(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_count_of_its_own() {
        let counts = Counts::default();
        let all = Refusal::ALL.map(Refused::Form).into_iter().chain(Refused::OWN);
        for (times, why) in (1_u64..).zip(all.clone()) {
            (0..times).for_each(|_| counts.refused(why));
            assert!((400..600).contains(&why.status()) && !why.to_string().is_empty());
        }
        counts.registered();
        let expected = [("registered", 1)].into_iter().chain(all.map(Refused::name).zip(1..));
        assert_eq!(counts.all(), expected.collect::<Vec<_>>());
    }
}
