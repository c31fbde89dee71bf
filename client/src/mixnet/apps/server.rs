//! The server that applications connect to.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::{Either, pending};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server as handshake;
use tokio_tungstenite::tungstenite::http::{StatusCode, header::ORIGIN};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::super::core::{Delivery, MESSAGE_MAX, Outgoing};
use super::super::settings::REPLY_SURBS_MAX;
use super::super::{Receiver, SendError, Sender};
use super::protocol::{ErrorKind, Request, RequestError, Response};
use super::{binary, text};
use crate::listener::{Listener, ServeError};

/// Bytes of a request, at most: the longest message, escaped for JSON where that must be.
const REQUEST_MAX: usize = 2 * MESSAGE_MAX;

/// How long an application may take to say that it wants a WebSocket.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A WebSocket server for one application at a time; messages wait while there is none.
///
/// Web pages may connect to any address of the machine that they are shown on, and browsers name
/// the page as the origin. So a connection that names one is refused, unless it is allowed.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    origins: Vec<String>,
}

impl Server {
    /// Listens on `address`; 127.0.0.1:1977 is where applications look for nym-client.
    ///
    /// # Errors
    /// If the address is not to be had.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        Ok(Self { listener: Listener::bind(address).await?, origins: Vec::new() })
    }

    /// Lets web pages of these origins in.
    #[must_use]
    pub fn allow_origins(mut self, origins: Vec<String>) -> Self {
        self.origins = origins;
        self
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves applications until the client ends.
    pub async fn run(self, sender: Sender, mut receiver: Receiver) {
        let mut kept = None;
        loop {
            let stream = self.listener.accept().await;
            let application = self.serve(stream, &sender, &mut receiver, &mut kept);
            tokio::pin!(application);
            let ended = loop {
                tokio::select! {
                    ended = &mut application => break ended,
                    other = self.listener.accept() => refuse(other).await,
                }
            };
            if ended {
                return;
            }
        }
    }

    /// Serves one application until it goes; whether the client has ended. A message that could
    /// not be handed over is kept for the next one.
    async fn serve(
        &self,
        stream: TcpStream,
        sender: &Sender,
        receiver: &mut Receiver,
        kept: &mut Option<Delivery>,
    ) -> bool {
        let Some(mut socket) = self.greet(stream).await else { return false };
        let mut is_text = false;
        loop {
            if hand_over(&mut socket, kept, is_text).await.is_err() {
                return false;
            }
            let heard = tokio::select! {
                heard = socket.next() => heard,
                delivery = receiver.receive() => {
                    if delivery.is_none() {
                        return true;
                    }
                    *kept = delivery;
                    continue;
                }
            };
            let request = match heard {
                Some(Ok(Message::Text(request))) => {
                    is_text = true;
                    text::parse(request.as_str())
                }
                Some(Ok(Message::Binary(request))) => {
                    is_text = false;
                    binary::parse(&request)
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
                Some(Ok(_)) => continue,
            };
            let answered = match request {
                Ok(request) => {
                    let done = perform(request, sender);
                    meanwhile(done, &mut socket, receiver, kept, is_text).await
                }
                Err(error) => Ok(Some(Response::Error(error))),
            };
            let said = match answered {
                Ok(Some(response)) => say(&mut socket, &response, is_text).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if said.is_err() {
                return false;
            }
        }
    }

    async fn greet(&self, stream: TcpStream) -> Option<WebSocketStream<TcpStream>> {
        #[expect(clippy::result_large_err, reason = "tungstenite's signature")]
        let look = |request: &handshake::Request, response: handshake::Response| {
            let origin = request.headers().get(ORIGIN);
            let allowed = origin.is_none_or(|origin| {
                self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
            });
            if allowed { Ok(response) } else { Err(refusal(StatusCode::FORBIDDEN)) }
        };
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(REQUEST_MAX);
        config.max_frame_size = Some(REQUEST_MAX);
        let greeted = accept_hdr_async_with_config(stream, look, Some(config));
        timeout(HANDSHAKE, greeted).await.ok()?.ok()
    }
}

/// Hands the message that is kept to the application. It stays kept where that fails.
async fn hand_over(
    socket: &mut WebSocketStream<TcpStream>,
    kept: &mut Option<Delivery>,
    is_text: bool,
) -> Result<(), tungstenite::Error> {
    if let Some(Delivery { data, sender }) = kept {
        let response = Response::Received { message: data.clone(), sender: *sender };
        say(socket, &response, is_text).await?;
        *kept = None;
    }
    Ok(())
}

/// Waits until what a request asks for is done. While a message waits for room in the queue, those
/// that come are handed over: what makes room comes the same way.
async fn meanwhile(
    done: impl Future<Output = Option<Response>>,
    socket: &mut WebSocketStream<TcpStream>,
    receiver: &mut Receiver,
    kept: &mut Option<Delivery>,
    is_text: bool,
) -> Result<Option<Response>, tungstenite::Error> {
    tokio::pin!(done);
    let mut ended = false;
    loop {
        let delivery =
            if ended { Either::Left(pending()) } else { Either::Right(receiver.receive()) };
        tokio::select! {
            biased;
            response = &mut done => return Ok(response),
            delivery = delivery => {
                ended = delivery.is_none();
                *kept = delivery;
                hand_over(socket, kept, is_text).await?;
            }
        }
    }
}

async fn perform(request: Request, sender: &Sender) -> Option<Response> {
    let (outgoing, connection) = match request {
        Request::Send { recipient, message, connection } => {
            (Outgoing::Message { recipient, data: message, reply_surbs: 0 }, connection)
        }
        Request::SendAnonymous { recipient, message, reply_surbs, connection } => {
            let reply_surbs = reply_surbs.min(REPLY_SURBS_MAX);
            (Outgoing::Message { recipient, data: message, reply_surbs }, connection)
        }
        Request::Reply { sender, message, connection } => {
            (Outgoing::Reply { sender, data: message }, connection)
        }
        Request::SelfAddress => return Some(Response::SelfAddress(*sender.address())),
        Request::ClosedConnection(lane) => {
            let closed = sender.close_lane(lane).await;
            return closed.err().map(|error| failed(error.into()));
        }
        Request::LaneQueueLength(lane) => return Some(lane_length(lane, sender).await),
    };
    match sender.submit(outgoing, connection).await {
        // Its arrival is nothing that this protocol has a word for.
        Ok(sent) => drop(sent),
        Err(error) => return Some(failed(error)),
    }
    match connection {
        Some(lane) => Some(lane_length(lane, sender).await),
        None => None,
    }
}

async fn lane_length(lane: u64, sender: &Sender) -> Response {
    match sender.lane_length(lane).await {
        Ok(length) => Response::LaneQueueLength { lane, length: length as u64 },
        Err(error) => failed(error.into()),
    }
}

fn failed(error: SendError) -> Response {
    Response::Error(RequestError::new(ErrorKind::Other, error))
}

async fn say(
    socket: &mut WebSocketStream<TcpStream>,
    response: &Response,
    is_text: bool,
) -> Result<(), tungstenite::Error> {
    let message = if is_text {
        Message::text(text::write(response))
    } else {
        Message::binary(binary::write(response))
    };
    socket.send(message).await
}

/// Tells an application that another one is there.
async fn refuse(stream: TcpStream) {
    #[expect(clippy::result_large_err, reason = "tungstenite's signature")]
    let busy = |_: &handshake::Request, _: handshake::Response| {
        Err(refusal(StatusCode::SERVICE_UNAVAILABLE))
    };
    // It may be gone already, and has no more to say that is of interest.
    let _ = timeout(HANDSHAKE, accept_hdr_async_with_config(stream, busy, None)).await;
}

fn refusal(status: StatusCode) -> handshake::ErrorResponse {
    let why = match status {
        StatusCode::FORBIDDEN => "web pages of this origin are not allowed; see --allow-origin",
        _ => "another application is connected; there is room for one at a time",
    };
    let mut refusal = handshake::ErrorResponse::new(Some(why.to_owned()));
    *refusal.status_mut() = status;
    refusal
}
