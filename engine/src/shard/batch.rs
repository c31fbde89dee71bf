//! A batch on its way: open, replay check, strip, and into the wheel.

use core::net::SocketAddr;

use arrayvec::ArrayVec;

use super::keys::Candidates;
use super::{Delivery, FinalHops, NodeKey, Ready, Shard, Sink, Undelivered};
use crate::counters::DropReason;
use crate::egress::PeerId;
use crate::limits::{BATCH_MAX, DELAY_MAX};
use crate::replay::{Mark, Verdict};
use crate::sphinx::{KeyChoice, Opened, Rejected, Route};
use crate::units::{Span, Time};
use crate::wire::address;
use crate::wire::frame::FrameHeader;
use crate::wire::geometry::HEADER;

/// What is to become of one packet of the batch.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Drop(DropReason),
    Forward { peer: PeerId, deadline: Time },
    Deliver { destination: [u8; 32], identifier: [u8; 16] },
}

type PerPacket<T> = ArrayVec<T, BATCH_MAX>;

impl Shard {
    /// Takes the `count` oldest packets that are ready, at most a batch, all the way to the wheel.
    pub(super) fn run_batch(&mut self, count: usize, now: Time, sink: &mut impl Sink) {
        let mut batch: PerPacket<Ready> = ArrayVec::new();
        for ready in self.ready.drain(..count) {
            if self.keys.candidates(ready.arrival.rotation).is_some() {
                batch.push(ready);
            } else {
                self.counters.drop_one(DropReason::KeyUnknown);
                self.pool.give_back(ready.arrival.slot);
            }
        }
        self.counters.batches += 1;
        self.counters.batched += batch.len() as u64;
        self.histograms.batch_size.note(batch.len());
        for ready in &batch {
            self.histograms.batch_wait.note(now.since(ready.at));
        }
        let fates = self.peel(&batch, now, sink);
        for (ready, fate) in batch.into_iter().zip(fates) {
            self.dispose(ready, fate, sink);
        }
    }

    /// Opens the batch, checks for replays, decides each packet's fate and strips those that go
    /// on. A replayed packet buys no payload decryption.
    fn peel(
        &mut self,
        batch: &PerPacket<Ready>,
        now: Time,
        sink: &mut impl Sink,
    ) -> PerPacket<Fate> {
        let Self { pool, peeler, keys, egress, counters, final_hops, .. } = self;
        let keys: PerPacket<Candidates<'_>> = batch
            .iter()
            .map(|ready| keys.candidates(ready.arrival.rotation).expect("checked on entry"))
            .collect();
        let choices: PerPacket<KeyChoice<'_>> = keys
            .iter()
            .map(|key| KeyChoice {
                first: &key.first.secret,
                second: key.second.map(|second| &second.secret),
            })
            .collect();
        let mut packets = pool.packets_mut(batch.iter().map(|ready| &ready.arrival.slot));
        let opened = peeler.open(&mut packets, &choices);
        let replayed = replays(opened, &keys, |key, marks| {
            if !sink.remember(&key.replay, marks) {
                counters.replay_unsaved += marks.len() as u64;
            }
        });
        let mut fates: PerPacket<Fate> = ArrayVec::new();
        for ((opened, replayed), ready) in opened.iter().zip(replayed).zip(batch) {
            let fate = match (opened, replayed) {
                (Err(reason), _) => Fate::Drop(rejection(*reason)),
                (_, Some(reason)) => Fate::Drop(reason),
                (Ok(opened), None) => match opened.route {
                    Route::Forward { next_hop, delay } => {
                        let delay = clamp(delay, &mut counters.delays_clamped);
                        let deadline = ready.at.after(delay);
                        next_peer(&next_hop, |to| egress.expect(to, now))
                            .map_or_else(Fate::Drop, |peer| Fate::Forward { peer, deadline })
                    }
                    Route::Final { .. } if *final_hops == FinalHops::Drop => {
                        Fate::Drop(DropReason::FinalHopRefused)
                    }
                    Route::Final { destination, identifier } => {
                        Fate::Deliver { destination, identifier }
                    }
                },
            };
            fates.push(fate);
        }
        let keep: PerPacket<bool> =
            fates.iter().map(|fate| !matches!(fate, Fate::Drop(_))).collect();
        peeler.strip(&mut packets, &keep);
        fates
    }

    fn dispose(&mut self, ready: Ready, fate: Fate, sink: &mut impl Sink) {
        let slot = ready.arrival.slot;
        match fate {
            Fate::Drop(reason) => self.drop_slot(slot, reason),
            Fate::Forward { peer, deadline } => {
                let header = FrameHeader {
                    version: self.frames,
                    size: self.pool.size(&slot),
                    rotation: ready.arrival.rotation,
                };
                let front = header.encoded_len();
                header.write(self.pool.framed_mut(&slot, front));
                self.bound_for[slot.index()] = Some(peer);
                self.wheel.insert(slot, deadline);
            }
            Fate::Deliver { destination, identifier } => {
                let delivered = sink.deliver(Delivery {
                    destination: &destination,
                    identifier: &identifier,
                    payload: &self.pool.packet(&slot)[HEADER..],
                    rotation: ready.arrival.rotation,
                    arrived: ready.at,
                });
                match delivered {
                    Ok(()) => {
                        self.counters.delivered += 1;
                        self.pool.give_back(slot);
                    }
                    Err(Undelivered::Malformed) => {
                        self.drop_slot(slot, DropReason::PayloadMalformed);
                    }
                    Err(Undelivered::NoRoom) => self.drop_slot(slot, DropReason::DeliveryFull),
                }
            }
        }
    }
}

const fn rejection(reason: Rejected) -> DropReason {
    match reason {
        Rejected::Mac => DropReason::HeaderMac,
        Rejected::Flag => DropReason::RoutingFlag,
        Rejected::LegacyVersion => DropReason::LegacyVersion,
    }
}

/// Marks the packets of a batch as seen, each under the key that opened it, and gives a reason to
/// drop those that were seen before. Comes after the MAC check: forged packets leave no trace.
///
/// One look-up for all packets of a key, so that the cache misses of a batch overlap; `remember`
/// takes the new marks of each key.
fn replays(
    opened: &[Result<Opened, Rejected>],
    keys: &[Candidates<'_>],
    mut remember: impl FnMut(&NodeKey, &[Mark]),
) -> PerPacket<Option<DropReason>> {
    let used = |lane: usize| -> Option<(&NodeKey, &[u8; 32])> {
        let opened = opened[lane].as_ref().ok()?;
        let key = if opened.used_second { keys[lane].second? } else { keys[lane].first };
        Some((key, &opened.replay_tag))
    };
    let mut reasons: PerPacket<Option<DropReason>> = opened.iter().map(|_| None).collect();
    let mut open: PerPacket<usize> =
        (0..opened.len()).filter(|&lane| used(lane).is_some()).collect();
    while let Some((key, _)) = open.first().and_then(|&lane| used(lane)) {
        let of_key = |&lane: &usize| used(lane).is_some_and(|(other, _)| core::ptr::eq(other, key));
        let lanes: PerPacket<usize> = open.iter().copied().filter(of_key).collect();
        let tags: PerPacket<[u8; 32]> =
            lanes.iter().filter_map(|&lane| used(lane)).map(|(_, tag)| *tag).collect();
        let mut verdicts = [Verdict::Full; BATCH_MAX];
        let mut marks: PerPacket<Mark> = ArrayVec::new();
        let verdicts = &mut verdicts[..tags.len()];
        key.replay.check_and_mark_all(&tags, verdicts, |mark| marks.push(mark));
        if !marks.is_empty() {
            remember(key, &marks);
        }
        for (&lane, verdict) in lanes.iter().zip(&*verdicts) {
            reasons[lane] = match verdict {
                Verdict::New => None,
                Verdict::Seen => Some(DropReason::Replay),
                Verdict::Full => Some(DropReason::ReplayFilterFull),
            };
        }
        open.retain(|lane| !of_key(lane));
    }
    reasons
}

fn clamp(delay: Span, clamped: &mut u64) -> Span {
    if delay > DELAY_MAX {
        *clamped += 1;
    }
    delay.min(DELAY_MAX)
}

fn next_peer(
    next_hop: &[u8; 32],
    expect: impl FnOnce(SocketAddr) -> Result<PeerId, DropReason>,
) -> Result<PeerId, DropReason> {
    let to = address::parse(next_hop).ok_or(DropReason::NextHopMalformed)?;
    peer_at(to, expect)
}

/// The peer at an address, under the one name that it has.
pub(super) fn peer_at(
    to: SocketAddr,
    expect: impl FnOnce(SocketAddr) -> Result<PeerId, DropReason>,
) -> Result<PeerId, DropReason> {
    let to = address::canonical(to);
    if !address::routable(&to) {
        return Err(DropReason::NextHopRefused);
    }
    expect(to)
}
