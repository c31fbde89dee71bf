//! The job on tokio-uring: a task per connection, buffers that the kernel owns while it uses them.

use std::io;
use std::rc::Rc;

use tokio_uring::net::{TcpListener, TcpStream};
use tokio_uring::spawn;

use super::{LISTEN, Options, Start};
use crate::job::{CONNECTIONS, Lanes, READ, Splitter};

pub(super) fn run(options: &Options, start: &Start) -> io::Result<()> {
    tokio_uring::start(job(options, start))
}

async fn job(options: &Options, start: &Start) -> io::Result<()> {
    let listener = TcpListener::bind(LISTEN.into())?;
    start.listening(listener.local_addr()?)?;
    let lanes = Rc::new(Lanes::default());
    let mut tasks = Vec::new();
    for (lane, &to) in options.to.iter().enumerate() {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        tasks.push(spawn(write(stream, Rc::clone(&lanes), lane)));
    }
    for _ in 0..CONNECTIONS {
        let (stream, _) = listener.accept().await?;
        tasks.push(spawn(read(stream, Rc::clone(&lanes))));
    }
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    Ok(())
}

async fn read(stream: TcpStream, lanes: Rc<Lanes>) -> io::Result<()> {
    let (mut buffer, mut splitter) = (vec![0; READ], Splitter::default());
    loop {
        lanes.room().await;
        let (result, used) = stream.read(buffer).await;
        buffer = used;
        match result? {
            0 => break,
            count => splitter.feed(&buffer[..count], &lanes)?,
        }
    }
    lanes.end_reader();
    Ok(())
}

async fn write(stream: TcpStream, lanes: Rc<Lanes>, lane: usize) -> io::Result<()> {
    let mut bytes = Vec::new();
    while lanes.take(lane, &mut bytes).await {
        let (result, used) = stream.write_all(bytes).await;
        bytes = used;
        result?;
    }
    stream.shutdown(std::net::Shutdown::Write)
}
