//! The job on tokio, on one thread: a task per connection.

use std::io;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use super::{LISTEN, Options, Start};
use crate::job::{CONNECTIONS, Lanes, READ, Splitter};

pub(super) fn run(options: &Options, start: &Start) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, job(options, start))
}

async fn job(options: &Options, start: &Start) -> io::Result<()> {
    let listener = TcpListener::bind(LISTEN).await?;
    start.listening(listener.local_addr()?)?;
    let lanes = Rc::new(Lanes::default());
    let mut tasks = Vec::new();
    for (lane, &to) in options.to.iter().enumerate() {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        tasks.push(spawn_local(write(stream, Rc::clone(&lanes), lane)));
    }
    for _ in 0..CONNECTIONS {
        let (stream, _) = listener.accept().await?;
        tasks.push(spawn_local(read(stream, Rc::clone(&lanes))));
    }
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    Ok(())
}

async fn read(mut stream: TcpStream, lanes: Rc<Lanes>) -> io::Result<()> {
    let (mut buffer, mut splitter) = (vec![0; READ], Splitter::default());
    loop {
        lanes.room().await;
        match stream.read(&mut buffer).await? {
            0 => break,
            count => splitter.feed(&buffer[..count], &lanes)?,
        }
    }
    lanes.end_reader();
    Ok(())
}

async fn write(mut stream: TcpStream, lanes: Rc<Lanes>, lane: usize) -> io::Result<()> {
    let mut bytes = Vec::new();
    while lanes.take(lane, &mut bytes).await {
        stream.write_all(&bytes).await?;
    }
    stream.shutdown().await
}
