//! Connections of clients, from the listener to their session.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use phix_client::files::words;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::Shared;
use super::counts::Refusal;
use super::greeting::meet;
use super::session;
use super::socket::Socket;
use super::unproved::Place;
use crate::fault::Fault;

/// How long to wait where the system has no descriptor for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes the address on which clients are to connect.
///
/// # Errors
/// If it cannot be had.
pub fn listen(address: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).map_err(|error| {
        let why = words(&error);
        Fault::refused(format!(
            "clients cannot be served on {address} ({why}): stop the program that listens there \
             (another node, perhaps), or set --entry to another address or to off."
        ))
    })
}

pub(crate) async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
            shared.counts.refuse(Refusal::Connections);
            continue;
        };
        let Some(unproved) = shared.unproved.enter(from.ip()) else {
            shared.counts.refuse(Refusal::Unproved);
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            shared.counts.connections.add(1);
            serve(&shared, stream, from.ip(), unproved).await;
            shared.counts.connections.sub(1);
            drop(place);
        });
    }
}

async fn serve(shared: &Arc<Shared>, stream: TcpStream, ip: IpAddr, unproved: Place) {
    let mut socket = match Socket::accept(stream).await {
        Ok(socket) => socket,
        Err(end) => return shared.note(end),
    };
    let newcomer = match meet(shared, &mut socket).await {
        Ok(newcomer) => newcomer,
        Err(refused) => return session::turn_away(shared, socket, refused).await,
    };
    drop(unproved);
    // The session's state is boxed so that waiting connections do not carry room for it.
    Box::pin(session::run(shared, socket, newcomer, ip)).await;
}
