//! Connections to what a URL names, plain or inside TLS.
//!
//! TLS is that of rustls with the certificates that the system trusts, and is set up only when a
//! URL asks for it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The parts of a URL that say where to connect, and what to ask for there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// Name or address, without the brackets of IPv6.
    pub host: String,
    /// Port, that of the scheme where the URL names none.
    pub port: u16,
    /// Begins with a slash, or is empty.
    pub path: String,
}

/// Why a text is no URL that can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(String);

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl Url {
    /// Reads a URL with one of two schemes: that of plain connections, then that of TLS.
    ///
    /// # Errors
    /// If it is none, with a sentence that says what is wanted.
    pub fn parse(text: &str, schemes: [&str; 2]) -> Result<Self, UrlError> {
        let wrong = || {
            let text = text.escape_debug();
            let [plain, tls] = schemes;
            UrlError(format!("\"{text}\" is not a URL; give {plain}://HOST:PORT or {tls}://HOST"))
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let tls = schemes.iter().position(|known| *known == scheme).ok_or_else(wrong)? == 1;
        let split = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').ok_or_else(wrong)?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => digits.parse().map_err(|_| wrong())?,
            None if port.is_empty() => {
                if tls {
                    443
                } else {
                    80
                }
            }
            None => return Err(wrong()),
        };
        let sound = |text: &str| text.chars().all(|c| c.is_ascii_graphic() && c != '#');
        if host.is_empty() || !sound(host) || host.contains('@') || !sound(path) {
            return Err(wrong());
        }
        Ok(Self { tls, host: host.to_owned(), port, path: path.trim_end_matches('/').to_owned() })
    }

    /// Host and port as they stand in headers and messages.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// A connection.
#[derive(Debug)]
pub enum Connection {
    /// As it is.
    Plain(TcpStream),
    /// Inside TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects to where `url` says.
///
/// # Errors
/// If nothing answers there, or no TLS that the system trusts.
pub async fn connect(url: &Url) -> io::Result<Connection> {
    connect_from(url, None).await
}

/// The same from the local address `source`, if there is one.
///
/// # Errors
/// As [`connect`], or if this machine has no such address.
pub async fn connect_from(url: &Url, source: Option<IpAddr>) -> io::Result<Connection> {
    let stream = dial(url, source).await?;
    // Packets are sent when they are due, not when there are enough of them.
    stream.set_nodelay(true)?;
    if !url.tls {
        return Ok(Connection::Plain(stream));
    }
    let name = ServerName::try_from(url.host.clone()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(tls_config()?));
    Ok(Connection::Tls(Box::new(connector.connect(name, stream).await?)))
}

async fn dial(url: &Url, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let place = (url.host.as_str(), url.port);
    let Some(source) = source else { return TcpStream::connect(place).await };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in lookup_host(place).await? {
        if address.is_ipv4() != source.is_ipv4() {
            continue;
        }
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(SocketAddr::new(source, 0))?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn tls_config() -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let trusted = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(trusted.certs);
    if roots.is_empty() {
        return Err(io::Error::other(
            "this system trusts no certificates; install ca-certificates",
        ));
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: [&str; 2] = ["http", "https"];

    #[test]
    fn urls_are_taken_apart() {
        let parsed = |text: &str| {
            let Url { tls, host, port, path } = Url::parse(text, HTTP).unwrap();
            (tls, host, port, path)
        };
        assert_eq!(parsed("http://a.b"), (false, "a.b".into(), 80, String::new()));
        assert_eq!(parsed("https://a.b/api/"), (true, "a.b".into(), 443, "/api".into()));
        assert_eq!(parsed("http://[::1]:8080/v1"), (false, "::1".into(), 8080, "/v1".into()));
        let url = Url::parse("http://[::1]:8080", HTTP).unwrap();
        assert_eq!(url.authority(), "[::1]:8080");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "a.b",
            "ftp://a",
            "http://",
            "http://a:b",
            "http://a:99999",
            "http://a b",
            "http:///x",
            "http://u@a",
            "http://[::1",
            "http://[::1]x",
            "http://a/\r\nx",
            "http://a/#x",
        ] {
            assert!(Url::parse(text, HTTP).is_err(), "{text}");
        }
    }
}
