//! A web server on loopback, whose files are as long as their names say.

use std::io;
use std::net::SocketAddr;

use phix_proto::requester::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::proxy::connect;

/// Bytes of a request, at most.
const REQUEST_MAX: usize = 4096;

/// What a file of this length says. No two lengths begin alike.
pub(crate) fn file(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16) ^ len ^ (len >> 8)) as u8).collect()
}

/// Lengths from nothing to `longest`, evenly by their logarithms.
pub(crate) fn lengths(count: usize, longest: usize) -> Vec<usize> {
    let power = |i| i as f64 / (count - 2) as f64;
    let long = (0..count - 1).map(|i| (longest as f64).powf(power(i)).round() as usize);
    [0].into_iter().chain(long).collect()
}

/// Starts one; where it is.
pub(crate) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Whoever asked may leave before it has all.
            tokio::spawn(async move { serve(stream).await.ok() });
        }
    });
    address
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 || request.len() > REQUEST_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let request = String::from_utf8_lossy(&request);
    let name = request.strip_prefix("GET /").and_then(|rest| rest.split(' ').next());
    let answer = match name.and_then(|name| name.parse().ok()) {
        Some(len) => {
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
            [head.into_bytes(), file(len)].concat()
        }
        None => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
    };
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

/// Fetches a file of this length by the SOCKS5 server at `proxy`.
pub(crate) async fn fetch(proxy: SocketAddr, web: &Target, len: usize) -> io::Result<Vec<u8>> {
    let (mut stream, code) = connect(proxy, web).await?;
    assert_eq!(code, 0, "{web} can be connected to");
    let request = format!("GET /{len} HTTP/1.1\r\nHost: {web}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or(io::ErrorKind::UnexpectedEof)? + 4;
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    Ok(answer.split_off(end))
}
