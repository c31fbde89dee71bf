//! Whether clients could enter at a node: a connection that asks, as clients do first, which
//! version is spoken there, and leaves.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use phix_proto::gateway::{ClientRequest, ServerResponse};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Bytes of an answer, at most.
const ANSWER_MAX: usize = 16 * 1024;
/// Messages to wait through for the answer.
const MESSAGES_MAX: usize = 4;

/// Whether the gateway at the other end of `stream`, which is `at`, says its version.
pub(super) async fn enters(at: SocketAddr, stream: TcpStream) -> bool {
    said(at, stream).await.is_some_and(|response| {
        matches!(ServerResponse::parse(&response), Ok(ServerResponse::SupportedProtocol { .. }))
    })
}

async fn said(at: SocketAddr, stream: TcpStream) -> Option<String> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(ANSWER_MAX))
        .max_frame_size(Some(ANSWER_MAX));
    let opened = client_async_with_config(format!("ws://{at}/"), stream, Some(config)).await;
    let (mut socket, _) = opened.ok()?;
    let question = ClientRequest::SupportedProtocol {}.to_text();
    socket.send(Message::text(question)).await.ok()?;
    for _ in 0..MESSAGES_MAX {
        if let Message::Text(text) = socket.next().await?.ok()? {
            // The answer is here; how the connection ends does not matter.
            let _ = socket.close(None).await;
            return Some(text.to_string());
        }
    }
    None
}
