//! One connection to a server, as a task: it comes about, moves bytes both ways, and ends.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use phix_proto::requester::Target;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::answers::Answers;
use super::counts::{Counts, Ending};
use super::gate::{Closed, Gate};
use super::inbound::{Inbound, Next};
use super::limits::{
    ADDRESSES, CONNECTING, HALF_CLOSED, KEEPALIVE, LINGER, PIECE, RESOLVING, SILENCE, WRITING,
};

/// What a connection is made of.
pub(super) struct Job {
    pub(super) target: Target,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) inbound: Arc<Inbound>,
    pub(super) answers: Answers,
    pub(super) counts: Arc<Counts>,
}

impl Job {
    /// Runs the connection to its end.
    pub(super) async fn run(mut self) {
        let why = match self.live().await {
            Ok(()) => Ending::Finished,
            Err(why) => why,
        };
        self.counts.note_end(why);
        self.answers.finish(why).await;
    }

    async fn live(&mut self) -> Result<(), Ending> {
        let stream = tokio::select! {
            connected = self.connect() => connected?,
            why = self.inbound.broken() => return Err(why),
        };
        self.answers.alive().await?;
        let (reader, writer) = stream.into_split();
        let up = upload(&self.inbound, writer, &self.counts);
        let down = download(reader, &mut self.answers, &self.counts);
        tokio::pin!(up, down);
        let (mut up_ended, mut down_ended) = (false, false);
        let mut limit: Option<Instant> = None;
        while !(up_ended && down_ended) {
            let quiet_since = self.inbound.heard();
            tokio::select! {
                ended = &mut up, if !up_ended => {
                    ended?;
                    up_ended = true;
                    limit = Some(Instant::now() + HALF_CLOSED);
                }
                ended = &mut down, if !down_ended => {
                    ended?;
                    down_ended = true;
                    limit = Some(Instant::now() + LINGER);
                }
                why = self.inbound.broken(), if up_ended => return Err(why),
                () = at(limit) => {
                    return if down_ended { Ok(()) } else { Err(Ending::HalfClosed) };
                }
                () = sleep_until(quiet_since + SILENCE), if !up_ended => {
                    if self.inbound.heard() == quiet_since {
                        return Err(Ending::Silent);
                    }
                }
            }
        }
        Ok(())
    }

    async fn connect(&self) -> Result<TcpStream, Ending> {
        let found = timeout(RESOLVING, self.gate.addresses(&self.target)).await;
        let addresses = match found {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(Closed::Forbidden)) => return Err(Ending::Forbidden),
            Ok(Err(Closed::Unresolved)) | Err(_) => return Err(Ending::Unresolved),
        };
        let mut why = Ending::Unreachable;
        for address in addresses.into_iter().take(ADDRESSES) {
            match reach(address).await {
                Ok(stream) => return Ok(stream),
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }
}

async fn reach(address: SocketAddr) -> Result<TcpStream, Ending> {
    let reached = timeout(CONNECTING, TcpStream::connect(address)).await;
    let stream = reached.map_err(|_| Ending::Unanswered)?.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => Ending::Refused,
        ErrorKind::TimedOut => Ending::Unanswered,
        _ => Ending::Unreachable,
    })?;
    // Pieces are whole already; waiting for more would only add to the delay. A connection that
    // breaks already says so to whoever reads it.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn at(limit: Option<Instant>) {
    match limit {
        Some(limit) => sleep_until(limit).await,
        None => std::future::pending().await,
    }
}

/// Writes what the client sends, and closes when it does.
async fn upload(
    inbound: &Inbound,
    mut writer: OwnedWriteHalf,
    counts: &Counts,
) -> Result<(), Ending> {
    loop {
        match inbound.next().await? {
            Next::Bytes(bytes) => {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let written = tokio::select! {
                        written = timeout(WRITING, writer.write(rest)) => written,
                        why = inbound.broken() => return Err(why),
                    };
                    let written = written.map_err(|_| Ending::Stuck)?;
                    let count = written.map_err(|_| Ending::Reset)?;
                    rest = &rest[count..];
                    counts.uploaded.add(count as u64);
                }
            }
            Next::End => {
                // A server that has gone meanwhile says so to the other direction.
                let _ = writer.shutdown().await;
                return Ok(());
            }
        }
    }
}

/// Sends what the server says, as far as there is room, until it closes.
async fn download(
    reader: OwnedReadHalf,
    answers: &mut Answers,
    counts: &Counts,
) -> Result<(), Ending> {
    let mut buffer = vec![0; PIECE];
    loop {
        tokio::select! {
            ready = reader.readable() => ready.map_err(|_| Ending::Reset)?,
            () = sleep(KEEPALIVE) => {
                answers.alive().await?;
                continue;
            }
        }
        let room = answers.room().await;
        match reader.try_read(&mut buffer) {
            Ok(0) => return answers.close().await,
            Ok(count) => {
                counts.downloaded.add(count as u64);
                answers.data(&buffer[..count], room).await?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Err(Ending::Reset),
        }
    }
}
