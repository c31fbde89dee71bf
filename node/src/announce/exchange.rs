//! One question to a directory and its answer.

use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use phix_client::files::words;
use phix_client::mixnet::dial::Url;
use phix_client::mixnet::http::{self, HttpError};
use phix_proto::directory::network::whole;
use phix_proto::directory::nodes::Nodes;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// Bytes of an answer, at most.
const ANSWER_MAX: usize = 16 << 20;
/// Pages of a list, at most.
const PAGES_MAX: u32 = 256;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A directory to ask.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub url: Url,
    /// The local address to ask from, if it is to be a certain one.
    pub source: Option<IpAddr>,
}

impl Directory {
    /// The answer at `path`.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let (status, body) = self.ask(Method::GET, path, Bytes::new()).await?;
        if status != StatusCode::OK {
            return Err(self.said(path, &format_args!("answers {status}")));
        }
        self.read(path, &body)
    }

    /// All pages of a list.
    pub(super) async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Nodes<T>, String> {
        let mut pages: Vec<Nodes<T>> = Vec::new();
        let mut came = 0;
        for page in 0..PAGES_MAX {
            let next: Nodes<T> = self.get(&format!("{path}?page={page}")).await?;
            came += next.nodes.data.len() as u64;
            let done = next.nodes.data.is_empty() || came >= next.nodes.pagination.total;
            pages.push(next);
            if done {
                break;
            }
        }
        whole(pages).map_err(|what| self.said(path, &what))
    }

    /// What comes of posting `body` to `path`: the answer, or with which status it was refused.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Result<T, (StatusCode, String)>, String> {
        let (status, body) = self.ask(Method::POST, path, body.into()).await?;
        if status == StatusCode::OK {
            return self.read(path, &body).map(Ok);
        }
        let why = String::from_utf8_lossy(&body[..body.len().min(300)]);
        let why: String = why.trim().chars().filter(|letter| !letter.is_control()).collect();
        Ok(Err((status, why)))
    }

    fn read<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T, String> {
        serde_json::from_slice(body).map_err(|error| self.said(path, &error))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let asked = timeout(PATIENCE, self.exchange(method, path, body)).await;
        asked.unwrap_or_else(|_| Err(self.said(path, &"took longer than 10 s")))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url.path))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("the parts of a URL that was parsed make a request");
        let answer = http::ask(&self.url, self.source, request, ANSWER_MAX).await;
        let answer = answer.map_err(|error| match error {
            HttpError::Unreachable(error) => self.said("", &words(&error)),
            HttpError::Http(error) => self.said(path, &error),
        })?;
        let body = answer.body.map_err(|error| self.said(path, &error))?;
        Ok((answer.status, body))
    }

    fn said(&self, path: &str, what: &dyn Display) -> String {
        format!("the directory {}{path}: {what}", self.url.authority())
    }
}
