//! Where applications connect.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::files::words;

/// How long to wait when the system has no descriptor for another connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Why applications cannot be served.
#[derive(Debug)]
pub enum ServeError {
    /// The address is not to be had.
    Listen(SocketAddr, io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Listen(address, error) = self;
        write!(
            f,
            "applications cannot be served on {address}: {}; name another address by --listen",
            words(error)
        )
    }
}

impl std::error::Error for ServeError {}

/// A listener that goes on when descriptors are short.
#[derive(Debug)]
pub(crate) struct Listener(TcpListener);

impl Listener {
    /// Listens on `address`.
    ///
    /// # Errors
    /// If it is not to be had.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let listener = TcpListener::bind(address).await;
        listener.map(Self).map_err(|error| ServeError::Listen(address, error))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next application.
    pub(crate) async fn accept(&self) -> TcpStream {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => return stream,
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            }
        }
    }
}
