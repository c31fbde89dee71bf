//! One question by HTTP/1.1 and its answer.

use std::error::Error;
use std::io;
use std::net::IpAddr;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::dial::{self, Url};

/// Why there is no answer.
#[derive(Debug)]
pub enum HttpError {
    /// Nobody answers there.
    Unreachable(io::Error),
    /// Whoever answers does not speak HTTP as it should.
    Http(hyper::Error),
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// What came; an error if that broke off or was too long.
    pub body: Result<Bytes, Box<dyn Error + Send + Sync>>,
}

/// Asks whoever is at `url`, from the local address `source` if there is one. `request` has the
/// path, and all headers but the host's name; of the answer's body at most `longest` bytes are
/// taken. There is no time limit.
///
/// # Errors
/// If nobody answers, or not in HTTP.
pub async fn ask(
    url: &Url,
    source: Option<IpAddr>,
    mut request: Request<Full<Bytes>>,
    longest: usize,
) -> Result<Answer, HttpError> {
    let host = HeaderValue::from_str(&url.authority());
    request.headers_mut().insert(HOST, host.expect("a URL that was parsed has a name or address"));
    let stream = dial::connect_from(url, source).await.map_err(HttpError::Unreachable)?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(HttpError::Http)?;
    let answer = async {
        let response: Response<Incoming> =
            sender.send_request(request).await.map_err(HttpError::Http)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), longest).collect().await;
        Ok(Answer { status, body: body.map(|body| body.to_bytes()) })
    };
    tokio::pin!(answer, connection);
    // The connection moves only while it is polled; it may end before the answer is taken.
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended.map_err(HttpError::Http)?;
            answer.await
        }
    }
}
