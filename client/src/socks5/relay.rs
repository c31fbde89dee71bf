//! Moves bytes between an application and its line, each way as fast as the other side takes them.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::sleep;

use super::inlet::{Failure, Next};
use super::line::{CHUNK, Line};

/// How often an application that sends nothing is known to be there by an empty message: exits end
/// a connection of which they hear nothing for five minutes.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// An exit that says when it has connected says every minute that a connection lives. One that has
/// said nothing for so long has forgotten it.
const FORGOTTEN: Duration = Duration::from_secs(200);

/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(20);

/// How a connection that was there has ended, if not by both sides saying so.
#[derive(Debug)]
pub(super) enum Broken {
    /// The application is gone.
    Application,
    /// The exit or the way to it.
    Exit(Failure),
}

/// Relays until both sides have said that they send nothing more. `early` is what the application
/// said too early; `sent` counts what it sends.
pub(super) async fn relay(
    application: &mut TcpStream,
    line: &Line,
    early: &[u8],
    sent: &AtomicU64,
) -> Result<(), Broken> {
    let (from, to) = application.split();
    let both = async {
        tokio::try_join!(up(from, line, early, sent), down(to, line))?;
        Ok(())
    };
    tokio::select! {
        ended = both => ended,
        failed = supply(line) => Err(failed),
        failed = watch(line) => Err(failed),
    }
}

/// From the application to the exit. What is not acknowledged yet has a bound; beyond it the
/// application is not read, so that it waits.
async fn up(
    mut from: ReadHalf<'_>,
    line: &Line,
    early: &[u8],
    sent: &AtomicU64,
) -> Result<(), Broken> {
    let mut buffer = vec![0; CHUNK];
    let mut underway = FuturesUnordered::new();
    let mut unacknowledged = 0;
    let (mut early, mut closed) = (early, false);
    while !closed || !underway.is_empty() {
        let room = !closed && unacknowledged < line.tunnel().unacknowledged_max();
        let len = tokio::select! {
            Some(arrived) = underway.next(), if !underway.is_empty() => {
                unacknowledged -= arrived?;
                continue;
            }
            read = read(&mut from, &mut early, &mut buffer), if room => {
                let len = read.map_err(|_| Broken::Application)?;
                closed = len == 0;
                len
            }
            () = sleep(KEEPALIVE), if !closed && underway.is_empty() => 0,
        };
        let message = line.send(&buffer[..len], closed).await;
        let message = message.map_err(|_| Broken::Exit(Failure::Silence))?;
        sent.fetch_add(len as u64, Ordering::Relaxed);
        unacknowledged += len;
        underway.push(async move {
            let arrived = message.arrived().await;
            arrived.map(|()| len).map_err(|_| Broken::Exit(Failure::Silence))
        });
    }
    Ok(())
}

async fn read(from: &mut ReadHalf<'_>, early: &mut &[u8], buffer: &mut [u8]) -> io::Result<usize> {
    if early.is_empty() {
        return from.read(buffer).await;
    }
    let (now, later) = early.split_at(early.len().min(buffer.len()));
    buffer[..now.len()].copy_from_slice(now);
    *early = later;
    Ok(now.len())
}

/// From the exit to the application.
async fn down(mut to: WriteHalf<'_>, line: &Line) -> Result<(), Broken> {
    loop {
        match line.inlet().next().await {
            Next::Bytes(bytes) => {
                to.write_all(&bytes).await.map_err(|_| Broken::Application)?;
                line.inlet().read(bytes.len());
            }
            Next::End => return to.shutdown().await.map_err(|_| Broken::Application),
            Next::Failed(failure) => return Err(Broken::Exit(failure)),
        }
    }
}

/// Keeps the exit supplied with as many SURBs as the application reads answers, for ever.
async fn supply(line: &Line) -> Broken {
    loop {
        let wanted = line.inlet().window(|| line.tunnel().share()).await;
        if line.supply(wanted).await.is_err() {
            return Broken::Exit(Failure::Silence);
        }
    }
}

/// Sees whether the exit has forgotten the connection, as it does when it cannot answer for long.
async fn watch(line: &Line) -> Broken {
    loop {
        sleep(LOOK).await;
        if line.tunnel().tells() && line.inlet().is_quiet(FORGOTTEN) {
            return Broken::Exit(Failure::Silence);
        }
    }
}
