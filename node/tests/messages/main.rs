//! Messages from client to client, through a gateway and three mixes, each a process of its own.

mod network;

use std::time::Duration;

use phix_client::mixnet::{Client, Delivery, Length, Settings};

use network::Network;

/// More than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(300);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

/// Faster than stock clients are, so that much can be sent in little time.
fn settings(network: &Network) -> Settings {
    Settings {
        topology: Some(network.topology.clone()),
        main_stream: Length::millis(10),
        hop_delay: Length::millis(5),
        ack_delay: Length::millis(5),
        ack_wait_extra: Length::millis(1500),
        reconnect_max: Length::millis(1000),
        ..Settings::default()
    }
}

async fn client(network: &Network) -> Client {
    within(Client::builder().settings(settings(network)).connect()).await.unwrap()
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16) ^ seed.wrapping_mul(151)) as u8).collect()
}

/// Lengths from one byte to a megabyte, evenly by their logarithms.
fn lengths(count: usize) -> Vec<usize> {
    (0..count).map(|i| 1e6f64.powf(i as f64 / (count - 1) as f64).round() as usize).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_messages_of_one_byte_to_a_megabyte_arrive_once_each() {
    let network = Network::start();
    let (mut alice, mut bob) = (client(&network).await, client(&network).await);
    let (own, other) = (*alice.address(), *bob.address());
    let lengths = lengths(100);
    let mut sent = Vec::new();
    for (seed, &len) in lengths.iter().enumerate() {
        let (from, to) = if seed % 2 == 0 { (&alice, other) } else { (&bob, own) };
        sent.push(within(from.send(to, pattern(len, seed))).await.unwrap());
    }
    let mut received = Vec::new();
    while received.len() < lengths.len() {
        let Delivery { data, sender } = within(async {
            tokio::select! {
                delivery = alice.receive() => delivery,
                delivery = bob.receive() => delivery,
            }
        })
        .await
        .unwrap();
        assert_eq!(sender, None);
        received.push(data);
    }
    let mut expected: Vec<_> = lengths.iter().zip(0..).map(|(&len, i)| pattern(len, i)).collect();
    expected.sort();
    received.sort();
    assert!(received == expected, "each message came once, as it was sent");
    for sent in sent {
        within(sent.arrived()).await.unwrap();
    }
    for client in [alice, bob] {
        let counters = within(client.disconnect()).await.unwrap();
        println!("{counters:?}");
        assert_eq!((counters.received_unreadable, counters.received_malformed), (0, 0));
        assert!(counters.sent_cover_loop > 0 && counters.received_cover > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_unknown_is_answered_and_who_is_away_finds_it_later() {
    let network = Network::start();
    let dir = network.dir.path().join("alice");
    Client::builder().settings(settings(&network)).create(&dir).unwrap();
    let builder = Client::builder().dir(&dir);
    let mut alice = within(builder.clone().connect()).await.unwrap();
    let mut bob = client(&network).await;
    let asked = alice.sender().send_anonymously(*bob.address(), "who am I?", 20);
    let asked = within(asked).await.unwrap();
    within(asked.arrived()).await.unwrap();
    let sender = within(bob.receive()).await.unwrap().sender.expect("it brought reply SURBs");
    let answer = within(bob.reply(sender, pattern(20_000, 1))).await.unwrap();
    assert!(within(alice.receive()).await.unwrap().data == pattern(20_000, 1));
    within(answer.arrived()).await.unwrap();

    let address = *alice.address();
    within(alice.disconnect()).await.unwrap();
    let late = within(bob.send(address, pattern(50_000, 2))).await.unwrap();
    within(late.arrived()).await.unwrap();
    let mut alice = within(builder.connect()).await.unwrap();
    assert_eq!(*alice.address(), address);
    assert!(within(alice.receive()).await.unwrap().data == pattern(50_000, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mix_and_the_gateway_are_killed_and_come_back_in_the_middle() {
    let mut network = Network::start();
    let (alice, mut bob) = (client(&network).await, client(&network).await);
    let count = 20;
    let mut sent = Vec::new();
    for seed in 0..count {
        sent.push(within(alice.send(*bob.address(), pattern(20_000, seed))).await.unwrap());
    }
    let mut received = Vec::new();
    for victim in [1, 3] {
        received.push(within(bob.receive()).await.unwrap().data);
        network.kill(victim);
        network.revive(victim);
    }
    for sent in sent {
        within(sent.arrived()).await.unwrap();
    }
    while received.len() < count {
        received.push(within(bob.receive()).await.unwrap().data);
    }
    // Another message shows that none of these comes a second time after all.
    let last = within(alice.send(*bob.address(), "the last")).await.unwrap();
    within(last.arrived()).await.unwrap();
    assert_eq!(within(bob.receive()).await.unwrap().data, b"the last");
    let mut expected: Vec<_> = (0..count).map(|seed| pattern(20_000, seed)).collect();
    expected.sort();
    received.sort();
    assert!(received == expected, "each message came once, as it was sent");
}
