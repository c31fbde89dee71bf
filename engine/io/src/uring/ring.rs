//! One io_uring instance: operations in, events out, and nothing the kernel still uses is freed.
//!
//! Invariant: an operation that reads or writes our memory has that memory in `held` or `buffers`
//! until its last completion was seen; `under_way` counts operations that have not had it.
#![expect(unsafe_code, reason = "operations carry raw pointers, and accept hands out descriptors")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use phix_engine::units::Span;

use super::buffers::{Buffers, Filled, GROUP};
use super::message::Message;
use crate::slab::Key;

const ENTRIES: u32 = 512;
const COMPLETIONS: u32 = 4096;

/// What an operation does, as the tag of its packed key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Op {
    Accept = 1,
    Wake = 2,
    Receive = 3,
    Connect = 4,
    Send = 5,
    Cancel = 6,
}

impl Op {
    const ALL: [Self; 6] =
        [Self::Accept, Self::Wake, Self::Receive, Self::Connect, Self::Send, Self::Cancel];
}

/// What became of an operation.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) op: Op,
    pub(super) key: Key,
    /// Bytes, where the operation counts them.
    pub(super) result: io::Result<usize>,
    /// Whether the operation goes on and will have further events.
    pub(super) more: bool,
    /// The accepted connection.
    pub(super) accepted: Option<OwnedFd>,
    /// The buffer that was filled.
    pub(super) filled: Option<Filled>,
    /// The message that was lent for the operation.
    pub(super) message: Option<Box<Message>>,
}

/// A ring with its buffers and what is lent to the kernel.
pub(super) struct Ring {
    ring: IoUring,
    buffers: Buffers,
    held: Box<[Option<Box<Message>>]>,
    reaped: VecDeque<cqueue::Entry>,
    under_way: usize,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

impl Ring {
    /// A ring for keys whose places are below `places`.
    pub(super) fn new(places: usize) -> io::Result<Self> {
        let ring = build()?;
        let buffers = Buffers::new();
        buffers.register(&ring)?;
        let held = (0..places).map(|_| None).collect();
        let reaped = VecDeque::with_capacity(COMPLETIONS as usize);
        Ok(Self { ring, buffers, held, reaped, under_way: 0 })
    }

    /// Accepts connections until told otherwise.
    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(raw(listener)).flags(libc::SOCK_CLOEXEC).build();
        self.push(accept, Op::Accept, Key::NONE)
    }

    /// Reports each wake-up until told otherwise.
    pub(super) fn watch(&mut self, waker: impl AsFd) -> io::Result<()> {
        let poll = opcode::PollAdd::new(raw(waker.as_fd()), libc::POLLIN as u32).multi(true);
        self.push(poll.build(), Op::Wake, Key::NONE)
    }

    /// Receives into the ring's buffers until there is none left or the stream ends.
    pub(super) fn receive(&mut self, key: Key, from: BorrowedFd<'_>) -> io::Result<()> {
        let receive = opcode::RecvMulti::new(raw(from), GROUP).build();
        self.push(receive, Op::Receive, key)
    }

    /// Connects to the message's address. The message comes back with the event.
    pub(super) fn connect(
        &mut self,
        key: Key,
        socket: BorrowedFd<'_>,
        message: Box<Message>,
    ) -> io::Result<()> {
        let message = self.lend(key, message);
        let (address, len) = (message.address.as_ptr(), message.address.len());
        let connect = opcode::Connect::new(raw(socket), address.cast(), len).build();
        self.push(connect, Op::Connect, key)
    }

    /// Sends what the message is aimed at. The message comes back with the event.
    pub(super) fn send(
        &mut self,
        key: Key,
        to: BorrowedFd<'_>,
        message: Box<Message>,
    ) -> io::Result<()> {
        let header = self.lend(key, message).header();
        let send = opcode::SendMsg::new(raw(to), header).flags(libc::MSG_NOSIGNAL as u32).build();
        self.push(send, Op::Send, key)
    }

    /// Ends an operation early; it still has its event.
    pub(super) fn cancel(&mut self, op: Op, key: Key) -> io::Result<()> {
        let which = CancelBuilder::user_data(key.pack(op as u8));
        self.push(opcode::AsyncCancel2::new(which).build(), Op::Cancel, Key::NONE)
    }

    /// Ends all operations early.
    pub(super) fn cancel_all(&mut self) -> io::Result<()> {
        self.push(opcode::AsyncCancel2::new(CancelBuilder::any()).build(), Op::Cancel, Key::NONE)
    }

    /// Hands all operations over and waits for an event, for `wait` at most, or for as long as it
    /// takes.
    pub(super) fn enter(&mut self, wait: Option<Span>) -> io::Result<()> {
        let result = match wait {
            Some(Span::ZERO) => self.submit(),
            _ if !self.ring.completion().is_empty() => self.submit(),
            None => self.ring.submitter().submit_and_wait(1).map(drop),
            Some(wait) => {
                let nanos = wait.as_nanos();
                let seconds = nanos / 1_000_000_000;
                let timespec = Timespec::new().sec(seconds).nsec((nanos % 1_000_000_000) as u32);
                let args = SubmitArgs::new().timespec(&timespec);
                self.ring.submitter().submit_with_args(1, &args).map(drop)
            }
        };
        self.settle(result)
    }

    /// The next event that [`Ring::enter`] brought.
    pub(super) fn next(&mut self) -> Option<Event> {
        let entry = self.reaped.pop_front()?;
        let (tag, key) = Key::unpack(entry.user_data());
        let op = Op::ALL.into_iter().find(|&op| op as u8 == tag).expect("a tag that was given");
        let more = cqueue::more(entry.flags());
        let code = entry.result();
        let result = usize::try_from(code).map_err(|_| io::Error::from_raw_os_error(-code));
        if !more {
            self.under_way -= 1;
        }
        let filled = cqueue::buffer_select(entry.flags()).map(|id| {
            self.buffers.taken();
            Filled::new(id, result.as_ref().copied().unwrap_or(0))
        });
        let accepted = (op == Op::Accept && code >= 0).then(|| {
            // SAFETY: a successful accept hands a new descriptor to us alone, once.
            unsafe { OwnedFd::from_raw_fd(code) }
        });
        let lent = matches!(op, Op::Connect | Op::Send);
        let message = if lent { self.held[key.index()].take() } else { None };
        Some(Event { op, key, result, more, accepted, filled, message })
    }

    pub(super) const fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    pub(super) const fn buffers_mut(&mut self) -> &mut Buffers {
        &mut self.buffers
    }

    fn lend(&mut self, key: Key, message: Box<Message>) -> &Message {
        let place = &mut self.held[key.index()];
        assert!(place.is_none(), "one operation per message and connection at a time");
        place.insert(message)
    }

    fn submit(&mut self) -> io::Result<()> {
        let idle = {
            let queue = self.ring.submission();
            queue.is_empty() && !queue.taskrun() && !queue.cq_overflow()
        };
        if idle { Ok(()) } else { self.ring.submit().map(drop) }
    }

    /// Takes in what has happened. A call to the kernel may end early; that is no failure.
    fn settle(&mut self, result: io::Result<()>) -> io::Result<()> {
        let passing = [libc::ETIME, libc::EINTR, libc::EBUSY, libc::EAGAIN];
        self.reaped.extend(self.ring.completion());
        match result {
            Err(error) if error.raw_os_error().is_some_and(|code| passing.contains(&code)) => {
                Ok(())
            }
            other => other,
        }
    }

    fn push(&mut self, entry: squeue::Entry, op: Op, key: Key) -> io::Result<()> {
        let entry = entry.user_data(key.pack(op as u8));
        while self.ring.submission().is_full() {
            let result = self.ring.submit().map(drop);
            self.settle(result)?;
        }
        let mut queue = self.ring.submission();
        // SAFETY: whatever the operation points at is in `held` or `buffers`, which stay where they
        // are until its last event (`next` gives a message back only then, `drop` waits for it);
        // slots that a message points at are its own, in a pool that outlives this ring.
        let pushed = unsafe { queue.push(&entry) };
        drop(queue);
        pushed.expect("there is room, made above");
        self.under_way += 1;
        Ok(())
    }
}

impl Drop for Ring {
    /// Waits until the kernel uses nothing of ours any more.
    fn drop(&mut self) {
        let pause = Span::from_millis(10);
        while self.under_way > 0 {
            while let Some(event) = self.next() {
                drop(event);
            }
            if self.under_way == 0 {
                return;
            }
            let entered = self.cancel_all().and_then(|()| self.enter(Some(pause)));
            assert!(entered.is_ok(), "the kernel must take operations back before memory goes");
        }
    }
}

/// The best set of flags that this kernel has.
fn build() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(COMPLETIONS).setup_clamp().setup_submit_all().dontfork();
    let plain = builder.clone();
    builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    let best = builder.build(ENTRIES);
    match best {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let mut builder = plain;
            builder.setup_coop_taskrun().setup_taskrun_flag();
            builder.build(ENTRIES)
        }
        other => other,
    }
}

fn raw(fd: BorrowedFd<'_>) -> Fd {
    Fd(fd.as_raw_fd())
}
