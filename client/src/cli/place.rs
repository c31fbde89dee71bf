//! What the commands of a client in a directory have in common.

use std::io;
use std::path::PathBuf;

use clap::Args;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::Refusal;
use crate::mixnet::Client;

/// Where a client is.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Directory of the client, as `phix-client init` made it.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
}

impl Place {
    /// Starts the client.
    pub(super) async fn connect(&self) -> Result<Client, Refusal> {
        Ok(Client::builder().dir(&self.dir).connect().await?)
    }
}

/// One thread does all that a client does.
pub(super) fn runtime() -> Result<Runtime, Refusal> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Refusal(format!("the client cannot start: {error}; see ulimit -n")))
}

/// Waits until somebody wants the program to end.
pub(super) struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    /// Catches the signals from now on.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for either.
    pub(super) async fn wanted(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
