//! A client's WebSocket, with bounds on what it may hold and on how long writing may take.

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use phix_proto::gateway::{MAX_MESSAGE, ServerResponse};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

use super::counts::Refusal;
use super::limits::{GOODBYE, READ_BUFFER, UPGRADE, WRITE_BUFFER, WRITING};

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client has gone.
    Gone,
    /// It was refused or shut out.
    Refused(Refusal),
    /// It is no longer wanted: the node stops, or the client is forgotten or has another session.
    Over,
}

/// What a client said.
#[derive(Debug)]
pub(crate) enum Said {
    Text(tungstenite::Utf8Bytes),
    Binary(Bytes),
    /// The answer to a ping, with what the ping had in it.
    Pong(Bytes),
}

/// The connection of one client.
#[derive(Debug)]
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Makes a WebSocket of the connection, if it becomes one in time.
    pub(crate) async fn accept(stream: TcpStream) -> Result<Self, End> {
        tune(&stream);
        // Directories and whatever balances load only look whether somebody is there.
        match timeout(UPGRADE, stream.peek(&mut [0])).await {
            Ok(Ok(0) | Err(_)) => return Err(End::Gone),
            Ok(Ok(_)) => {}
            Err(_) => return Err(End::Refused(Refusal::Upgrade)),
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(WRITE_BUFFER + 2 * MAX_MESSAGE)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        match timeout(UPGRADE, accept_async_with_config(stream, Some(config))).await {
            Ok(Ok(socket)) => Ok(Self(socket)),
            Ok(Err(_)) | Err(_) => Err(End::Refused(Refusal::Upgrade)),
        }
    }

    /// What the client says next.
    pub(crate) async fn hear(&mut self) -> Result<Said, End> {
        loop {
            if let Some(said) = said(self.0.next().await)? {
                return Ok(said);
            }
        }
    }

    /// What the client has said already, if it has.
    pub(crate) fn heard(&mut self) -> Result<Option<Said>, End> {
        while let Some(item) = self.0.next().now_or_never() {
            if let Some(said) = said(item)? {
                return Ok(Some(said));
            }
        }
        Ok(None)
    }

    /// Says `response`, now or with the next [`Socket::flush`].
    pub(crate) async fn answer(&mut self, response: &ServerResponse) -> Result<(), End> {
        self.write(Message::text(response.to_text())).await
    }

    /// Says a text message, as [`Socket::answer`] does.
    pub(crate) async fn text(&mut self, text: String) -> Result<(), End> {
        self.write(Message::text(text)).await
    }

    /// Says a binary message, as [`Socket::answer`] does.
    pub(crate) async fn binary(&mut self, bytes: Vec<u8>) -> Result<(), End> {
        self.write(Message::binary(bytes)).await
    }

    /// Asks for a pong with these bytes, at once.
    pub(crate) async fn ping(&mut self, bytes: [u8; 8]) -> Result<(), End> {
        self.write(Message::Ping(Bytes::copy_from_slice(&bytes))).await?;
        self.flush().await
    }

    /// Hands all that was said to the kernel.
    pub(crate) async fn flush(&mut self) -> Result<(), End> {
        written(&timeout(WRITING, self.0.flush()).await)
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        written(&timeout(WRITING, self.0.feed(message)).await)
    }

    /// Says goodbye to a client that may have gone, after what was said last.
    pub(crate) async fn part(mut self) {
        let goodbye = async {
            // This says what was not flushed yet, too.
            if self.0.close(None).await.is_ok() {
                // To close a socket with unread bytes in it would take the goodbye away again.
                while self.0.next().await.is_some_and(|item| item.is_ok()) {}
            }
        };
        // Whether it is heard is no longer of importance here.
        let _ = timeout(GOODBYE, goodbye).await;
    }
}

/// Small messages go out at once, and a client that has vanished is noticed.
fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(20))
        .with_retries(3);
    // The connection works without either.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
}

fn said(item: Option<Result<Message, tungstenite::Error>>) -> Result<Option<Said>, End> {
    use tungstenite::Error;
    match item {
        Some(Ok(Message::Text(text))) => Ok(Some(Said::Text(text))),
        Some(Ok(Message::Binary(bytes))) => Ok(Some(Said::Binary(bytes))),
        Some(Ok(Message::Pong(bytes))) => Ok(Some(Said::Pong(bytes))),
        // Pings are answered beneath.
        Some(Ok(Message::Ping(_) | Message::Frame(_))) => Ok(None),
        Some(Ok(Message::Close(_))) | None => Err(End::Gone),
        Some(Err(Error::Capacity(_) | Error::Protocol(_) | Error::Utf8(_))) => {
            Err(End::Refused(Refusal::Frames))
        }
        Some(Err(_)) => Err(End::Gone),
    }
}

fn written(
    result: &Result<Result<(), tungstenite::Error>, tokio::time::error::Elapsed>,
) -> Result<(), End> {
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Refused(Refusal::Slow)),
    }
}
