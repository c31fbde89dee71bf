//! The server that applications connect to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use phix_proto::requester::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::handshake::{Handshake, MESSAGE_MAX, Refusal, Step};
use super::inlet::Failure;
use super::login::Login;
use super::relay::{Broken, relay};
use super::tunnel::Tunnel;
use super::verdict;
use super::wire::{ReplyCode, reply};
use crate::listener::{Listener, ServeError};

/// How long an application may take until it has said what it wants.
const GREETING: Duration = Duration::from_secs(10);

/// How long one that is sent away is given to read why.
const PARTING: Duration = Duration::from_secs(1);

/// What applications may do.
#[derive(Debug)]
pub struct Rules {
    /// What they have to know, if anything.
    pub login: Option<Login>,
    /// Connections at a time; who comes when there are so many waits.
    pub connections: usize,
    /// How long an exit may take to connect.
    pub patience: Duration,
}

/// A SOCKS5 server.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    rules: Arc<Rules>,
}

impl Server {
    /// Listens on `address`.
    ///
    /// # Errors
    /// If it is not to be had.
    pub async fn bind(address: SocketAddr, rules: Rules) -> Result<Self, ServeError> {
        Ok(Self { listener: Listener::bind(address).await?, rules: Arc::new(rules) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves applications for as long as it is polled.
    pub async fn run(&self, tunnel: &Arc<Tunnel>) {
        let places = Arc::new(Semaphore::new(self.rules.connections));
        let mut served = JoinSet::new();
        loop {
            let (place, application) = tokio::select! {
                next = self.next(&places) => next,
                Some(_) = served.join_next(), if !served.is_empty() => continue,
            };
            tunnel.stats().count("connections accepted");
            served.spawn(serve(application, tunnel.clone(), self.rules.clone(), place));
        }
    }

    /// The next application, once there is a place for it.
    async fn next(&self, places: &Arc<Semaphore>) -> (OwnedSemaphorePermit, TcpStream) {
        let place = places.clone().acquire_owned().await.expect("places are never closed");
        (place, self.listener.accept().await)
    }
}

async fn serve(
    mut application: TcpStream,
    tunnel: Arc<Tunnel>,
    rules: Arc<Rules>,
    _place: OwnedSemaphorePermit,
) {
    let stats = tunnel.stats();
    // Without it small answers are late; nothing else changes.
    let _ = application.set_nodelay(true);
    let greeted = timeout(GREETING, greet(&mut application, rules.login.as_ref())).await;
    let (target, early) = match greeted {
        Ok(Ok(wanted)) => wanted,
        Ok(Err(Some(refusal))) => return stats.count(refusal.name()),
        Ok(Err(None)) => return stats.count("sent away: left early"),
        Err(_) => return stats.count("sent away: too slow"),
    };
    let line = tunnel.line();
    let listed = stats.list(target.to_string(), line.inlet().clone());
    let opened = timeout(rules.patience, line.open(target)).await;
    let failed = match opened {
        Ok(Ok(())) => None,
        Ok(Err(Failure::Exit(reason))) => Some(verdict::code(&reason)),
        Ok(Err(Failure::Disorder(_))) => Some(ReplyCode::Failure),
        Ok(Err(Failure::Silence)) | Err(_) => Some(ReplyCode::TimedOut),
    };
    if let Some(code) = failed {
        stats.count(code.name());
        part(&mut application, &reply(code)).await;
    } else if application.write_all(&reply(ReplyCode::Succeeded)).await.is_ok() {
        stats.count(ReplyCode::Succeeded.name());
        listed.row.opened();
        match relay(&mut application, &line, &early, &listed.row.sent).await {
            Ok(()) => {}
            Err(Broken::Application) => stats.count("broken off: by the application"),
            Err(Broken::Exit(failure)) => {
                stats.count(failure.name());
                // An end that looks like any other would pass half of a file for all of it.
                let _ = application.set_zero_linger();
            }
        }
    }
    drop(application);
    // If the client has ended, so has everything that this would tell it.
    let _ = line.close().await;
}

/// Lets an application say what it wants: a target, and what it said beyond that. Otherwise why it
/// was sent away, if it did not leave by itself.
async fn greet(
    application: &mut TcpStream,
    login: Option<&Login>,
) -> Result<(Target, Vec<u8>), Option<Refusal>> {
    let mut handshake = Handshake::new(login);
    let mut input = Vec::with_capacity(MESSAGE_MAX);
    loop {
        let (taken, step) = handshake.step(&input);
        input.drain(..taken);
        match step {
            Step::Read => {
                let mut chunk = [0; MESSAGE_MAX];
                let len = application.read(&mut chunk).await.map_err(|_| None)?;
                if len == 0 {
                    return Err(None);
                }
                input.extend(&chunk[..len]);
            }
            Step::Say(words) => application.write_all(&words).await.map_err(|_| None)?,
            Step::Connect(target) => return Ok((target, input)),
            Step::Refuse(refusal, words) => {
                part(application, &words).await;
                return Err(Some(refusal));
            }
        }
    }
}

/// Says something last. What the application says meanwhile is read: a socket that is closed with
/// bytes unread takes back what it has said.
async fn part(application: &mut TcpStream, words: &[u8]) {
    let parting = async {
        application.write_all(words).await?;
        application.shutdown().await?;
        let mut rest = [0; MESSAGE_MAX];
        while application.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // One that does not listen has been told all the same.
    let _ = timeout(PARTING, parting).await;
}
