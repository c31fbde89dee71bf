//! Clients with real sockets to a gateway, whose network is within the process.

mod apps;
mod gateway;
mod observed;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use phix_proto::gateway::{ServerResponse, TypedError};
use tempfile::TempDir;

use super::{Builder, Client, ConnectError, GivenUp, LinkError, SendError, Status};
use crate::mixnet::core::{MESSAGE_MAX, Outgoing, Unsendable};
use crate::mixnet::settings::{Length, Settings};
use crate::mixnet::testing;
use crate::topology;
use gateway::Gateway;

/// More than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A gateway, and a directory for clients and the topology file.
struct Scene {
    gateway: Gateway,
    dir: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let gateway = Gateway::start().await;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("topology.json");
        topology::save(&testing::topology(1, gateway.address), &file).unwrap();
        Self { gateway, dir }
    }

    fn settings(&self) -> Settings {
        Settings {
            topology: Some(self.dir.path().join("topology.json")),
            // Not so fast that the network, which is within the process, cannot keep up.
            main_stream: Length::millis(10),
            loop_cover: Length::millis(0),
            hop_delay: Length::millis(2),
            ack_delay: Length::millis(2),
            ack_wait_extra: Length::millis(1000),
            reconnect_max: Length::millis(500),
            ..Settings::default()
        }
    }

    async fn client(&self) -> Client {
        within(Client::builder().settings(self.settings()).connect()).await.unwrap()
    }

    fn created(&self, name: &str) -> (PathBuf, Builder) {
        let dir = self.dir.path().join(name);
        Client::builder().settings(self.settings()).create(&dir).unwrap();
        (dir.clone(), Client::builder().dir(dir))
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(test);
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ seed) as u8).collect()
}

#[test]
fn two_clients_talk_and_one_of_them_remains_unknown() {
    run(async {
        let scene = Scene::new().await;
        scene.gateway.lose_one_in(10);
        let (mut alice, mut bob) = (scene.client().await, scene.client().await);
        let sizes = [0, 1, 1000, 20_000];
        let mut sent = Vec::new();
        for (seed, len) in sizes.into_iter().enumerate() {
            sent.push(within(alice.send(*bob.address(), pattern(len, seed))).await.unwrap());
        }
        let mut received = Vec::new();
        for _ in sizes {
            received.push(within(bob.next()).await.unwrap().data);
        }
        received.sort_by_key(Vec::len);
        let expected: Vec<_> = sizes.iter().zip(0..).map(|(&len, i)| pattern(len, i)).collect();
        assert!(received == expected);
        for sent in sent {
            within(sent.arrived()).await.unwrap();
        }
        let anonymous = alice.sender().send_anonymously(*bob.address(), "who am I?", 5);
        let question = within(anonymous).await.unwrap();
        let sender = within(bob.receive()).await.unwrap().sender.unwrap();
        within(question.arrived()).await.unwrap();
        let answer = within(bob.reply(sender, pattern(15_000, 9))).await.unwrap();
        assert!(within(alice.receive()).await.unwrap().data == pattern(15_000, 9));
        within(answer.arrived()).await.unwrap();
        let counters = within(alice.disconnect()).await.unwrap();
        assert!(counters.sent_again > 0, "{counters:?}");
        assert_eq!(counters.received_unreadable, 0);
        within(bob.disconnect()).await.unwrap();
    });
}

#[test]
fn a_sink_takes_what_a_stream_gives() {
    run(async {
        let scene = Scene::new().await;
        let (alice, bob) = (scene.client().await, scene.client().await);
        let recipient = *bob.address();
        let letters = (0..100u8).map(|number| Outgoing::Message {
            recipient,
            data: vec![number; 10],
            reply_surbs: 0,
        });
        let (mut sender, _receiver) = alice.split();
        let mut letters = futures_util::stream::iter(letters).map(Ok);
        within(sender.send_all(&mut letters)).await.unwrap();
        within(sender.flush()).await.unwrap();
        let mut came: Vec<_> = within(bob.take(100).map(|it| it.data[0]).collect()).await;
        came.sort_unstable();
        assert!(came.into_iter().eq(0..100));
    });
}

#[test]
fn a_client_survives_the_loss_of_its_link() {
    run(async {
        let scene = Scene::new().await;
        let (alice, mut bob) = (scene.client().await, scene.client().await);
        let mut watched = alice.sender().clone();
        let sent = within(alice.send(*bob.address(), pattern(30_000, 0))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        scene.gateway.cut();
        let lost = within(watched.status_changed()).await;
        assert!(matches!(lost, Some(Status::Disconnected(_))), "{lost:?}");
        assert_eq!(within(watched.status_changed()).await, Some(Status::Connected));
        assert!(within(bob.receive()).await.unwrap().data == pattern(30_000, 0));
        within(sent.arrived()).await.unwrap();
        // No second copy has come by the time that another message has.
        let last = within(alice.send(*bob.address(), "the last")).await.unwrap();
        assert_eq!(within(bob.receive()).await.unwrap().data, b"the last");
        within(last.arrived()).await.unwrap();
    });
}

#[test]
fn what_waits_while_a_client_is_away_is_there_when_it_comes_back() {
    run(async {
        let scene = Scene::new().await;
        let (dir, builder) = scene.created("bob");
        let bob = within(builder.clone().connect()).await.unwrap();
        let address = *bob.address();
        within(bob.disconnect()).await.unwrap();
        let stored = crate::mixnet::store::address(&dir).unwrap();
        assert_eq!(stored, Some(address));
        let alice = scene.client().await;
        let sent = within(alice.send(address, pattern(20_000, 1))).await.unwrap();
        within(sent.arrived()).await.unwrap();
        let mut bob = within(builder.connect()).await.unwrap();
        assert_eq!(*bob.address(), address);
        assert!(within(bob.receive()).await.unwrap().data == pattern(20_000, 1));
    });
}

#[test]
fn a_directory_has_one_user_at_a_time() {
    run(async {
        let scene = Scene::new().await;
        let (_, builder) = scene.created("alice");
        let alice = within(builder.clone().connect()).await.unwrap();
        let second = within(builder.clone().connect()).await.unwrap_err();
        assert!(second.to_string().contains("another program uses"), "{second}");
        within(alice.disconnect()).await.unwrap();
        within(builder.connect()).await.unwrap();
    });
}

#[test]
fn who_is_forgotten_is_told() {
    run(async {
        let scene = Scene::new().await;
        let (_, builder) = scene.created("alice");
        let alice = within(builder.clone().connect()).await.unwrap();
        scene.gateway.forget_everybody();
        let mut watched = alice.sender().clone();
        scene.gateway.cut();
        loop {
            match within(watched.status_changed()).await.unwrap() {
                Status::Ended(Some(why)) => {
                    assert!(why.contains("does not know this client"), "{why}");
                    break;
                }
                Status::Disconnected(_) => {}
                other => panic!("{other:?}"),
            }
        }
        let refused = within(alice.send(*alice.address(), "x")).await.unwrap_err();
        assert_eq!(refused, SendError::Disconnected);
        let refused = within(builder.connect()).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Link(LinkError::Unknown)), "{refused}");
    });
}

#[test]
fn what_cannot_be_sent_or_reached_is_said() {
    run(async {
        let scene = Scene::new().await;
        let alice = scene.client().await;
        let long = within(alice.send(*alice.address(), vec![0; MESSAGE_MAX + 1])).await;
        assert_eq!(long.unwrap_err(), SendError::Unsendable(Unsendable::TooLong));
        let gone = Client::builder().settings(scene.settings()).gateway([1; 32]).connect();
        assert!(matches!(within(gone).await, Err(ConnectError::GatewayGone(_))));
        let nowhere =
            Settings { topology: Some("/nonexistent/net.json".into()), ..scene.settings() };
        let error = within(Client::builder().settings(nowhere).connect()).await.unwrap_err();
        assert!(error.to_string().contains("/nonexistent/net.json"), "{error}");
        let dir = Path::new("/nonexistent/client");
        let error = within(Client::builder().dir(dir).connect()).await.unwrap_err();
        assert!(error.to_string().contains("phix-client init"), "{error}");
    });
}

/// What becomes of a message while the gateway answers packets like this, and how the client fares.
async fn refused_with(refusal: ServerResponse) -> (GivenUp, Status) {
    let scene = Scene::new().await;
    let once = Settings {
        retransmissions: Some(0),
        ack_wait_extra: Length::millis(200),
        ..scene.settings()
    };
    let alice = within(Client::builder().settings(once).connect()).await.unwrap();
    scene.gateway.refuse(refusal);
    let sent = within(alice.send(*alice.address(), "x")).await.unwrap();
    let why = within(sent.arrived()).await.unwrap_err();
    (why, alice.sender().status())
}

#[test]
fn who_sends_is_told_why_the_gateway_does_not() {
    run(async {
        let why = "10.0.0.1:1789 is a private address";
        let (given_up, status) = refused_with(ServerResponse::error(why)).await;
        assert_eq!(given_up, GivenUp::Refused(why.into()));
        assert_eq!(status, Status::Refused(why.into()));
        assert!(given_up.to_string().ends_with(&format!("and said: {why}")), "{given_up}");
        let error = TypedError::OutOfBandwidth { required: 2413, available: 0 };
        let (given_up, status) = refused_with(ServerResponse::TypedError { error }).await;
        assert_eq!((given_up, status), (GivenUp::OutOfBandwidth, Status::OutOfBandwidth));
    });
}

#[test]
fn who_sends_is_told_that_the_client_has_ended() {
    run(async {
        let scene = Scene::new().await;
        scene.gateway.lose_one_in(1);
        let alice = scene.client().await;
        let sent = within(alice.send(*alice.address(), "x")).await.unwrap();
        within(alice.disconnect()).await.unwrap();
        assert_eq!(within(sent.arrived()).await, Err(GivenUp::Ended(None)));
    });
}
