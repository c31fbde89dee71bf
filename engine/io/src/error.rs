//! Why a server does not start, as sentences for a person.

use std::net::{IpAddr, SocketAddr};
use std::{fmt, io};

/// Why [`Server::start`](crate::Server::start) refused. Each message says what to do.
#[derive(Debug)]
pub enum StartError {
    /// The listening address cannot be had.
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// Connections out cannot come from the source address.
    Source {
        /// The address asked for.
        address: IpAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The link that was asked for does not work on this machine.
    Link {
        /// What failed, and how.
        reason: String,
    },
    /// No shards were asked for.
    NoShards,
    /// Sends without a copy were asked for and cannot be had.
    ZeroCopy {
        /// Why not.
        reason: &'static str,
    },
    /// There are not as many listeners as shards.
    Listeners {
        /// How many shards were asked for.
        shards: usize,
        /// How many listeners there are.
        there: usize,
    },
    /// A thread, or what it needs, cannot be had.
    Resources {
        /// What could not be had.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl StartError {
    pub(crate) fn resources(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Resources { what, error }
    }
}

/// The system's words without the number behind them.
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, error } => {
                let advice = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "choose another address with --listen or stop the program that uses it"
                    }
                    io::ErrorKind::AddrNotAvailable => {
                        "no interface of this machine has that address; choose another with \
                         --listen"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "choose a port above 1023 with --listen or allow this program to use it"
                    }
                    _ => "choose another address with --listen",
                };
                let words = words(error).to_lowercase();
                write!(f, "cannot listen on {address}: {words}; {advice}")
            }
            Self::Source { address, error } => {
                let words = match error.kind() {
                    io::ErrorKind::AddrNotAvailable => {
                        "no interface of this machine has that address".to_owned()
                    }
                    _ => words(error).to_lowercase(),
                };
                write!(
                    f,
                    "cannot connect from source {address}: {words}; set --source to an address \
                     of this machine, or leave it out"
                )
            }
            Self::Link { reason } => write!(
                f,
                "{reason}; choose --link epoll or --link auto, or allow io_uring for this program"
            ),
            Self::NoShards => f.write_str("a server needs at least one shard; set shards to 1"),
            Self::ZeroCopy { reason } => {
                write!(f, "packets cannot be sent without a copy ({reason}); set send-zc to auto")
            }
            Self::Listeners { shards, there } => write!(
                f,
                "{shards} shards cannot go on where {there} were; set shards to {there}, or stop \
                 the node and start it again"
            ),
            Self::Resources { what, error } => {
                write!(f, "cannot get {what}: {}; raise the limits of this program", words(error))
            }
        }
    }
}

impl std::error::Error for StartError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_say_what_to_do() {
        let error = io::Error::from_raw_os_error(libc::EADDRINUSE);
        let address = SocketAddr::from(([127, 0, 0, 1], 1789));
        assert_eq!(
            StartError::Listen { address, error }.to_string(),
            "cannot listen on 127.0.0.1:1789: address already in use; choose another address \
             with --listen or stop the program that uses it"
        );
    }
}
