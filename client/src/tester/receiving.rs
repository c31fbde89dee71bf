//! The tester as the last hop: its listener and the connections that packets come back on.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use phix_engine::wire::frame::{FrameParser, Piece};
use phix_io::noise::{Gathering, Greeting, Heard, Reader};

use super::noise::Speech;

/// Bytes that one read takes at most.
const READ: usize = 256 * 1024;

/// Reads in a row from one connection, so that the others have their turn.
const READS: usize = 4;

/// The tester as packets come back to it. It outlives a run, so that the nodes keep their
/// connections to it from one trial to the next.
#[derive(Debug)]
pub struct Home {
    listener: TcpListener,
    connections: Vec<Option<Inbound>>,
    buffer: Box<[u8]>,
    /// How nodes speak that connect; plainly, if nothing is said.
    speech: Option<Speech>,
    gathering: Gathering,
    /// Connections that ended in something other than frames.
    pub(super) malformed: u64,
    /// Connections that were made.
    pub(super) accepted: u64,
}

/// A connection and the packet that has come in part.
#[derive(Debug)]
struct Inbound {
    stream: TcpStream,
    parser: FrameParser,
    partial: Vec<u8>,
    voice: Voice,
}

/// How a connection speaks.
#[derive(Debug)]
enum Voice {
    Plain,
    Greeting(Box<Greeting>),
    Records(Box<Reader>),
}

/// What came is not what a node would send.
struct Malformed;

/// How a look at a connection ended.
enum Look {
    Open,
    Closed,
    Malformed,
}

impl Home {
    /// Packets come back to this listener.
    ///
    /// # Errors
    /// If the system refuses to make it one that does not wait.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let buffer = vec![0; READ].into();
        Ok(Self {
            listener,
            connections: Vec::new(),
            buffer,
            speech: None,
            gathering: Gathering::default(),
            malformed: 0,
            accepted: 0,
        })
    }

    /// The same, where the node speaks Noise on its connections.
    #[must_use]
    pub fn in_noise(self, speech: Speech) -> Self {
        Self { speech: Some(speech), ..self }
    }

    pub(super) const fn listener(&self) -> &TcpListener {
        &self.listener
    }

    /// The connections that are open, and their places.
    pub(super) fn open(&self) -> impl Iterator<Item = (usize, &TcpStream)> {
        let streams = self.connections.iter().enumerate();
        streams.filter_map(|(place, inbound)| Some((place, &inbound.as_ref()?.stream)))
    }

    /// Takes a connection that waits, if one does; gives its place and its stream.
    pub(super) fn accept(&mut self) -> io::Result<Option<(usize, &TcpStream)>> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        self.accepted += 1;
        let answer = self.speech.as_ref().map(Speech::answer);
        let voice = answer.map_or(Voice::Plain, Voice::Greeting);
        let inbound = Inbound { stream, parser: FrameParser::new(), partial: Vec::new(), voice };
        let free = self.connections.iter().position(Option::is_none);
        let place = free.unwrap_or(self.connections.len());
        if free.is_none() {
            self.connections.push(None);
        }
        Ok(Some((place, &self.connections[place].insert(inbound).stream)))
    }

    /// Reads what there is at `place` and hands over the packets of each read. A connection that
    /// has ended is closed.
    pub(super) fn read(&mut self, place: usize, packets: impl FnMut(&mut Batch<'_>)) {
        let Some(Some(inbound)) = self.connections.get_mut(place) else { return };
        match inbound.read(&mut self.buffer, &mut self.gathering, packets) {
            Look::Open => return,
            Look::Closed => {}
            Look::Malformed => self.malformed += 1,
        }
        if let Voice::Records(reader) = &mut inbound.voice {
            reader.finish(&mut self.gathering);
        }
        self.connections[place] = None;
    }
}

impl Inbound {
    fn read(
        &mut self,
        buffer: &mut [u8],
        gathering: &mut Gathering,
        mut packets: impl FnMut(&mut Batch<'_>),
    ) -> Look {
        for _ in 0..READS {
            let len = match self.stream.read(buffer) {
                Ok(0) => return Look::Closed,
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Look::Open,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Look::Closed,
            };
            if self.take(&mut buffer[..len], gathering, &mut packets).is_err() {
                return Look::Malformed;
            }
            if len < buffer.len() {
                break;
            }
        }
        Look::Open
    }

    /// Takes bytes of the stream, all of them.
    fn take(
        &mut self,
        bytes: &mut [u8],
        gathering: &mut Gathering,
        packets: &mut impl FnMut(&mut Batch<'_>),
    ) -> Result<(), Malformed> {
        let used = self.greet(bytes)?;
        let (parser, partial) = (&mut self.parser, &mut self.partial);
        let mut frames = |input: &[u8]| {
            let mut batch = Batch { input, parser, partial, failed: false };
            packets(&mut batch);
            if batch.failed { Err(Malformed) } else { Ok(input.len()) }
        };
        match &mut self.voice {
            Voice::Plain => frames(bytes).map(drop),
            Voice::Greeting(_) => Ok(()),
            Voice::Records(reader) => {
                let read = reader.push(&mut bytes[used..], gathering, frames);
                read.map(drop).map_err(|_| Malformed)
            }
        }
    }

    /// Takes bytes of the handshake, if one is under way; says how many.
    fn greet(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut rest = bytes;
        while let Voice::Greeting(greeting) = &mut self.voice {
            let (reply, session) = match greeting.hear(&mut rest).map_err(|_| Malformed)? {
                Heard::Part => break,
                Heard::Reply(reply) => (Some(reply), None),
                Heard::Done(reply, session) => (reply, Some(session)),
            };
            // The first bytes on a connection find room in it.
            reply.map_or(Ok(()), |reply| self.stream.write_all(&reply)).map_err(|_| Malformed)?;
            if let Some(session) = session {
                self.voice = Voice::Records(Box::new(Reader::new(session.opener)));
            }
        }
        Ok(bytes.len() - rest.len())
    }
}

/// The packets of one read, or of one record in it.
pub(super) struct Batch<'a> {
    input: &'a [u8],
    parser: &'a mut FrameParser,
    partial: &'a mut Vec<u8>,
    failed: bool,
}

impl Batch<'_> {
    /// Hands each packet that is complete to `packet`: from the read itself where it stands there
    /// whole.
    pub(super) fn each(&mut self, mut packet: impl FnMut(&[u8])) {
        loop {
            match self.parser.next(&mut self.input) {
                Ok(Some(Piece::Start(_))) => self.partial.clear(),
                Ok(Some(Piece::Body { bytes, last: true })) if self.partial.is_empty() => {
                    packet(bytes);
                }
                Ok(Some(Piece::Body { bytes, last })) => {
                    self.partial.extend_from_slice(bytes);
                    if last {
                        packet(self.partial);
                    }
                }
                Ok(None) => return,
                Err(_) => {
                    self.failed = true;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use phix_engine::wire::frame::FrameHeader;
    use phix_engine::wire::geometry::PacketSize;

    use super::*;

    #[test]
    fn packets_are_whole_however_the_stream_is_cut() {
        let header = FrameHeader::legacy(PacketSize::Ack);
        let mut stream = Vec::new();
        for byte in 0..9 {
            let mut frame = vec![byte; header.frame_len()];
            header.write(&mut frame);
            stream.extend(frame);
        }
        for cut in [1, 2, 3, 5, 100, 389, 390, 1000, stream.len()] {
            let (mut parser, mut partial, mut seen) = (FrameParser::new(), Vec::new(), Vec::new());
            for input in stream.chunks(cut) {
                let (parser, partial) = (&mut parser, &mut partial);
                Batch { input, parser, partial, failed: false }.each(|packet| {
                    assert!(packet.len() == 386 && packet.iter().all(|byte| *byte == packet[0]));
                    seen.push(packet[0]);
                });
            }
            assert_eq!(seen, (0..9).collect::<Vec<u8>>(), "cut at {cut}");
        }
    }

    #[test]
    fn a_connection_that_speaks_something_else_is_closed_and_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut home = Home::new(listener).unwrap();
        let mut peer = TcpStream::connect(address).unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        let place = loop {
            if let Some((place, _)) = home.accept().unwrap() {
                break place;
            }
        };
        while home.malformed == 0 {
            home.read(place, |batch| batch.each(|_| panic!("no frame was sent")));
        }
        // What is left unread turns the close into a reset.
        let closed = peer.read(&mut [0; 8]);
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
        assert_eq!(home.accepted, 1);
    }
}
