//! Why a load was not run.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;

use super::noise::NoiseFault;

/// Why a load was not run.
#[derive(Debug)]
pub enum RunError {
    /// A first hop could not be connected to.
    Connect(SocketAddr, io::Error),
    /// A first hop does not speak Noise with the tester.
    Noise(SocketAddr, NoiseFault),
    /// The system refused something that the tester needs.
    System(io::Error),
    /// The thread cannot stay on this core.
    Core(usize),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(address, error) => write!(
                f,
                "{address} cannot be connected to: {}; see that the node runs and can be reached \
                 from here",
                crate::files::words(error)
            ),
            Self::Noise(address, fault) => write!(
                f,
                "{address} does not speak Noise with this tester: {fault}; see that its key and \
                 its pattern are those given here, and that it knows the tester's key for the \
                 address that the tester connects from"
            ),
            Self::System(error) => write!(
                f,
                "the system refused sockets or timers: {}; see that files may still be opened",
                crate::files::words(error)
            ),
            Self::Core(core) => {
                write!(f, "this program may not run on core {core}; name one that it may run on")
            }
        }
    }
}

impl std::error::Error for RunError {}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<Errno> for RunError {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}
