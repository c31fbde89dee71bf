//! What connections carry.

use std::time::Duration;

use phix_node::exit::requester::counts::{Dropped, Ending};
use phix_proto::requester::{
    Answer, Body, Connect, Content, Control, ControlAnswer, Query, Response, Target,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::app::App;
use crate::scene::{FORBIDDEN, Scene, echo, server, sockets, until};

fn pattern(len: usize, seed: u64) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8 ^ seed as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_are_right_both_ways_and_a_half_closed_connection_goes_on() {
    let scene = Scene::set_up();
    let mut app = App::new(&scene).await;
    let target = server(echo).await;
    app.connect(1, &target).await;
    let whole = pattern(150_000, 1);
    for piece in whole.chunks(20_000) {
        app.send(1, piece, false).await;
    }
    app.send(1, b"", true).await;
    // The server answers only when the client's side is closed.
    let heard = app.all(1).await;
    assert!(heard.connected && heard.error.is_none() && heard.bytes == whole);
    // By name, and before the wish to connect has come.
    app.send(2, &whole[..5000], true).await;
    sleep(Duration::from_millis(300)).await;
    app.connect(2, &format!("echo.test:{}", target.port).parse::<Target>().unwrap()).await;
    assert!(app.all(2).await.bytes == whole[..5000]);
    until(|| scene.counts.ended(Ending::Finished) == 2).await;
    assert_eq!(scene.counts.uploaded.get(), 155_000);
    assert_eq!(scene.counts.downloaded.get(), 155_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_at_once_are_right_and_leave_nothing_open() {
    const COUNT: u64 = 40;
    let scene = Scene::set_up();
    let mut app = App::new(&scene).await;
    let target = server(echo).await;
    let before = sockets();
    for number in 0..COUNT {
        app.connect(number, &target).await;
        app.send(number, &pattern(3_000, number), true).await;
    }
    for number in 0..COUNT {
        assert!(app.all(number).await.bytes == pattern(3_000, number), "connection {number}");
    }
    until(|| scene.counts.connections.get() == 0).await;
    assert_eq!(scene.counts.ended(Ending::Finished), COUNT);
    // The requester's may be one more or less than before, for its link to the gateway.
    until(|| sockets() <= before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_connected_to_is_said_and_closed() {
    let scene = Scene::set_up();
    let mut app = App::new(&scene).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let cases = [
        (format!("127.0.0.1:{FORBIDDEN}"), Ending::Forbidden, "does not connect"),
        ("192.0.2.1:80".to_owned(), Ending::Forbidden, "does not connect"),
        ("nowhere.invalid:80".to_owned(), Ending::Unresolved, "has no address"),
        (nobody.to_string(), Ending::Refused, "refuses"),
    ];
    for (number, (target, why, words)) in (1..).zip(cases) {
        let before = scene.counts.ended(why);
        app.connect(number, &target.parse().unwrap()).await;
        let error = app.all(number).await.error.clone().expect("the reason is said");
        assert!(error.contains(words), "{target}: {error}");
        assert_eq!(scene.counts.ended(why), before + 1, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_reset_close_early_or_never_answer_end_their_own_connection_only() {
    let scene = Scene::set_up();
    let mut app = App::new(&scene).await;
    let resets = server(|mut stream: TcpStream| async move {
        stream.write_all(b"so far").await.unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        stream.set_zero_linger().unwrap();
    })
    .await;
    let closes = server(|mut stream: TcpStream| async move {
        stream.write_all(b"bye").await.unwrap();
    })
    .await;
    let silent = server(|stream: TcpStream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    app.connect(1, &silent).await;
    app.send(1, b"hello?", false).await;
    app.connect(2, &resets).await;
    app.until(2, |heard| heard.bytes == b"so far").await;
    app.send(2, b"x", false).await;
    let error = app.all(2).await.error.clone();
    assert_eq!(error.as_deref(), Some("the target broke the connection"));
    app.connect(3, &closes).await;
    assert_eq!(app.all(3).await.bytes, b"bye");
    app.send(3, b"", true).await;
    let target = server(echo).await;
    app.connect(4, &target).await;
    app.send(4, b"still here", true).await;
    assert_eq!(app.all(4).await.bytes, b"still here");
    until(|| scene.counts.connections.get() == 1).await;
    // The client of the silent one closes; the server sees it, says nothing, and ends.
    app.send(1, b"", true).await;
    assert!(app.connection(1).connected && !app.connection(1).closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_forms_are_spoken_and_questions_are_answered() {
    let scene = Scene::set_up();
    let target = server(echo).await;
    let mut old = App::new(&scene).await.unversioned();
    old.connect(1, &target).await;
    old.send(1, b"as it was", true).await;
    assert_eq!(old.all(1).await.bytes, b"as it was");
    // A client that tells its address instead of giving reply SURBs.
    let return_address = Some(*old.address());
    let connect = Connect { connection: 2, target: target.clone(), return_address };
    old.request(Body::Connect(connect), 0).await;
    let data = phix_proto::requester::Data {
        connection: 2,
        sequence: 0,
        closed: true,
        bytes: b"to an address",
    };
    old.request(Body::Send(data), 0).await;
    assert_eq!(old.all(2).await.bytes, b"to an address");

    let mut app = App::new(&scene).await;
    let questions = [
        (Body::Query(Query::OpenProxy), Content::Query(Answer::OpenProxy(false))),
        (Body::Query(Query::Description), Content::Query(Answer::Description("loopback".into()))),
        (Body::Control(Control::Health), Content::Control(ControlAnswer::Health)),
        (Body::Control(Control::Versions), Content::Control(ControlAnswer::versions())),
    ];
    for (asked, expected) in questions {
        app.request(asked, 5).await;
        app.hear().await;
        let answer = app.answers.pop().expect("it is answered");
        assert_eq!(Response::parse(&answer).unwrap().content, expected);
    }
    app.say(b"no request at all".to_vec(), 1).await;
    app.request(Body::Control(Control::Health), 0).await;
    until(|| {
        scene.counts.dropped(Dropped::Malformed) == 1 && scene.counts.dropped(Dropped::NoWay) == 1
    })
    .await;
}
