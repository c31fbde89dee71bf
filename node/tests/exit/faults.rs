//! Parts of a network that die while an application downloads.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use phix_proto::requester::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::time::{Instant, sleep, timeout};

use crate::proxy::{Proxy, connect};
use crate::scene::{Scene, server};
use crate::{process::GATEWAY, web, within};

/// A mix of the second layer, the only one there.
const MIX: usize = 1;

/// How long an exit may be silent here.
const SILENCE: Duration = Duration::from_secs(10);

fn run(test: impl AsyncFnOnce(Scene)) {
    let scene = Scene::set_up();
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(test(scene));
}

/// Asks for an endless answer and reads the first of it.
async fn begun(proxy: &Proxy, endless: &Target) -> TcpStream {
    // Who asks right after a part of the network has come back may be too early.
    within(async {
        loop {
            if let Ok((mut stream, 0)) = connect(proxy.address, endless).await
                && stream.read_exact(&mut [0; 10_000]).await.is_ok()
            {
                return stream;
            }
            sleep(Duration::from_millis(200)).await;
        }
    })
    .await
}

/// Reads until the connection breaks; why.
async fn broken(mut stream: TcpStream) -> Error {
    let mut some = vec![0; 10_000];
    loop {
        match stream.read(&mut some).await {
            Ok(0) => panic!("a part is passed for all"),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

#[test]
fn a_download_survives_a_mix_and_a_gateway_that_come_back() {
    const LEN: usize = 1_500_000;
    run(async |mut scene| {
        let proxy = Proxy::start(scene.settings(), *scene.requester.address(), None).await;
        let target = web::start().await.into();
        let at = proxy.address;
        let download = tokio::spawn(async move { web::fetch(at, &target, LEN).await });
        for (node, so_far) in [(MIX, 100_000), (GATEWAY, 500_000)] {
            while scene.counts.downloaded.get() < so_far {
                assert!(!download.is_finished(), "it is too early");
                sleep(Duration::from_millis(5)).await;
            }
            scene.network.kill(node);
            sleep(Duration::from_millis(500)).await;
            scene.network.revive(node);
        }
        let all = within(download).await.unwrap().unwrap();
        assert!(all == web::file(LEN), "{} bytes came", all.len());
    });
}

#[test]
fn what_dies_for_good_is_an_error_in_time_and_not_the_end_of_the_client() {
    run(async |scene| {
        let Scene { requester, mut network, counts, .. } = scene;
        let settings = crate::scene::settings(&network);
        let proxy = Proxy::start(settings, *requester.address(), Some(SILENCE)).await;
        let endless =
            server(
                |mut stream| async move { while stream.write_all(&[7; 1 << 14]).await.is_ok() {} },
            )
            .await;
        for node in [MIX, GATEWAY] {
            let stream = begun(&proxy, &endless).await;
            network.kill(node);
            let error = within(broken(stream)).await;
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "node {node}");
            network.revive(node);
        }
        let stream = begun(&proxy, &endless).await;
        drop(requester);
        assert_eq!(within(broken(stream)).await.kind(), ErrorKind::ConnectionReset);
        assert!(proxy.count("times that the exit was silent") >= 3);
        // An application that comes now is told, too, and in time.
        let began = Instant::now();
        let told = timeout(Duration::from_secs(110), connect(proxy.address, &endless)).await;
        let (_, code) = told.expect("it is told in time").unwrap();
        assert_eq!(code, 6, "as after {:?}", began.elapsed());
        drop(counts);
        within(proxy.sender.close()).await.unwrap();
    });
}
