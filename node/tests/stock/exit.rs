//! SOCKS5 clients of the stock SDK at our exit.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use futures_util::future::join_all;
use phix_client::mixnet::{Length, Recipient, Settings, network_requesters};
use phix_proto::requester::Target;

use crate::network::Network;
use crate::proxy::Proxy;
use crate::sdk::Sdk;
use crate::{web, within};

/// Faster than users have it, so that much comes in little time.
const STREAM_MS: u64 = 5;

fn settings(network: &Network) -> Settings {
    Settings {
        directory: Some(network.url.clone()),
        main_stream: Length::millis(STREAM_MS),
        ..Settings::default()
    }
}

/// The exit that the directory describes, once it does.
async fn exit(network: &Network) -> Recipient {
    let settings = settings(network);
    within(async {
        loop {
            match network_requesters(&settings).await.as_deref() {
                Ok([exit]) => return *exit,
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    })
    .await
}

/// A stock client, and where applications connect to it.
async fn stock(network: &Network, exit: &Recipient, form: &str) -> (Sdk, SocketAddr) {
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (at, exit, stream) = (listen.to_string(), exit.to_string(), STREAM_MS.to_string());
    let how = ["--socks5", &at, "--exit", &exit, "--form", form, "--main-stream", &stream];
    (Sdk::start(&network.url, &how).await, listen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a program of the stock SDK: cargo xtask interop"]
async fn a_stock_socks5_client_fetches_files_through_our_exit() {
    let network = Network::start();
    drop(crate::ours(&network).await);
    let exit = exit(&network).await;
    let web = web::start().await;
    let by_name: Target = format!("localhost:{}", web.port()).parse().unwrap();
    for form in ["addressed", "unversioned", "current"] {
        let (stock, proxy) = stock(&network, &exit, form).await;
        for len in [0, 1, 1500, 40_000, 400_000] {
            let all = within(web::fetch(proxy, &by_name, len)).await.unwrap();
            assert!(all == web::file(len), "{form}, {len}: {} bytes came", all.len());
        }
        let lens = web::lengths(20, 60_000);
        let target = web.into();
        let all = join_all(lens.iter().map(|&len| web::fetch(proxy, &target, len)));
        for (len, all) in lens.iter().zip(within(all).await) {
            assert!(all.unwrap() == web::file(*len), "{form}, {len}, beside others");
        }
        stock.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a program of the stock SDK: cargo xtask interop"]
async fn stock_and_our_socks5_clients_use_our_exit_at_once() {
    let network = Network::start();
    drop(crate::ours(&network).await);
    let exit = exit(&network).await;
    let target = web::start().await.into();
    let ours = Proxy::start(settings(&network), exit, None).await;
    let (stock, proxy) = stock(&network, &exit, "current").await;
    let lens = web::lengths(12, 200_000);
    let both = [proxy, ours.address].into_iter().flat_map(|proxy| {
        let target = &target;
        lens.iter().map(move |&len| async move { (len, web::fetch(proxy, target, len).await) })
    });
    for (len, all) in within(join_all(both)).await {
        assert!(all.unwrap() == web::file(len), "{len}");
    }
    assert_eq!(ours.count("connected"), lens.len() as u64);
    within(ours.sender.close()).await.unwrap();
    stock.stop().await;
}
