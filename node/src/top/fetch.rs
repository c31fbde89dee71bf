//! Asks a node for its page of metrics.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::reading::Reading;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that a page may have: more than that of 256 shards.
const PAGE_MAX: usize = 8 << 20;

/// Where a page is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    uri: Uri,
    authority: String,
}

impl Place {
    /// The place that `url` names, if it is one that can be asked.
    pub(super) fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority()?;
        let port = authority.port_u16().unwrap_or(80);
        let authority = format!("{}:{port}", authority.host());
        (uri.scheme_str() == Some("http")).then_some(Self { uri, authority })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.uri.fmt(f)
    }
}

/// Asks one place again and again.
#[derive(Debug)]
pub(super) struct Fetcher {
    place: Place,
    runtime: Runtime,
}

impl Fetcher {
    pub(super) fn new(place: Place) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(Self { place, runtime })
    }

    /// One reading, or why there is none.
    pub(super) fn fetch(&self) -> Result<Reading, String> {
        let page = self.runtime.block_on(async { timeout(PATIENCE, get(&self.place)).await });
        let page = page.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))??;
        Reading::of(&page).ok_or_else(|| "what answers is not a Phix node".to_owned())
    }
}

async fn get(place: &Place) -> Result<String, String> {
    let words = |error: &dyn std::error::Error| {
        error.source().map_or_else(|| error.to_string(), ToString::to_string)
    };
    let stream = TcpStream::connect(&place.authority)
        .await
        .map_err(|error| phix_client::files::words(&error))?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| words(&error))?;
    let path = place.uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(HOST, &place.authority).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| words(&error))?;
    // The connection moves the bytes of the exchange; what breaks there breaks the exchange.
    let moving = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| words(&error))?;
    if response.status() != StatusCode::OK {
        return Err(format!("the answer is {}", response.status()));
    }
    let body = Limited::new(response.into_body(), PAGE_MAX).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    moving.abort();
    String::from_utf8(body.to_vec()).map_err(|_| "what answers is not a Phix node".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_can_be_asked_are_places() {
        let authority = |url| Place::of(url).map(|place| place.authority);
        assert_eq!(authority("http://127.0.0.1:9178/metrics").as_deref(), Some("127.0.0.1:9178"));
        assert_eq!(authority("http://localhost").as_deref(), Some("localhost:80"));
        assert_eq!(authority("http://[::1]:9178/metrics").as_deref(), Some("[::1]:9178"));
        for wrong in ["https://a/", "127.0.0.1:9178", "/metrics", "", "http://", "ftp://a/"] {
            assert!(Place::of(wrong).is_none(), "{wrong}");
        }
    }
}
