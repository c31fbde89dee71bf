//! One io_uring instance: operations in, events out, and nothing the kernel still uses is freed.
//!
//! Invariant: an operation that reads or writes our memory has that memory in `held` or `buffers`
//! until its last completion was seen; `under_way` counts operations that have not had it.
#![expect(unsafe_code, reason = "operations carry raw pointers, and accept hands out descriptors")]

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use phix_engine::units::{Span, Time};

use super::buffers::{Buffers, Filled, GROUP, LEN};
use super::message::Message;
use super::probe::Failure;
use crate::clock::MonotonicClock;
use crate::pace::sleep;
use crate::slab::Key;

const ENTRIES: u32 = 512;
const COMPLETIONS: u32 = 4096;

/// Events that end a wait early.
const MANY: usize = 64;
/// Longer than any wait.
const FOREVER: Span = Span::from_millis(1 << 40);

/// How long the kernel may take to end operations that it is told to end.
pub(super) const END_LIMIT: Span = Span::from_millis(2_000);
/// How long an attempt to end all operations may be without effect before the next one.
const CANCEL_EVERY: Span = Span::from_millis(100);

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
    /// Without a copy. Its key is that of a flight, not of a connection.
    Lend = 7,
}

impl Op {
    const ALL: [Self; 7] = [
        Self::Accept,
        Self::Wake,
        Self::Receive,
        Self::Connect,
        Self::Send,
        Self::Cancel,
        Self::Lend,
    ];
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
    /// The message that was lent for the operation; for [`Op::Lend`], see [`Ring::returned`].
    pub(super) message: Option<Box<Message>>,
    /// Whether this is the second event of a send without a copy.
    pub(super) second: bool,
    /// Whether the kernel says in it that it copied after all.
    pub(super) copied: bool,
}

/// What the second event of a send without a copy says if the kernel copied
/// (`IORING_NOTIF_USAGE_ZC_COPIED` in include/uapi/linux/io_uring.h).
const COPIED: u32 = 1 << 31;
/// Asks it to say so (`IORING_SEND_ZC_REPORT_USAGE`).
const REPORT_USAGE: u16 = 1 << 3;

/// What a completion says beyond its first buffer.
#[derive(Clone, Copy)]
struct Bundle {
    key: Key,
    left: usize,
    more: bool,
}

/// A ring with its buffers and what is lent to the kernel.
pub(super) struct Ring {
    ring: IoUring,
    buffers: Buffers,
    held: Box<[Option<Box<Message>>]>,
    reaped: VecDeque<cqueue::Entry>,
    /// The rest of a completion that is about several buffers.
    bundle: Option<Bundle>,
    /// Whether one completion may be about several buffers.
    bundles: bool,
    under_way: usize,
    given_up: bool,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

impl Ring {
    /// A ring for keys whose places are below `places`. With `bundles` one receive may fill several
    /// buffers, if the kernel says that it can do so.
    pub(super) fn new(places: usize, bundles: bool) -> Result<Self, Failure> {
        let ring = build().map_err(Failure::of("io_uring_setup was refused"))?;
        Self::with(ring, places, bundles)
    }

    fn with(ring: IoUring, places: usize, bundles: bool) -> Result<Self, Failure> {
        let bundles = bundles && ring.params().is_feature_recvsend_bundle();
        let buffers = Buffers::new();
        let what = "io_uring_register of a buffer ring, which Linux has since 5.19, was refused";
        buffers.register(&ring).map_err(Failure::of(what))?;
        let held = (0..places).map(|_| None).collect();
        let reaped = VecDeque::with_capacity(COMPLETIONS as usize);
        Ok(Self {
            ring,
            buffers,
            held,
            reaped,
            bundle: None,
            bundles,
            under_way: 0,
            given_up: false,
        })
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

    /// Receives into the ring's buffers until there is none left or the stream ends; with `once`,
    /// into one of them.
    pub(super) fn receive(&mut self, key: Key, from: BorrowedFd<'_>, once: bool) -> io::Result<()> {
        let receive = if once {
            let receive = opcode::Recv::new(raw(from), ptr::null_mut(), LEN as u32);
            receive.buf_group(GROUP).build().flags(squeue::Flags::BUFFER_SELECT)
        } else if self.bundles {
            opcode::RecvMultiBundle::new(raw(from), GROUP).build()
        } else {
            opcode::RecvMulti::new(raw(from), GROUP).build()
        };
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

    /// Like [`Ring::send`], but the kernel reads the packets where they lie. The first event says
    /// how many bytes it took, and that there will be another one if it reads them still.
    pub(super) fn lend_packets(
        &mut self,
        key: Key,
        flight: Key,
        to: BorrowedFd<'_>,
        message: Box<Message>,
    ) -> io::Result<()> {
        let header = self.lend(key, message).header();
        let send = opcode::SendMsgZc::new(raw(to), header).ioprio(REPORT_USAGE);
        self.push(send.flags(libc::MSG_NOSIGNAL as u32).build(), Op::Lend, flight)
    }

    /// The message lent for a connection, whose operation has had its first event: the kernel has
    /// read it, and reads at most the packets.
    pub(super) fn returned(&mut self, key: Key) -> Option<Box<Message>> {
        self.held[key.index()].take()
    }

    /// Ends an operation early; it still has its event.
    pub(super) fn cancel(&mut self, op: Op, key: Key) -> io::Result<()> {
        let which = CancelBuilder::user_data(key.pack(op as u8));
        self.push(opcode::AsyncCancel2::new(which).build(), Op::Cancel, Key::NONE)
    }

    fn cancel_all(&mut self) -> io::Result<()> {
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
                let timespec = timespec(wait);
                let args = SubmitArgs::new().timespec(&timespec);
                self.ring.submitter().submit_with_args(1, &args).map(drop)
            }
        };
        self.settle(result)
    }

    /// Like [`Ring::enter`], but nothing ends the wait before `hold` is over, save many events.
    pub(super) fn enter_held(&mut self, hold: Span, wait: Option<Span>) -> io::Result<()> {
        if !self.ring.params().is_feature_min_timeout() {
            self.hand_over()?;
            sleep(hold);
            return self.enter(
                wait.map(|wait| Span::from_nanos(wait.as_nanos().saturating_sub(hold.as_nanos()))),
            );
        }
        // Operations that end as soon as they are handed over are no reason to wake up.
        let begun = self.ring.submission().len();
        let many = begun + self.ring.completion().len() + MANY;
        let timespec = timespec(wait.unwrap_or(FOREVER).max(hold));
        let micros = u32::try_from(hold.as_nanos() / 1_000).unwrap_or(u32::MAX);
        let args = SubmitArgs::new().timespec(&timespec).min_wait_usec(micros);
        let result = self.ring.submitter().submit_with_args(many, &args).map(drop);
        self.settle(result)
    }

    /// Hands all operations over and lets nothing else happen.
    pub(super) fn hand_over(&mut self) -> io::Result<()> {
        let count = self.ring.submission().len() as u32;
        if count == 0 {
            return Ok(());
        }
        // SAFETY: the call has no argument, so that the kernel reads nothing but the queue.
        let result = unsafe { self.ring.submitter().enter::<()>(count, 0, 0, None) };
        self.settle(result.map(drop))
    }

    /// The next event that [`Ring::enter`] brought.
    pub(super) fn next(&mut self) -> Option<Event> {
        if let Some(bundle) = self.bundle.take() {
            return Some(self.unbundle(bundle, None));
        }
        let entry = self.reaped.pop_front()?;
        let (tag, key) = Key::unpack(entry.user_data());
        let op = Op::ALL.into_iter().find(|&op| op as u8 == tag).expect("a tag that was given");
        let more = cqueue::more(entry.flags());
        let code = entry.result();
        let second = cqueue::notif(entry.flags());
        let copied = second && code.cast_unsigned() & COPIED != 0;
        let result = if second { Ok(0) } else { count(code) };
        if !more {
            self.under_way -= 1;
        }
        if let (Some(first), Ok(left)) = (cqueue::buffer_select(entry.flags()), &result) {
            return Some(self.unbundle(Bundle { key, left: *left, more }, Some(first)));
        }
        let accepted = (op == Op::Accept && code >= 0).then(|| {
            // SAFETY: a successful accept hands a new descriptor to us alone, once.
            unsafe { OwnedFd::from_raw_fd(code) }
        });
        let lent = matches!(op, Op::Connect | Op::Send);
        let message = if lent { self.held[key.index()].take() } else { None };
        Some(Event { op, key, result, more, accepted, filled: None, message, second, copied })
    }

    /// The event of one buffer; those that follow it are events of their own.
    fn unbundle(&mut self, bundle: Bundle, first: Option<u16>) -> Event {
        let Bundle { key, left, more } = bundle;
        let filled = self.buffers.taken(first, left);
        let len = filled.len();
        let rest = left - len;
        self.bundle = (rest > 0).then_some(Bundle { key, left: rest, more });
        Event {
            op: Op::Receive,
            key,
            result: Ok(len),
            more: more || rest > 0,
            accepted: None,
            filled: Some(filled),
            message: None,
            second: false,
            copied: false,
        }
    }

    /// Ends all operations and throws their events away, for `limit` at most. True if the kernel
    /// uses no memory of ours any more.
    pub(super) fn quiet(&mut self, limit: Span) -> bool {
        let end = MonotonicClock.now().after(limit);
        let mut cancel_at = Time::ZERO;
        while !self.given_up {
            while let Some(event) = self.next() {
                drop(event);
            }
            if self.under_way == 0 {
                return true;
            }
            let now = MonotonicClock.now();
            let cancelled = if now < cancel_at {
                Ok(())
            } else {
                cancel_at = now.after(CANCEL_EVERY);
                self.cancel_all()
            };
            let entered = cancelled.and_then(|()| self.enter(Some(cancel_at.min(end).since(now))));
            self.given_up = entered.is_err() || now >= end;
        }
        false
    }

    pub(super) const fn bundles(&self) -> bool {
        self.bundles
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
        // are until the kernel has read them for the last time (`next` gives a message back only
        // after the last event, `returned` after the first of a send without a copy, of which only
        // the packets are read then; `drop` waits for all events); slots that a message points at
        // are its own, or a flight's, in a pool that outlives this ring.
        let pushed = unsafe { queue.push(&entry) };
        drop(queue);
        pushed.expect("there is room, made above");
        self.under_way += 1;
        Ok(())
    }
}

impl Drop for Ring {
    /// Waits until the kernel uses nothing of ours any more. What it does not let go of in time
    /// is never freed; [`Ring::quiet`], called before, says whether that is so.
    fn drop(&mut self) {
        if !self.quiet(END_LIMIT) {
            mem::forget(mem::replace(&mut self.buffers, Buffers::new()));
            mem::forget(mem::take(&mut self.held));
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

/// The result of an operation: a number, or an error as its negative.
fn count(code: i32) -> io::Result<usize> {
    usize::try_from(code).map_err(|_| io::Error::from_raw_os_error(-code))
}

fn timespec(span: Span) -> Timespec {
    let nanos = span.as_nanos();
    Timespec::new().sec(nanos / 1_000_000_000).nsec((nanos % 1_000_000_000) as u32)
}

fn raw(fd: BorrowedFd<'_>) -> Fd {
    Fd(fd.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use rustix::time::{ClockId, clock_gettime};

    use super::*;
    use crate::slab::Slab;

    /// A ring, unless this machine has none, which the tests of the links say aloud.
    fn ring() -> Option<Ring> {
        super::super::self_test().is_ok().then(|| Ring::new(1, false).unwrap())
    }

    #[test]
    fn quiet_ends_operations_that_nothing_else_ends() {
        let Some(mut ring) = ring() else { return };
        let (_from, to) = UnixStream::pair().unwrap();
        let key = Slab::new(1).insert(()).unwrap();
        ring.receive(key, to.as_fd(), false).unwrap();
        ring.enter(Some(Span::ZERO)).unwrap();
        assert!(ring.quiet(END_LIMIT));
        assert_eq!(ring.under_way, 0);
    }

    #[test]
    fn quiet_gives_up_in_time_and_does_not_spin() {
        let Some(mut ring) = ring() else { return };
        let used = || std::time::Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
        // An operation of which the kernel never says that it has ended.
        ring.under_way += 1;
        let (start, before) = (MonotonicClock.now(), used());
        assert!(!ring.quiet(Span::from_millis(300)));
        assert!(MonotonicClock.now().since(start) >= Span::from_millis(300));
        assert!(used() - before < std::time::Duration::from_millis(100));
        // The end leaves the memory alone and does not wait again.
        assert!(!ring.quiet(END_LIMIT));
    }

    #[test]
    fn a_refusal_names_its_step() {
        if ring().is_none() {
            return;
        }
        let buffers = Buffers::new();
        let ring = build().unwrap();
        buffers.register(&ring).unwrap();
        let error = io::Error::from(Ring::with(ring, 1, false).unwrap_err()).to_string();
        assert!(error.contains("buffer ring") && error.contains("refused ("), "{error}");
    }
}
