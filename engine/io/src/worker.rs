//! One shard's thread: it takes turns until it is told to stop.

use std::any::Any;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;
use std::{io, mem};

use phix_engine::egress::NextHops;
use phix_engine::shard::{FinalHops, Keys, Shard, Sink, Wait, turn};
use phix_engine::units::{Span, Time};

use crate::clock::MonotonicClock;
use crate::handed::Handed;
use crate::injector::Injected;
use crate::line::{Close, Line};
use crate::noise::NoisePeers;
use crate::published::{Published, ShardView};

/// How old what is published may be while the shard has something to do.
const PUBLISH_EVERY: Span = Span::from_millis(20);
/// How long packets that the kernel has may take at the end, after the drain is over.
const LAST_SENDS: Span = Span::from_millis(250);

/// How long a wait may be while connections are being brought to rest.
const RESTLESS: Span = Span::from_millis(2);

/// What a server tells its workers.
#[derive(Debug)]
pub(crate) enum Command {
    Keys(Box<Keys>),
    NoisePeers(Arc<NoisePeers>),
    /// Accept connections from here on.
    Listen(OwnedFd),
    /// Accept nothing more, open all packets that came, and give the connections in away.
    Release(SyncSender<Vec<Handed>>),
    /// Go on with these connections.
    Adopt(Vec<Handed>),
    FinalHops(FinalHops),
    NextHops(NextHops),
    /// Accept nothing more, send what is due for this long, then end.
    Stop(Duration),
    /// End now.
    Kill,
}

/// A shard and its link.
///
/// Invariant: the shard, whose slots the kernel may be reading, goes only after the link has said
/// that the kernel is done with them ([`Line::let_go`]), also where a turn panicked.
pub(crate) struct Worker<L: Line, S: Sink> {
    pub(crate) link: L,
    pub(crate) shard: Shard,
    pub(crate) sink: S,
    pub(crate) injected: Injected,
    pub(crate) commands: Receiver<Command>,
    pub(crate) published: Arc<Published>,
    pub(crate) last_publication: Time,
}

impl<L: Line, S: Sink> Worker<L, S> {
    /// Takes turns until a command, or the server's end, says stop. Says how many packets were
    /// abandoned.
    pub(crate) fn run(mut self) -> usize {
        // After a panic nothing is used any more of what it may have left half done, save the ring.
        let ran = catch_unwind(AssertUnwindSafe(|| self.run_to_end()));
        let abandoned = ran.unwrap_or_else(|panic| {
            self.published.fail(format!("its thread panicked: {}", message(&*panic)));
            // What it had cannot be counted any more.
            0
        });
        self.free();
        abandoned
    }

    /// Frees all memory that the kernel does not use.
    fn free(self) {
        let Self { mut shard, mut link, published, .. } = self;
        if link.let_go() {
            drop(link);
            drop(shard);
        } else {
            shard.leave();
            published.fail("the kernel kept packets; their memory is not freed".to_owned());
            mem::forget(shard);
        }
    }

    fn run_to_end(&mut self) -> usize {
        self.publish();
        let result = self.turns();
        if let Err(error) = &result {
            self.published.fail(format!("the link failed: {error}"));
        }
        let abandoned = result.unwrap_or_else(|_| self.end(Close::Reset));
        self.publish();
        abandoned
    }

    fn turns(&mut self) -> io::Result<usize> {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Keys(keys)) => self.shard.set_keys(*keys),
                Ok(Command::NoisePeers(peers)) => self.link.set_noise_peers(peers),
                Ok(Command::Listen(listener)) => self.link.listen(listener)?,
                Ok(Command::Release(to)) => {
                    let released = self.release()?;
                    // Who asked and is gone wants the connections to end.
                    let _ = to.send(released);
                }
                Ok(Command::Adopt(all)) => {
                    for one in all {
                        self.link.adopt(one, self.shard.intake())?;
                    }
                }
                Ok(Command::FinalHops(final_hops)) => self.shard.set_final_hops(final_hops),
                Ok(Command::NextHops(next_hops)) => self.shard.set_next_hops(next_hops),
                Ok(Command::Stop(drain)) => return self.drain(drain),
                Ok(Command::Kill) | Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                    return Ok(self.end(Close::Reset));
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => self.turn()?,
            }
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        let Self { shard, link, sink, injected, .. } = self;
        let now = turn(shard, link, sink, injected, &MonotonicClock)?;
        self.publish_in_time(now);
        if cfg!(debug_assertions) {
            self.shard.audit(self.link.assembling());
        }
        Ok(())
    }

    /// Brings the connections in to rest and gives them away. Whatever they brought has been opened
    /// then, and nothing will be any more; it still has to be sent.
    fn release(&mut self) -> io::Result<Vec<Handed>> {
        self.link.unlisten()?;
        // A handshake ends or is given up within its time.
        self.turn_while(|worker| !worker.link.is_settled())?;
        self.link.rest()?;
        self.shard.leave();
        self.turn_while(|worker| !worker.link.is_at_rest() || worker.shard.held().ready > 0)?;
        self.link.alarm(None);
        Ok(self.link.release(self.shard.intake()))
    }

    fn turn_while(&mut self, wanted: impl Fn(&Self) -> bool) -> io::Result<()> {
        while wanted(self) {
            self.link.alarm(Some(MonotonicClock.now().after(RESTLESS)));
            self.turn()?;
        }
        Ok(())
    }

    /// Sends what is due, for at most `limit`; what arrived before is taken in first.
    fn drain(&mut self, limit: Duration) -> io::Result<usize> {
        let limit = Span::from_nanos(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
        let end = MonotonicClock.now().after(limit);
        self.shard.leave();
        self.link.alarm(Some(MonotonicClock.now()));
        self.turn()?;
        self.link.close_inbound(self.shard.intake())?;
        self.link.alarm(Some(end));
        self.turn_until(end, |shard| shard.held().total() == 0)?;
        let abandoned = self.shard.abandon();
        let last = MonotonicClock.now().after(LAST_SENDS);
        self.link.alarm(Some(last));
        self.turn_until(last, |shard| shard.held().total() == 0)?;
        Ok(abandoned + self.end(Close::InOrder))
    }

    /// Takes turns until `done` or `end`.
    fn turn_until(&mut self, end: Time, done: impl Fn(&Shard) -> bool) -> io::Result<()> {
        while !done(&self.shard) && MonotonicClock.now() < end {
            self.turn()?;
        }
        Ok(())
    }

    /// Closes all connections and drops everything.
    fn end(&mut self, how: Close) -> usize {
        // What a turn that failed took in goes before the neighbours' packets, which need room.
        self.shard.ingest(MonotonicClock.now());
        self.injected.close();
        while self.shard.originate(MonotonicClock.now(), &mut self.injected) > 0 {}
        self.shard.leave();
        let closed = self.link.close_all(how, self.shard.intake());
        while let Some(completion) = self.link.completed() {
            self.shard.reclaim(completion);
        }
        self.shard.ingest(MonotonicClock.now());
        let abandoned = self.shard.abandon();
        match closed {
            Ok(()) => self.shard.audit(self.link.assembling()),
            Err(error) => self.published.fail(format!("the link failed at its end: {error}")),
        }
        abandoned
    }

    /// Publishes now and then, and before the link may wait for longer than that.
    fn publish_in_time(&mut self, now: Time) {
        let back_soon = match self.shard.deadline() {
            Wait::No => true,
            Wait::Until(time) => time.since(now) < PUBLISH_EVERY,
            Wait::Forever => false,
        };
        if !back_soon || now.since(self.last_publication) >= PUBLISH_EVERY {
            self.last_publication = now;
            self.publish();
        }
    }

    fn publish(&self) {
        self.published.store(&ShardView::of(&self.shard, self.link.connections()));
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}
