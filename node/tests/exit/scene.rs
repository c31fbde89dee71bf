//! A network with an exit, and servers on loopback.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use phix_client::mixnet::{Length, Settings};
use phix_client::topology;
use phix_node::exit::requester::Plan;
use phix_node::exit::requester::counts::Counts;
use phix_node::exit::requester::gate::{Closed, Gate, Verdict};
use phix_node::exit::service::{self, Seat, Service};
use phix_proto::requester::{Answer, Host, Query, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::network::Network;
use crate::{PATIENCE, within};

/// A port that is forbidden here.
pub(crate) const FORBIDDEN: u16 = 25;

/// Connects to loopback, where names that end with `.test` are, and to nothing else.
#[derive(Debug)]
struct Loopback;

impl Gate for Loopback {
    fn addresses<'a>(&'a self, target: &'a Target) -> Verdict<'a> {
        Box::pin(async move {
            let ip = match &target.host {
                Host::Ip(ip) => *ip,
                Host::Name(name) if name.ends_with(".test") => [127, 0, 0, 1].into(),
                Host::Name(_) => return Err(Closed::Unresolved),
            };
            let open = ip.is_loopback() && target.port != FORBIDDEN;
            if open { Ok(vec![SocketAddr::new(ip, target.port)]) } else { Err(Closed::Forbidden) }
        })
    }

    fn answer(&self, query: Query) -> Answer {
        match query {
            Query::OpenProxy => Answer::OpenProxy(false),
            Query::Description => Answer::Description("loopback".to_owned()),
            Query::ExitPolicy => Answer::Error("none here".to_owned()),
        }
    }
}

/// One network at a time: what this process has open is counted, and many networks are slow.
static ALONE: Mutex<()> = Mutex::new(());

pub(crate) struct Scene {
    pub(crate) requester: Service,
    pub(crate) counts: Arc<Counts>,
    pub(crate) network: Network,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    pub(crate) fn set_up() -> Self {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let network = Network::start();
        let topology = topology::load(&network.topology).unwrap();
        let gateway = topology.entry_gateways().next().unwrap();
        let clients = gateway.entry.as_ref().unwrap().clients_ws_port;
        let counts = Arc::<Counts>::default();
        let plan = Plan {
            seat: Seat {
                what: "network requester",
                dir: network.dir.path().join("requester"),
                gateway: gateway.identity_key.0,
                network: settings(&network),
            },
            gateway_at: SocketAddr::new(gateway.mix_host.ip(), clients),
            gate: Arc::new(Loopback),
            counts: Arc::clone(&counts),
            say: |what| println!("{what}"),
        };
        let requester = plan.start(service::runtime().unwrap()).unwrap();
        Self { requester, counts, network, _alone }
    }

    pub(crate) fn settings(&self) -> Settings {
        settings(&self.network)
    }
}

/// Faster than stock clients are, so that much can be sent in little time.
pub(crate) fn settings(network: &Network) -> Settings {
    Settings {
        topology: Some(network.topology.clone()),
        main_stream: Length::millis(2),
        hop_delay: Length::millis(2),
        ack_delay: Length::millis(2),
        reconnect_max: Length::millis(1000),
        ..Settings::default()
    }
}

/// Serves every connection to a new port by `serve`; gives the target.
pub(crate) async fn server<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Target
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().into();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    target
}

/// Says everything back, once the other side has said it all.
pub(crate) async fn echo(mut stream: TcpStream) {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    stream.write_all(&all).await.unwrap();
}

/// Waits until `is_so`.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    within(async {
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Sockets that this process has open.
pub(crate) fn sockets() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

const _: () =
    assert!(PATIENCE.as_secs() < 300, "an exit gives up after five minutes at the earliest");
