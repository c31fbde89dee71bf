//! The socket between a running node and the one that is to take its place: whole messages, each
//! with a descriptor or without one.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_send_buffer_size, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use zeroize::Zeroizing;

use super::wire::{MESSAGE_MAX, Message};

/// How long the other side may leave a message unread.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// One end of the socket.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

impl Channel {
    /// Both ends.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (own, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self::over(own)?, other))
    }

    /// The end that was handed to this process.
    pub(super) fn over(socket: OwnedFd) -> io::Result<Self> {
        set_socket_send_buffer_size(&socket, 4 * MESSAGE_MAX)?;
        set_socket_timeout(&socket, Timeout::Send, Some(SEND_LIMIT))?;
        Ok(Self(socket))
    }

    pub(super) fn send(&self, message: &Message) -> io::Result<()> {
        self.send_bytes(message, &mut SendAncillaryBuffer::default())
    }

    pub(super) fn send_with(&self, message: &Message, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut along = SendAncillaryBuffer::new(&mut space);
        let fds = [fd];
        along.push(SendAncillaryMessage::ScmRights(&fds));
        self.send_bytes(message, &mut along)
    }

    fn send_bytes(
        &self,
        message: &Message,
        along: &mut SendAncillaryBuffer<'_, '_, '_>,
    ) -> io::Result<()> {
        let bytes = message.bytes();
        let sent = sendmsg(&self.0, &[IoSlice::new(&bytes)], along, SendFlags::NOSIGNAL)?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// The next message, and its descriptor if it has one; nothing when the other side has gone.
    ///
    /// # Errors
    /// If none comes within `limit`, what comes is none, or there is no room for its descriptor.
    pub(super) fn receive(
        &self,
        limit: Duration,
    ) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
        set_socket_timeout(&self.0, Timeout::Recv, Some(limit.max(Duration::from_millis(1))))?;
        let mut bytes = Zeroizing::new(vec![0; MESSAGE_MAX]);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut along = RecvAncillaryBuffer::new(&mut space);
        let into = &mut [IoSliceMut::new(&mut bytes)];
        let got = match recvmsg(&self.0, into, &mut along, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            other => other?,
        };
        let fd = along.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        if got.bytes == 0 {
            return Ok(None);
        }
        if got.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other("no room for a descriptor"));
        }
        let no_message = |_| io::Error::other("the other side says what is no message");
        Ok(Some((Message::read(&bytes[..got.bytes]).map_err(no_message)?, fd)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_travel_with_their_messages() {
        let (one, other) = Channel::pair().unwrap();
        let other = Channel::over(other).unwrap();
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        one.send_with(&Message::Lock, file.as_fd()).unwrap();
        one.send(&Message::Go).unwrap();
        drop(one);
        let limit = Duration::from_secs(10);
        let (message, fd) = other.receive(limit).unwrap().unwrap();
        assert!(matches!(message, Message::Lock));
        let (ours, theirs) = (file.metadata().unwrap(), std::fs::File::from(fd.unwrap()));
        assert_eq!(ours.len(), theirs.metadata().unwrap().len());
        let (message, fd) = other.receive(limit).unwrap().unwrap();
        assert!(matches!(message, Message::Go) && fd.is_none());
        assert!(other.receive(limit).unwrap().is_none(), "the other side has gone");
        let (_one, other) = Channel::pair().unwrap();
        let silent = Channel::over(other).unwrap();
        let error = silent.receive(Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
