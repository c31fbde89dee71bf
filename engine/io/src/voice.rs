//! How a connection out is spoken on: plainly, or in Noise. The same for both links.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use phix_engine::counters::Counters;
use phix_engine::pool::{Margins, Pool, Slot};

use crate::noise::{Begin, Greeting, HEADER_LEN, Heard, Noise, NoisePeers, Sealer, TAG_LEN};
use crate::sockets;

/// What one connection out has agreed on with the next hop.
#[derive(Debug)]
pub(crate) enum Voice {
    /// Nothing: frames go out as they are.
    Plain,
    /// A handshake is under way, in which nothing else can be sent.
    Greeting(Box<Greeting>),
    /// Each frame goes out as a record.
    Noise(Box<Sealer>),
}

/// The connection is of no use; close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Useless;

impl Voice {
    /// Whether packets can be sent.
    pub(crate) const fn is_up(&self) -> bool {
        !matches!(self, Self::Greeting(_))
    }

    /// Makes what is sent of a frame, the packet and the `front` bytes before it, for all packets
    /// where they lie. Says how much of the slots that is.
    pub(crate) fn speak<'a>(
        &mut self,
        packets: impl IntoIterator<Item = &'a Slot>,
        front: usize,
        pool: &mut Pool,
    ) -> Result<Margins, Useless> {
        match self {
            Self::Plain => Ok(Margins { front, tail: 0 }),
            Self::Greeting(_) => Err(Useless),
            Self::Noise(sealer) => {
                let margins = Margins { front: HEADER_LEN + front, tail: TAG_LEN };
                for slot in packets {
                    let record = pool.enclosed_mut(slot, margins);
                    sealer.seal(record).map_err(|_| Useless)?;
                }
                Ok(margins)
            }
        }
    }
}

/// What the connections out of one link have in common.
#[derive(Debug)]
pub(crate) struct Voices {
    pub(crate) noise: Noise,
    handshakes: u64,
    failed: u64,
    refused: u64,
}

impl Voices {
    pub(crate) const fn new(noise: Noise) -> Self {
        Self { noise, handshakes: 0, failed: 0, refused: 0 }
    }

    /// Whether there may be a connection to `address` at all.
    pub(crate) fn may_connect(&mut self, address: IpAddr) -> bool {
        let may = self.noise.speaks_with(address);
        self.refused += u64::from(!may);
        may
    }

    /// Begins on a connection that has just come up, unless it is of no use.
    pub(crate) fn begin(&mut self, address: IpAddr, on: &impl AsFd) -> Result<Voice, Useless> {
        match self.noise.connected(address) {
            Ok(Begin::Plain) => Ok(Voice::Plain),
            Ok(Begin::Noise((greeting, message))) if sockets::say(on, &message) => {
                Ok(Voice::Greeting(greeting))
            }
            Ok(Begin::Noise(_) | Begin::Refused) | Err(_) => {
                self.failed += 1;
                Err(Useless)
            }
        }
    }

    /// Takes bytes that came during a handshake; what comes afterwards is of no interest.
    pub(crate) fn hear(
        &mut self,
        voice: &mut Voice,
        mut bytes: &[u8],
        on: &impl AsFd,
    ) -> Result<(), Useless> {
        while !bytes.is_empty()
            && let Voice::Greeting(greeting) = voice
        {
            let heard = greeting.hear(&mut bytes).map_err(|_| Useless)?;
            let (reply, session) = match heard {
                Heard::Part => (None, None),
                Heard::Reply(message) => (Some(message), None),
                Heard::Done(message, session) => (message, Some(session)),
            };
            if reply.is_some_and(|message| !sockets::say(on, &message)) {
                return Err(Useless);
            }
            if let Some(session) = session {
                self.handshakes += 1;
                *voice = Voice::Noise(Box::new(session.sealer));
            }
        }
        Ok(())
    }

    /// Takes note of a connection that is lost before its time.
    pub(crate) fn lost(&mut self, voice: &Voice) {
        self.failed += u64::from(!voice.is_up());
    }

    /// Adds what was counted since the last time.
    pub(crate) fn settle(&mut self, counters: &mut Counters) {
        counters.noise_handshakes += std::mem::take(&mut self.handshakes);
        counters.noise_failed += std::mem::take(&mut self.failed);
        counters.plain_refused += std::mem::take(&mut self.refused);
    }

    /// Speaks with these from now on. Connections that there are go on as they began.
    pub(crate) fn set_peers(&mut self, peers: Arc<NoisePeers>) {
        self.noise.peers = peers;
    }
}
