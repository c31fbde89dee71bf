//! Files of a web server, by SOCKS5 through a whole network.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use phix_client::mixnet::Settings;
use tokio::process::Command;
use tokio::runtime;

use crate::proxy::Proxy;
use crate::scene::{Scene, hurried};
use crate::{web, within};

/// Files that are fetched at a time.
const AT_ONCE: usize = 20;

/// Fetches files of these lengths with curl, by name and address in turn, and sees that each of
/// them is right.
fn fetched_by_curl(test: &str, settings: impl Fn(&Scene) -> Settings, lens: &[usize]) {
    if let Err(error) = std::process::Command::new("curl").arg("-V").output() {
        // Written past the capture of the test harness: it must be seen when tests pass, too.
        let line = format!("ATTENTION: SKIPPED {test}, which needs curl: {error}\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let scene = Scene::set_up();
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(async {
        let exit = *scene.requester.address();
        let proxy = Proxy::start(settings(&scene), exit, None).await;
        let web = web::start().await;
        let dir = scene.network.dir.path().join("files");
        curl(&dir, proxy.address, web, lens).await;
        for (number, len) in lens.iter().enumerate() {
            let file = std::fs::read(dir.join(number.to_string())).unwrap();
            assert!(file == web::file(*len), "file {number} of {len} bytes: {} came", file.len());
        }
        assert_eq!(proxy.count("connected"), lens.len() as u64);
        within(proxy.sender.close()).await.unwrap();
    });
}

async fn curl(dir: &Path, proxy: SocketAddr, web: SocketAddr, lens: &[usize]) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--parallel", "--create-dirs"]);
    curl.args(["--parallel-max", &AT_ONCE.to_string()]);
    curl.args(["--socks5-hostname", &proxy.to_string()]);
    for (number, len) in lens.iter().enumerate() {
        let host = if number % 2 == 0 { "files.test" } else { "127.0.0.1" };
        curl.arg("--output").arg(dir.join(number.to_string()));
        curl.arg(format!("http://{host}:{}/{len}", web.port()));
    }
    let output = curl.env_clear().stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl: {} {said}", output.status);
}

#[test]
fn curl_fetches_files_of_many_lengths_and_every_byte_is_right() {
    let lens = web::lengths(30, 200_000);
    fetched_by_curl("curl_fetches_files_of_many_lengths", Scene::settings, &lens);
}

#[test]
#[ignore = "takes minutes: a hundred files up to 10 MB"]
fn curl_fetches_a_hundred_files_up_to_ten_megabytes() {
    let lens = web::lengths(100, 10_000_000);
    fetched_by_curl("curl_fetches_a_hundred_files", hurried, &lens);
}
