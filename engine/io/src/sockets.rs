//! Sockets as both links want them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::SendFlags;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::error::StartError;

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 1024;
/// How long sent bytes may go unacknowledged before the system gives the connection up. Longer
/// than a stalled send may last, so that the link is the first to notice.
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(20);

/// The end of a connection out.
pub(crate) fn outbound(to: SocketAddr, source: Option<IpAddr>) -> io::Result<Socket> {
    let socket = stream(to)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT))?;
    socket.set_tcp_keepalive(&keepalive())?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == to.is_ipv4()) {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket)
}

/// Whether connections out can come from `source`. Takes a port of it for a moment.
///
/// # Errors
/// If they cannot: as a rule because no interface of this machine has that address.
pub fn check_source(source: IpAddr) -> Result<(), StartError> {
    let from = SocketAddr::new(source, 0);
    let bound = stream(from).and_then(|socket| socket.bind(&from.into()));
    bound.map_err(|error| StartError::Source { address: source, error })
}

/// One listener per shard, all on one port, which the system shares out among them.
///
/// # Errors
/// If another program, or another server of this one, listens there.
pub(crate) fn listeners(at: SocketAddr, count: usize) -> io::Result<Vec<OwnedFd>> {
    // The other listeners share the port with anyone who has the same user and asks; so a first
    // one that shares it with nobody finds out whether it is free.
    let probe = stream(at)?;
    probe.set_reuse_address(true)?;
    probe.bind(&at.into())?;
    probe.listen(1)?;
    let at = probe.local_addr()?.as_socket().unwrap_or(at);
    drop(probe);
    (0..count).map(|_| listener(at)).collect()
}

/// The address of a listener, with its real port.
pub(crate) fn address(listener: &impl AsFd) -> io::Result<SocketAddr> {
    let address = SockRef::from(listener).local_addr()?;
    address.as_socket().ok_or_else(|| io::Error::other("a listener of another kind than TCP"))
}

/// Accepted connections inherit what is set here.
fn listener(at: SocketAddr) -> io::Result<OwnedFd> {
    let socket = stream(at)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive())?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A previous hop that vanished without a word must not hold its place for ever.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4)
}

/// Sends a few bytes on a connection that has sent next to nothing so far, so that the kernel takes
/// them at once. False if it did not.
pub(crate) fn say(connection: &impl AsFd, bytes: &[u8]) -> bool {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::send(connection, bytes, flags) == Ok(bytes.len())
}

/// Makes the coming close of a connection a reset, which leaves nothing to be sent behind.
pub(crate) fn reset_on_close(connection: &impl AsFd) {
    // Fails only on what is no connection any more, and has nothing to reset.
    let _ = SockRef::from(connection).set_linger(Some(Duration::ZERO));
}

fn stream(at: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_address_of_this_machine() {
        assert!(check_source("127.0.0.77".parse().unwrap()).is_ok());
        let error = check_source("9.9.9.9".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot connect from source 9.9.9.9: no interface of this machine has that address; \
             set --source to an address of this machine, or leave it out"
        );
    }

    #[test]
    fn listeners_share_a_port_among_themselves_only() {
        let all = listeners("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_eq!(all.len(), 3);
        let at = address(&all[0]).unwrap();
        assert!(all.iter().all(|one| address(one).unwrap() == at));
        assert_ne!(at.port(), 0);
        assert_eq!(listeners(at, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
