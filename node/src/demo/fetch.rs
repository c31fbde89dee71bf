//! A page of a web server on this machine, fetched by SOCKS5 through the mixnet and the exit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use phix_client::mixnet::{Settings, network_requesters};
use phix_client::socks5::{Rules, Server, Stats, Tunnel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::time::timeout;

use super::talk::connect;
use crate::fault::Fault;

/// Bytes of the page.
pub(super) const PAGE: usize = 200_000;

/// How long the exit may take until it answers, and the whole page until it is there.
const PATIENCE: Duration = Duration::from_secs(60);

/// Loopback, at a port that is free.
const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Fetches the page through the exit of the network with this directory, with a client of its own;
/// how long that took, or nothing if what came was not the page.
///
/// # Errors
/// If the client cannot connect, or if there is no exit that answers.
pub(super) fn run(directory: &str) -> Result<Option<Duration>, Fault> {
    let executor = runtime::Builder::new_current_thread().enable_all().build();
    let executor =
        executor.map_err(|error| Fault::refused(format!("the client cannot run ({error}).")))?;
    executor.block_on(async {
        let settings = Settings { directory: Some(directory.to_owned()), ..Settings::default() };
        let exits = network_requesters(&settings).await;
        let exits = exits.map_err(|error| Fault::broken(format!("no exit is known: {error}.")))?;
        let exit = *exits.first().ok_or_else(|| Fault::broken("the directory has no exit."))?;
        let client = connect(directory).await?;
        let (sender, mut receiver) = client.split();
        let tunnel = Arc::new(Tunnel::new(sender, exit, Arc::new(Stats::default())));
        tokio::select! {
            fetched = through(&tunnel) => fetched,
            () = tunnel.run(&mut receiver) => Err(Fault::broken("the client has ended by itself.")),
        }
    })
}

async fn through(tunnel: &Arc<Tunnel>) -> Result<Option<Duration>, Fault> {
    match tunnel.greet(PATIENCE).await {
        Ok(true) => {}
        Ok(false) => return Err(Fault::broken("the exit does not answer.")),
        Err(_) => return Err(Fault::broken("the client has ended by itself.")),
    }
    let rules = Rules { login: None, connections: 4, patience: PATIENCE };
    let proxy = Server::bind(ANYWHERE, rules).await;
    let proxy = proxy.map_err(|error| Fault::refused(format!("{error}.")))?;
    let no_socket = |error: io::Error| Fault::refused(format!("there is no socket ({error})."));
    let site = TcpListener::bind(ANYWHERE).await.map_err(no_socket)?;
    let (at, proxy_at) =
        (site.local_addr().map_err(no_socket)?, proxy.local_addr().map_err(no_socket)?);
    let began = Instant::now();
    let page = tokio::select! {
        page = timeout(PATIENCE, fetch(proxy_at, at)) => page,
        () = proxy.run(tunnel) => unreachable!("a server runs until it is dropped"),
        () = serve(&site) => unreachable!("a server runs until it is dropped"),
    };
    let is_whole = matches!(page, Ok(Ok(page)) if page == self::page());
    Ok(is_whole.then(|| began.elapsed()))
}

/// Bytes that say where they belong.
fn page() -> Vec<u8> {
    (0..PAGE as u32 / 4).flat_map(u32::to_be_bytes).collect()
}

/// A web server with one page.
async fn serve(site: &TcpListener) {
    loop {
        let Ok((mut stream, _)) = site.accept().await else { continue };
        tokio::spawn(async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await?);
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PAGE}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&page()).await?;
            stream.shutdown().await
        });
    }
}

/// What an application does: a connection to `site` from the proxy (RFC 1928), a request of HTTP,
/// and all that comes back but the head.
async fn fetch(proxy: SocketAddr, site: SocketAddr) -> io::Result<Vec<u8>> {
    let SocketAddr::V4(site) = site else { unreachable!("it was bound to an IPv4 address") };
    let mut stream = TcpStream::connect(proxy).await?;
    let mut hello = vec![5, 1, 0, 5, 1, 0, 1];
    hello.extend_from_slice(&site.ip().octets());
    hello.extend_from_slice(&site.port().to_be_bytes());
    stream.write_all(&hello).await?;
    let mut answers = [0; 12];
    stream.read_exact(&mut answers).await?;
    if (answers[1], answers[3]) != (0, 0) {
        return Err(io::Error::other("the proxy refuses"));
    }
    let request = format!("GET / HTTP/1.1\r\nHost: {site}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other("this is no HTTP"))?;
    Ok(answer.split_off(end + 4))
}
