//! A policy from a URL, and the copy of it that is kept on disk.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use http_body_util::Full;
use hyper::header::ACCEPT;
use hyper::{Request, StatusCode};
use phix_client::files::{self, words};
use phix_client::mixnet::dial::Url;
use phix_client::mixnet::http::{self, HttpError};
use tokio::time::timeout;

use super::TEXT_MAX;

/// How long an answer may take, name resolution and connecting included.
const PATIENCE: Duration = Duration::from_secs(20);

/// The text at `url`.
///
/// # Errors
/// What went wrong, as the rest of a sentence.
pub(super) async fn fetch(url: &Url) -> Result<String, String> {
    let fetched = timeout(PATIENCE, exchange(url)).await;
    fetched.unwrap_or_else(|_| Err(format!("it took longer than {} s", PATIENCE.as_secs())))
}

async fn exchange(url: &Url) -> Result<String, String> {
    let path = if url.path.is_empty() { "/" } else { &url.path };
    let request = Request::get(path)
        .header(ACCEPT, "text/plain")
        .body(Full::default())
        .expect("the parts of a URL that was parsed make a request");
    let answer = http::ask(url, None, request, TEXT_MAX).await.map_err(|error| match error {
        HttpError::Unreachable(error) => words(&error),
        HttpError::Http(error) => error.to_string(),
    })?;
    if answer.status != StatusCode::OK {
        return Err(format!("the server answers {}", answer.status));
    }
    let bytes = answer.body.map_err(|error| error.to_string())?;
    String::from_utf8(bytes.into()).map_err(|_| "the answer is not UTF-8".into())
}

/// The text of the policy in the file at `path`.
///
/// # Errors
/// If it cannot be read, is no regular file, is too large, or is not UTF-8.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let (file, metadata) = files::open(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    file.take(TEXT_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Keeps `text`, which came from `url`, in the file at `path`, whole or not at all.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn keep(path: &Path, url: &Url, text: &str) -> io::Result<()> {
    files::replace(path, 0o600, format!("{}{text}", first_line(url)).as_bytes())
}

/// What was kept of `url`: nothing if the copy is of another URL.
pub(super) fn kept(path: &Path, url: &Url) -> Option<String> {
    let text = read(path).ok()?;
    text.strip_prefix(&first_line(url)).map(str::to_owned)
}

/// A copy says where it comes from, so that none is used for a URL that is no longer set.
fn first_line(url: &Url) -> String {
    let scheme = if url.tls { "https" } else { "http" };
    format!("# kept from {scheme}://{}{}\n", url.authority(), url.path)
}
