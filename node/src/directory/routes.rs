//! From a request to its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{self, HeaderValue};
use hyper::http::response::Builder;
use hyper::{Method, Request, Response, StatusCode};
use phix_proto::directory::nodes::ByAddresses;
use phix_proto::directory::paths;
use phix_proto::directory::registration::{LEN_MAX, Refusal};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::desk::Desk;
use super::http::{HTML, JSON, TEXT};
use super::listing::Format;
use super::refused::Refused;
use super::snapshot::Answer;
use crate::rotation::now;

/// Bytes of a question by addresses, and addresses in it.
const QUESTION_MAX: usize = 64 * 1024;
const ADDRESSES_MAX: usize = 1_000;
/// How long a body may take to come.
const BODY_LIMIT: Duration = Duration::from_secs(10);

const OPENAPI: &str = include_str!("openapi.json");
const OPENAPI_PATH: &str = "/openapi.json";
const COUNTS_PATH: &str = "/phix/v1/counts";

/// What is answered at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The same for everybody.
    Fixed,
    /// A page of a list.
    List,
    /// The OpenAPI description.
    OpenApi,
    /// What was refused how often.
    Counts,
    /// A registration, where it is posted.
    Register,
    /// A question by addresses.
    ByAddresses,
    /// A wish to be looked at again.
    Refresh,
}

/// Every path, with its method and what is answered there.
const ROUTES: &[(Method, &str, Kind)] = &[
    (Method::GET, "/", Kind::Fixed),
    (Method::GET, OPENAPI_PATH, Kind::OpenApi),
    (Method::GET, COUNTS_PATH, Kind::Counts),
    (Method::GET, paths::KEY_ROTATION_INFO, Kind::Fixed),
    (Method::GET, paths::REWARDED_SET, Kind::Fixed),
    (Method::GET, paths::SKIMMED, Kind::List),
    (Method::GET, paths::SKIMMED_MIXNODES_ACTIVE, Kind::List),
    (Method::GET, paths::SKIMMED_MIXNODES_ALL, Kind::List),
    (Method::GET, paths::SKIMMED_ENTRY_GATEWAYS, Kind::List),
    (Method::GET, paths::SKIMMED_EXIT_GATEWAYS, Kind::List),
    (Method::GET, paths::SEMI_SKIMMED, Kind::List),
    (Method::GET, paths::SEMI_SKIMMED_V3, Kind::List),
    (Method::GET, paths::DESCRIBED, Kind::List),
    (Method::GET, paths::REGISTER, Kind::List),
    (Method::POST, paths::REGISTER, Kind::Register),
    (Method::POST, paths::BY_ADDRESSES, Kind::ByAddresses),
    (Method::POST, paths::REFRESH_DESCRIBED, Kind::Refresh),
];

/// What answers requests.
#[derive(Debug)]
pub(super) struct Front {
    desk: Arc<Desk>,
    /// Rung when a new node is to be probed before its time.
    bell: Arc<Notify>,
}

impl Front {
    pub(super) const fn new(desk: Arc<Desk>, bell: Arc<Notify>) -> Self {
        Self { desk, bell }
    }

    /// Answers a request of `source`.
    pub(super) async fn answer<B>(
        &self,
        request: Request<B>,
        source: SocketAddr,
    ) -> Response<Full<Bytes>>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if request.method() == Method::OPTIONS {
            return preflight();
        }
        let (path, kind) = match route(request.method(), request.uri().path()) {
            Ok(found) => found,
            Err((status, what)) => return said(status, what),
        };
        match kind {
            Kind::Register | Kind::ByAddresses | Kind::Refresh => {
                self.posted(kind, request, source).await
            }
            _ => self.asked(kind, path, &request),
        }
    }

    fn asked<B>(
        &self,
        kind: Kind,
        path: &'static str,
        request: &Request<B>,
    ) -> Response<Full<Bytes>> {
        let wanted = match Wanted::read(request.uri().query().unwrap_or_default()) {
            Ok(wanted) => wanted,
            Err(what) => return said(StatusCode::BAD_REQUEST, what),
        };
        let answer = match kind {
            Kind::Fixed => self.desk.snapshot().fixed(path, wanted.format),
            Kind::List => {
                let Wanted { page, per_page, format } = wanted;
                self.desk.snapshot().page(path, page, per_page, format)
            }
            Kind::OpenApi => Some(Answer::new(Bytes::from_static(OPENAPI.as_bytes()), JSON)),
            _ => Some(self.counts()),
        };
        let answer = answer.expect("a snapshot has an answer for every path");
        let known = request.headers().get(header::IF_NONE_MATCH);
        let known = known.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let builder = shared(Response::builder())
            .header(header::ETAG, &answer.tag)
            .header(header::CACHE_CONTROL, "no-cache");
        let response = if known.split(',').any(|tag| tag.trim() == answer.tag) {
            builder.status(StatusCode::NOT_MODIFIED).body(Full::default())
        } else {
            let builder = builder.header(header::CONTENT_TYPE, answer.media_type);
            let builder = if answer.media_type == HTML { guarded(builder) } else { builder };
            builder.body(Full::new(answer.body))
        };
        response.expect("the headers of an answer are valid")
    }

    fn counts(&self) -> Answer {
        let counts: serde_json::Map<_, _> = self
            .desk
            .counts()
            .all()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect();
        Answer::new(serde_json::Value::from(counts).to_string().into(), JSON)
    }

    async fn posted<B>(
        &self,
        kind: Kind,
        request: Request<B>,
        source: SocketAddr,
    ) -> Response<Full<Bytes>>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let limit = if kind == Kind::ByAddresses { QUESTION_MAX } else { LEN_MAX };
        let body = timeout(BODY_LIMIT, Limited::new(request.into_body(), limit).collect()).await;
        let body = match body {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => {
                let why = Refused::from(Refusal::Oversize);
                self.desk.counts().refused(why);
                return refused(why);
            }
            Err(_) => return said(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        };
        match kind {
            Kind::ByAddresses => self.by_addresses(&body),
            Kind::Register => {
                let desk = Arc::clone(&self.desk);
                // Signatures and the disk take their time, which other connections need not wait.
                let taken = spawn_blocking(move || desk.register(&body, source.ip(), now())).await;
                match taken.unwrap_or(Err(Refused::Broken)) {
                    Ok(registered) => json(&registered),
                    Err(why) => refused(why),
                }
            }
            _ => match self.desk.refresh(&body, now()) {
                Ok(node) => {
                    if self.desk.is_new(node) {
                        self.bell.notify_one();
                    }
                    json(&())
                }
                Err(why) => refused(why),
            },
        }
    }

    fn by_addresses(&self, body: &[u8]) -> Response<Full<Bytes>> {
        match serde_json::from_slice::<ByAddresses>(body) {
            Ok(asked) if asked.addresses.len() <= ADDRESSES_MAX => {
                json(&self.desk.snapshot().by_addresses(&asked.addresses))
            }
            Ok(_) => said(StatusCode::PAYLOAD_TOO_LARGE, "at most 1000 addresses at a time"),
            Err(_) => said(StatusCode::BAD_REQUEST, "give {\"addresses\": [\"192.0.2.1\"]}"),
        }
    }
}

/// What is answered at `path` by `method`, with the path as the table has it.
fn route(method: &Method, path: &str) -> Result<(&'static str, Kind), (StatusCode, &'static str)> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let here: Vec<_> = ROUTES.iter().filter(|(_, known, _)| *known == path).collect();
    if here.is_empty() {
        let what = "nothing is here; /openapi.json says what is where";
        return Err((StatusCode::NOT_FOUND, what));
    }
    let route = here.into_iter().find(|(known, ..)| known == method);
    let (_, path, kind) =
        route.ok_or((StatusCode::METHOD_NOT_ALLOWED, "this is not served by that method"))?;
    Ok((*path, *kind))
}

/// What a query asks for. What it says beyond that is for other directories.
struct Wanted {
    page: u32,
    per_page: Option<usize>,
    format: Format,
}

impl Wanted {
    fn read(query: &str) -> Result<Self, &'static str> {
        let mut wanted = Self { page: 0, per_page: None, format: Format::Json };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "page" => wanted.page = value.parse().map_err(|_| "page is a number from 0")?,
                "per_page" => {
                    let size = value.parse().ok().filter(|size| *size > 0);
                    wanted.per_page = Some(size.ok_or("per_page is a number from 1")?);
                }
                "output" => {
                    wanted.format = match value {
                        "json" => Format::Json,
                        "bincode" => Format::Bincode,
                        _ => return Err("output is json or bincode"),
                    }
                }
                _ => {}
            }
        }
        Ok(wanted)
    }
}

/// Everything here is public: pages of any origin may read it.
fn shared(builder: Builder) -> Builder {
    builder
        .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")
        .header(header::ACCESS_CONTROL_EXPOSE_HEADERS, "etag")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

/// The page loads nothing and runs nothing, whatever might stand in it.
fn guarded(builder: Builder) -> Builder {
    const POLICY: HeaderValue =
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    builder.header(header::CONTENT_SECURITY_POLICY, POLICY)
}

fn preflight() -> Response<Full<Bytes>> {
    shared(Response::builder())
        .status(StatusCode::NO_CONTENT)
        .header(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST")
        .header(header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type, if-none-match")
        .header(header::ACCESS_CONTROL_MAX_AGE, "86400")
        .body(Full::default())
        .expect("constant headers are valid")
}

fn json(value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(value).expect("answers have a JSON form");
    shared(Response::builder())
        .header(header::CONTENT_TYPE, JSON)
        .body(Full::new(body.into()))
        .expect("constant headers are valid")
}

fn refused(why: Refused) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(why.status()).expect("every reason has a status");
    said(status, &why.to_string())
}

fn said(status: StatusCode, line: &str) -> Response<Full<Bytes>> {
    shared(Response::builder())
        .status(status)
        .header(header::CONTENT_TYPE, TEXT)
        .body(Full::new(Bytes::from(format!("{line}\n"))))
        .expect("constant headers are valid")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_path_is_described_and_nothing_else() {
        let description: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in description["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                assert!(operation["summary"].is_string(), "{method} {path}");
                assert!(operation["responses"].is_object(), "{method} {path}");
                described.insert((method.to_uppercase(), path.clone()));
            }
        }
        let served: BTreeSet<_> = ROUTES
            .iter()
            .map(|(method, path, _)| (method.to_string(), (*path).to_owned()))
            .collect();
        assert_eq!(described, served);
    }

    #[test]
    fn queries_are_read_or_refused() {
        let wanted = Wanted::read("no_legacy=true&page=3&per_page=50&output=bincode").unwrap();
        assert_eq!((wanted.page, wanted.per_page, wanted.format), (3, Some(50), Format::Bincode));
        assert!(Wanted::read("").is_ok_and(|wanted| wanted.per_page.is_none()));
        for wrong in ["page=-1", "page=x", "per_page=0", "per_page=", "output=xml"] {
            assert!(Wanted::read(wrong).is_err(), "{wrong}");
        }
    }
}
