//! A SOCKS5 server of ours with a client of the mixnet of its own, and what applications do there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use phix_client::mixnet::{Client, Recipient, Sender, Settings};
use phix_client::socks5::{Rules, Server, Stats, Tunnel};
use phix_proto::requester::{Host, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::within;

/// More than an exit takes to connect, on any machine.
const PATIENCE: Duration = Duration::from_secs(100);

/// Connections at a time.
const CONNECTIONS: usize = 256;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) stats: Arc<Stats>,
    pub(crate) sender: Sender,
}

impl Proxy {
    /// One that gives its exit up when that was silent for so long; `None` is as users have it.
    pub(crate) async fn start(
        settings: Settings,
        exit: Recipient,
        silence: Option<Duration>,
    ) -> Self {
        let connected = within(Client::builder().settings(settings).connect()).await;
        let (sender, mut receiver) = connected.unwrap().split();
        let stats = Arc::new(Stats::default());
        let mut tunnel = Tunnel::new(sender.clone(), exit, stats.clone());
        if let Some(silence) = silence {
            tunnel = tunnel.with_silence(silence);
        }
        let tunnel = Arc::new(tunnel);
        let rules = Rules { login: None, connections: CONNECTIONS, patience: PATIENCE };
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), rules).await.unwrap();
        let address = server.local_addr().unwrap();
        let running = tunnel.clone();
        tokio::spawn(async move { running.run(&mut receiver).await });
        assert!(within(tunnel.greet(PATIENCE)).await.unwrap());
        tokio::spawn(async move { server.run(&tunnel).await });
        Self { address, stats, sender }
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        let counts = self.stats.counts();
        counts.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }
}

/// A connection to a target through the SOCKS5 server at `proxy`, and what that said to it.
pub(crate) async fn connect(proxy: SocketAddr, target: &Target) -> io::Result<(TcpStream, u8)> {
    let socket = TcpSocket::new_v4()?;
    // Small, so that little waits outside of what is measured here.
    socket.set_recv_buffer_size(16 << 10)?;
    let mut stream = socket.connect(proxy).await?;
    let host = match &target.host {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.clone(),
    };
    let mut request = vec![5, 1, 0, 5, 1, 0, 3, host.len() as u8];
    request.extend(host.bytes());
    request.extend(target.port.to_be_bytes());
    stream.write_all(&request).await?;
    // The method, and then the answer, whose address is an IPv4 one.
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    assert_eq!((answer[..3].to_vec(), answer[4..6].to_vec()), (vec![5, 0, 5], vec![0, 1]));
    Ok((stream, answer[3]))
}
