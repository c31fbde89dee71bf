//! The job on glommio: a task per connection.

use std::io;
use std::rc::Rc;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement, spawn_local};

use super::{LISTEN, Options, Start};
use crate::job::{CONNECTIONS, Lanes, READ, Splitter};

pub(super) fn run(options: &Options, start: &Start) -> io::Result<()> {
    let executor = LocalExecutorBuilder::new(Placement::Fixed(options.cpu)).make();
    executor.map_err(io::Error::from)?.run(job(options, start))
}

async fn job(options: &Options, start: &Start) -> io::Result<()> {
    let listener = TcpListener::bind(LISTEN)?;
    start.listening(listener.local_addr()?)?;
    let lanes = Rc::new(Lanes::default());
    let mut tasks = Vec::new();
    for (lane, &to) in options.to.iter().enumerate() {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        tasks.push(spawn_local(write(stream, Rc::clone(&lanes), lane)));
    }
    for _ in 0..CONNECTIONS {
        let stream = listener.accept().await?;
        tasks.push(spawn_local(read(stream, Rc::clone(&lanes))));
    }
    for task in tasks {
        task.await?;
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
    stream.close().await
}
