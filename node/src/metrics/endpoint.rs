//! The HTTP server of the metrics: one thread, a few connections at a time, one answer for each.
//!
//! Whoever connects gets [`CONNECTION_LIMIT`] for one request of limited size. Connections beyond
//! [`CONNECTIONS_MAX`] wait in the kernel.

use std::convert::Infallible;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::Shown;
use super::page::{self, page};

/// Connections that are served at a time.
const CONNECTIONS_MAX: usize = 8;
/// How long a connection may take from its beginning to its end.
const CONNECTION_LIMIT: Duration = Duration::from_secs(5);
/// Bytes that a request may have, and headers.
const REQUEST_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 32;
/// How long values are shown before they are taken anew.
pub(super) const REFRESH: Duration = Duration::from_secs(1);
/// How long to wait where the system has no descriptor for a connection.
const PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";

/// The running server. It ends when it is dropped.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    /// Another descriptor of the listener, to be handed on.
    listener: net::TcpListener,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Shows `shown` to those who connect to `listener`.
    ///
    /// # Errors
    /// If the system gives no thread, or not what it needs to wait.
    pub fn start(listener: net::TcpListener, shown: Arc<Shown>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let kept = listener.try_clone()?;
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = Builder::new().name("phix-metrics".into()).spawn(move || {
            crate::machine::step_back();
            let cache = Arc::new(Cache { shown, last: Mutex::new(None) });
            runtime.spawn(accept(listener, cache));
            // Stopped, or dropped without a word: either is the end.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { address, listener: kept, stop: Some(stop), thread: Some(thread) })
    }

    /// Another descriptor of the listener.
    ///
    /// # Errors
    /// If there is none to be had.
    pub fn listener(&self) -> io::Result<OwnedFd> {
        Ok(self.listener.try_clone()?.into())
    }

    /// Where it listens, with the real port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A server that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, cache: Arc<Cache>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let cache = Arc::clone(&cache);
                tokio::spawn(async move {
                    // Who is too slow or breaks off gets no answer, and nobody else cares.
                    let _ = timeout(CONNECTION_LIMIT, serve(stream, cache)).await;
                    drop(place);
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn serve(stream: TcpStream, cache: Arc<Cache>) -> hyper::Result<()> {
    let answer = |request: Request<_>| {
        let response = cache.answer(request.method(), request.uri().path());
        async { Ok::<_, Infallible>(response) }
    };
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_LIMIT)
        .keep_alive(false)
        .max_buf_size(REQUEST_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await
}

/// The page that was made last.
pub(super) struct Cache {
    pub(super) shown: Arc<Shown>,
    pub(super) last: Mutex<Option<(Instant, Bytes)>>,
}

impl Cache {
    pub(super) fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here");
            refused.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET"));
            return refused;
        }
        match path {
            "/metrics" => response(StatusCode::OK, page::TYPE, self.page(Instant::now())),
            "/livez" => said(self.shown.lives()),
            "/readyz" => said(self.shown.is_ready()),
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz"),
        }
    }

    /// The page, at most [`REFRESH`] old.
    pub(super) fn page(&self, now: Instant) -> Bytes {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((made, page)) if now.duration_since(*made) < REFRESH => page.clone(),
            _ => {
                let page = Bytes::from(page(&self.shown));
                *last = Some((now, page.clone()));
                page
            }
        }
    }
}

fn said(state: Result<&str, String>) -> Response<Full<Bytes>> {
    match state {
        Ok(word) => text(StatusCode::OK, word),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

fn text(status: StatusCode, line: &str) -> Response<Full<Bytes>> {
    response(status, TEXT, Bytes::from(format!("{line}\n")))
}

fn response(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let builder = Response::builder().status(status).header(CONTENT_TYPE, media_type);
    let builder = builder.header(CACHE_CONTROL, "no-store");
    builder.body(Full::new(body)).expect("constant headers are valid")
}
