//! Programs of the stock SDK 1.21.6 in a network of ours, with each other and with our clients.
//! They take minutes to build: `cargo xtask interop` does it and runs these tests.

mod network;
mod sdk;

use std::time::Duration;

use phix_client::mixnet::{Client, Length, Settings};

use network::Network;
use sdk::{Message, Sdk};

/// More than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(300);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

/// A client of ours. The directory shows no network before it has probed the nodes.
async fn ours(network: &Network) -> Client {
    let settings = Settings {
        directory: Some(network.url.clone()),
        main_stream: Length::millis(10),
        ..Settings::default()
    };
    within(async {
        loop {
            match Client::builder().settings(settings.clone()).connect().await {
                Ok(client) => return client,
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    })
    .await
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16) ^ seed.wrapping_mul(151)) as u8).collect()
}

/// Lengths from one byte up to `longest`, evenly by their logarithms.
fn lengths(count: usize, longest: usize) -> Vec<usize> {
    let power = |i| i as f64 / (count - 1) as f64;
    (0..count).map(|i| (longest as f64).powf(power(i)).round() as usize).collect()
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a program of the stock SDK: cargo xtask interop"]
async fn stock_programs_exchange_a_hundred_messages() {
    let network = Network::start();
    drop(ours(&network).await);
    let mut alice = Sdk::start(&network.url, &[]).await;
    let mut bob = Sdk::start(&network.url, &[]).await;
    let lengths = lengths(100, 1_000_000);
    for (seed, &len) in lengths.iter().enumerate() {
        let data = pattern(len, seed);
        match seed % 2 {
            0 => alice.send(&bob.address, 0, &data).await,
            _ => bob.send(&alice.address, 0, &data).await,
        }
    }
    let mut received = Vec::new();
    while received.len() < lengths.len() {
        let next = async {
            tokio::select! {
                message = alice.message() => message,
                message = bob.message() => message,
            }
        };
        received.push(within(next).await.data);
    }
    let expected = lengths.iter().enumerate().map(|(seed, &len)| pattern(len, seed)).collect();
    assert!(sorted(received) == sorted::<Vec<u8>>(expected));
    alice.stop().await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a program of the stock SDK: cargo xtask interop"]
async fn stock_programs_and_our_client_exchange_messages_and_answers() {
    let network = Network::start();
    let mut ours = ours(&network).await;
    let mut stock = Sdk::start(&network.url, &[]).await;
    let stock_address = stock.address.parse().expect("it is an address");
    let lengths = lengths(10, 200_000);
    for (seed, &len) in lengths.iter().enumerate() {
        stock.send(&ours.address().to_string(), 0, &pattern(len, seed)).await;
        let _ = within(ours.send(stock_address, pattern(len, seed + 100))).await.unwrap();
    }
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for _ in &lengths {
        here.push(within(ours.receive()).await.unwrap().data);
        there.push(within(stock.message()).await.data);
    }
    let expected = |first: usize| -> Vec<Vec<u8>> {
        sorted(lengths.iter().enumerate().map(|(at, &len)| pattern(len, at + first)).collect())
    };
    assert!(sorted(here) == expected(0) && sorted(there) == expected(100));

    // A stock program asks, with few blocks; our answer is longer, so that it must ask for more.
    stock.send(&ours.address().to_string(), 10, b"who am I?").await;
    let asked = within(ours.receive()).await.unwrap();
    assert_eq!(asked.data, b"who am I?");
    let sender = asked.sender.expect("it brought reply blocks");
    let answer = within(ours.reply(sender, pattern(50_000, 7))).await.unwrap();
    let answered = within(stock.message()).await;
    assert!(answered == Message { tag: None, data: pattern(50_000, 7) });
    within(answer.arrived()).await.unwrap();

    // Our client asks, and the stock program asks for more.
    let asked = ours.sender().send_anonymously(stock_address, "and I?", 10);
    let _ = within(asked).await.unwrap();
    let asked = within(stock.message()).await;
    assert_eq!(asked.data, b"and I?");
    stock.reply(&asked.tag.expect("it brought reply blocks"), &pattern(50_000, 8)).await;
    assert!(within(ours.receive()).await.unwrap().data == pattern(50_000, 8));
    stock.stop().await;
    let counters = within(ours.disconnect()).await.unwrap();
    assert_eq!((counters.received_unreadable, counters.received_malformed), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a program of the stock SDK: cargo xtask interop"]
async fn messages_wait_for_a_stock_program_that_is_away() {
    let network = Network::start();
    let ours = ours(&network).await;
    let storage = network.dir.path().join("sdk");
    let stored = ["--storage", storage.to_str().expect("a path of ASCII")];
    let stock = Sdk::start(&network.url, &stored).await;
    let address = stock.address.clone();
    stock.stop().await;
    let recipient = address.parse().expect("it is an address");
    let sent = within(ours.send(recipient, pattern(30_000, 1))).await.unwrap();
    within(sent.arrived()).await.unwrap();
    let mut stock = Sdk::start(&network.url, &stored).await;
    assert_eq!(stock.address, address);
    assert!(within(stock.message()).await.data == pattern(30_000, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a program of the stock SDK: cargo xtask interop"]
async fn a_stock_program_can_have_a_topology_provider_of_its_own() {
    let network = Network::start();
    let mut ours = ours(&network).await;
    // The directory has several gateways; the provider leaves this one.
    let here = ours.address().to_string();
    let (_, gateway) = here.split_once('@').expect("an address names its gateway");
    let mut stock = Sdk::start(&network.url, &["--through", gateway]).await;
    assert!(stock.address.ends_with(&format!("@{gateway}")), "{}", stock.address);
    stock.send(&here, 5, &pattern(20_000, 1)).await;
    let asked = within(ours.receive()).await.unwrap();
    assert!(asked.data == pattern(20_000, 1));
    let sender = asked.sender.expect("it brought reply blocks");
    let answer = within(ours.reply(sender, pattern(5_000, 2))).await.unwrap();
    assert!(within(stock.message()).await.data == pattern(5_000, 2));
    within(answer.arrived()).await.unwrap();
    let address = stock.address.parse().expect("it is an address");
    let sent = within(ours.send(address, pattern(5_000, 3))).await.unwrap();
    assert!(within(stock.message()).await.data == pattern(5_000, 3));
    within(sent.arrived()).await.unwrap();
    stock.stop().await;
}
