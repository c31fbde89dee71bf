//! Clients that take nothing, servers that take nothing, and a gateway that goes.

use phix_node::exit::requester::counts::Ending;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep};

use crate::app::App;
use crate::scene::{Scene, echo, server, until};

/// Says zeros for as long as somebody takes them.
async fn endless(mut stream: TcpStream) {
    while stream.write_all(&[0; 1 << 14]).await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_stops_the_server() {
    /// Packets under way at most, and what they hold at most.
    const WINDOW: u64 = 192 * 1604;
    let scene = Scene::set_up();
    let target = server(endless).await;
    let mut app = App::new(&scene).await.frugal();
    app.connect(1, &target).await;
    app.supply(0).await;
    app.until(1, |heard| heard.connected).await;
    // The window fills, whatever is given away with the wish to connect.
    let read = || scene.counts.downloaded.get();
    until(|| read() > WINDOW / 2).await;
    let mut last = 0;
    while read() > last {
        last = read();
        sleep(Duration::from_secs(2)).await;
    }
    assert!(last <= WINDOW + 20 * 1604, "{last} bytes were read for somebody who takes nothing");
    // With SURBs it goes on where it stood.
    app.supply(100).await;
    app.until(1, |heard| heard.bytes.len() as u64 > 2 * WINDOW).await;
    assert!(app.connection(1).bytes.iter().all(|byte| *byte == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_nothing_does_not_make_memory_grow() {
    let scene = Scene::set_up();
    let target = server(|stream: TcpStream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let mut app = App::new(&scene).await;
    app.connect(1, &target).await;
    app.until(1, |heard| heard.connected).await;
    // More than the kernel's buffers and the bound take together.
    let piece = vec![7; 1 << 20];
    for _ in 0..20 {
        app.send(1, &piece, false).await;
        if scene.counts.ended(Ending::Overrun) > 0 {
            break;
        }
    }
    let error = app.all(1).await.error.clone();
    assert_eq!(error.as_deref(), Some("more was sent than the target took"));
    assert_eq!(scene.counts.ended(Ending::Overrun), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_killed_and_comes_back_loses_nothing() {
    let mut scene = Scene::set_up();
    let target = server(echo).await;
    let mut app = App::new(&scene).await;
    app.connect(1, &target).await;
    app.send(1, &[1; 40_000], false).await;
    until(|| scene.counts.uploaded.get() > 0).await;
    scene.network.kill(3);
    scene.network.revive(3);
    app.send(1, &[1; 40_000], true).await;
    assert_eq!(app.all(1).await.bytes, [1; 80_000]);
}
