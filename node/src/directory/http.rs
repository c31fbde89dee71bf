//! The directory's HTTP server: who may connect how often and for how long.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::routes::Front;
use crate::sources;

pub(super) const JSON: &str = "application/json";
pub(super) const BINCODE: &str = "application/bincode";
pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// Connections that are served at a time; more wait in the kernel.
const CONNECTIONS_MAX: usize = 1_024;
/// Connections of one source at a time; more are closed at once.
const PER_SOURCE: usize = 64;
/// How long a client may take for a request, and between two.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// How long a connection may last.
const CONNECTION_LIMIT: Duration = Duration::from_secs(300);
/// Bytes that the front of a request may have, and headers.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// How long to wait where the system has no descriptor for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves those who connect, for ever.
pub(super) async fn serve(listener: TcpListener, front: Arc<Front>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let sources = Arc::new(Sources::default());
    loop {
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .expect("nobody closes the semaphore of the server");
        match listener.accept().await {
            Ok((stream, source)) => {
                if let Some(seat) = sources.seat(source.ip(), place) {
                    tokio::spawn(connection(stream, source, Arc::clone(&front), seat));
                }
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, source: SocketAddr, front: Arc<Front>, _seat: Seat) {
    let service = |request: Request<Incoming>| {
        let front = Arc::clone(&front);
        async move { Ok::<Response<Full<Bytes>>, Infallible>(front.answer(request, source).await) }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_LIMIT)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service_fn(service));
    // Who is too slow or breaks off gets no answer, and nobody else cares.
    let _ = timeout(CONNECTION_LIMIT, connection).await;
}

/// Connections by source.
#[derive(Debug, Default)]
struct Sources(Mutex<HashMap<IpAddr, usize>>);

/// A connection's place among all and among those of its source, free again when it is dropped.
struct Seat {
    sources: Arc<Sources>,
    source: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl Sources {
    fn seat(self: &Arc<Self>, source: IpAddr, place: OwnedSemaphorePermit) -> Option<Seat> {
        let source = sources::source(source);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(source).or_default();
        if *count == PER_SOURCE {
            return None;
        }
        *count += 1;
        Some(Seat { sources: Arc::clone(self), source, _place: place })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut all = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subscriber_cannot_take_all_places() {
        let (places, sources) =
            (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::new(Sources::default()));
        let seat = |ip: &str| {
            let place = Arc::clone(&places).try_acquire_owned().unwrap();
            sources.seat(ip.parse().unwrap(), place)
        };
        let taken: Vec<_> =
            (0..PER_SOURCE).map(|number| seat(&format!("2001:db8::{number:x}")).unwrap()).collect();
        assert!(seat("2001:db8::ffff").is_none() && seat("2001:db8:0:1::1").is_some());
        assert_eq!(places.available_permits(), CONNECTIONS_MAX - PER_SOURCE, "who is refused");
        drop(taken);
        assert!(seat("2001:db8::ffff").is_some());
        assert!(sources.0.lock().unwrap().is_empty());
    }
}
