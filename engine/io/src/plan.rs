//! Which link this machine gets, and why.

use std::fmt;
use std::str::FromStr;

use crate::error::{StartError, words};
use crate::uring;

/// The operator's choice of link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkChoice {
    /// io_uring if it passes a self-test, else epoll.
    #[default]
    Auto,
    /// io_uring, or no start at all.
    Uring,
    /// epoll.
    Epoll,
}

/// A kind of link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// Completion queues: one ring per shard.
    Uring,
    /// Readiness: one epoll instance per shard.
    Epoll,
}

impl LinkKind {
    /// Its name, as settings and metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Whether packets are sent from where they lie, without a copy by the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroCopy {
    /// On connections on which a trial shows that the kernel does not copy after all.
    Auto,
    /// On all connections.
    On,
    /// Never. A next hop that reads nothing holds no slots, as what it has not read is a copy.
    #[default]
    Off,
}

impl fmt::Display for ZeroCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

impl FromStr for ZeroCopy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Auto, Self::On, Self::Off];
        all.into_iter().find(|one| one.to_string() == text).ok_or(())
    }
}

/// What is made of a wish on this machine, with `kind`, and a few words about it.
///
/// # Errors
/// If sends without a copy were demanded and cannot be had.
pub fn zero_copy(wish: ZeroCopy, kind: LinkKind) -> Result<(ZeroCopy, String), StartError> {
    if wish == ZeroCopy::Off {
        return Ok((wish, "off, as configured".to_owned()));
    }
    let found = match kind {
        LinkKind::Uring => apart(uring::zero_copy).unwrap_or(Err("its trial panicked")),
        LinkKind::Epoll => Err("only the io_uring link has it"),
    };
    match (found, wish) {
        (Ok(_), ZeroCopy::On) => Ok((wish, "on, as configured".to_owned())),
        (Ok(copied), _) => {
            let over = if copied { "copies" } else { "does not copy" };
            Ok((wish, format!("tried on each connection; over loopback the kernel {over}")))
        }
        (Err(reason), ZeroCopy::On) => Err(StartError::ZeroCopy { reason }),
        (Err(reason), _) => Ok((ZeroCopy::Off, format!("off: {reason}"))),
    }
}

/// Runs `test` on a thread of its own; nothing if it panicked or there is no thread.
fn apart<T: Send + 'static>(test: fn() -> T) -> Option<T> {
    let thread = std::thread::Builder::new().name("phix-self-test".to_owned());
    thread.spawn(test).ok()?.join().ok()
}

/// The link that is used, and a sentence that says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPlan {
    /// Which one.
    pub kind: LinkKind,
    /// Why.
    pub reason: String,
}

/// A word that names no link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLink(String);

impl fmt::Display for UnknownLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no link named \"{}\"; choose auto, io_uring or epoll", self.0)
    }
}

impl std::error::Error for UnknownLink {}

impl FromStr for LinkChoice {
    type Err = UnknownLink;

    fn from_str(text: &str) -> Result<Self, UnknownLink> {
        match text {
            "auto" => Ok(Self::Auto),
            "io_uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            other => Err(UnknownLink(other.to_owned())),
        }
    }
}

impl fmt::Display for LinkChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

/// Decides on a link. io_uring is tried out, not believed: kernels and containers differ.
///
/// # Errors
/// If io_uring was demanded and does not work.
pub fn plan(choice: LinkChoice) -> Result<LinkPlan, StartError> {
    if choice == LinkChoice::Epoll {
        return Ok(LinkPlan { kind: LinkKind::Epoll, reason: "epoll: as configured".to_owned() });
    }
    match tested() {
        Ok(()) => {
            let reason = format!("io_uring: kernel {} passed the self-test", kernel());
            Ok(LinkPlan { kind: LinkKind::Uring, reason })
        }
        Err(failure) => {
            let mut reason = format!("{} ({})", failure.what, words(&failure.error));
            if failure.switched_off() {
                reason.push_str("; io_uring is switched off here");
            }
            match choice {
                LinkChoice::Uring => Err(StartError::Link { reason }),
                _ => Ok(LinkPlan { kind: LinkKind::Epoll, reason: format!("epoll: {reason}") }),
            }
        }
    }
}

/// The self-test, on a thread of its own: the kernel interrupts calls of a thread that has had a
/// ring, and the caller's calls are none of our business.
fn tested() -> Result<(), uring::Failure> {
    let thread = std::thread::Builder::new().name("phix-self-test".to_owned());
    let failure = |error| uring::Failure { what: "the io_uring self-test cannot run", error };
    let handle = thread.spawn(uring::self_test).map_err(failure)?;
    let died = |_| failure(std::io::Error::other("it panicked"));
    handle.join().unwrap_or_else(|panic| Err(died(panic)))
}

fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_back() {
        for choice in [LinkChoice::Auto, LinkChoice::Uring, LinkChoice::Epoll] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        let unknown = "iouring".parse::<LinkChoice>().unwrap_err();
        assert!(unknown.to_string().contains("choose auto, io_uring or epoll"));
    }

    #[test]
    fn packets_are_copied_where_nothing_else_can_be_had() {
        let (decided, words) = zero_copy(ZeroCopy::Auto, LinkKind::Epoll).unwrap();
        assert_eq!(
            (decided, words.as_str()),
            (ZeroCopy::Off, "off: only the io_uring link has it")
        );
        let refused = zero_copy(ZeroCopy::On, LinkKind::Epoll).unwrap_err().to_string();
        assert!(refused.contains("set send-zc to auto"), "{refused}");
        for wish in [ZeroCopy::Auto, ZeroCopy::On, ZeroCopy::Off] {
            assert_eq!(wish.to_string().parse(), Ok(wish));
        }
    }

    #[test]
    fn epoll_is_never_refused() {
        assert_eq!(plan(LinkChoice::Epoll).unwrap().kind, LinkKind::Epoll);
        assert!(plan(LinkChoice::Auto).is_ok());
    }
}
