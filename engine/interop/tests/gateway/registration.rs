use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::mpsc::{SendError, UnboundedReceiver, UnboundedSender, unbounded};
use futures::{Sink, SinkExt, Stream, StreamExt};
use nym_gateway_requests::registration::handshake::{client_handshake, gateway_handshake};
use nym_task::ShutdownToken;
use phix_proto::gateway::registration::{ClientHandshake, GatewayHandshake, HandshakeMessage};
use phix_proto::gateway::{CURRENT_VERSION, ClientRequest, OLDEST_VERSION};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tungstenite::{Error, Message};

use crate::common::identity;

/// One end of a connection in memory.
struct End {
    to: UnboundedSender<Message>,
    from: UnboundedReceiver<Message>,
}

fn connection() -> (End, End) {
    let ((to_a, from_a), (to_b, from_b)) = (unbounded(), unbounded());
    (End { to: to_b, from: from_a }, End { to: to_a, from: from_b })
}

impl End {
    async fn say(&mut self, text: String) {
        self.to.send(Message::text(text)).await.unwrap();
    }

    async fn hear(&mut self) -> String {
        self.from.next().await.unwrap().into_text().unwrap().to_string()
    }
}

impl Stream for End {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.from.poll_next_unpin(cx).map(|item| item.map(Ok))
    }
}

impl Sink<Message> for End {
    type Error = SendError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.to.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), SendError> {
        self.to.start_send_unpin(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.to.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.to.poll_close_unpin(cx)
    }
}

#[tokio::test]
async fn our_client_registers_with_their_gateway() {
    let (client, gateway) = (identity(1), identity(2));
    for version in OLDEST_VERSION..=CURRENT_VERSION {
        let (mut near, mut far) = connection();
        let theirs = async {
            let text = far.hear().await;
            let Ok(ClientRequest::RegisterHandshakeInitRequest { protocol_version, data }) =
                ClientRequest::parse(&text)
            else {
                panic!("it is the first message: {text}");
            };
            let mut rng = StdRng::seed_from_u64(1);
            let token = ShutdownToken::default();
            let keys = &gateway.theirs;
            gateway_handshake(&mut rng, &mut far, keys, data, protocol_version, token).await
        };
        let ours = async {
            let mut rng = StdRng::seed_from_u64(2);
            let to = gateway.ours.verifying_key();
            let (client, first) = ClientHandshake::start(&client.ours, to, version, &mut rng);
            near.say(first.into_request().unwrap().to_text()).await;
            let answer = HandshakeMessage::parse(&near.hear().await).unwrap();
            let (client, proof) = client.answer(&answer, &mut rng).unwrap();
            near.say(proof.to_text()).await;
            client.finish(&HandshakeMessage::parse(&near.hear().await).unwrap())
        };
        let (theirs, ours) = tokio::join!(theirs, ours);
        let (theirs, (key, agreed)) = (theirs.unwrap(), ours.unwrap());
        assert_eq!(theirs.derived_key.as_bytes(), key.as_bytes());
        assert_eq!((theirs.negotiated_protocol, agreed), (version, version));
    }
}

#[tokio::test]
async fn their_client_registers_with_our_gateway() {
    let (client, gateway) = (identity(1), identity(2));
    for version in [OLDEST_VERSION, CURRENT_VERSION, CURRENT_VERSION + 40] {
        let (mut near, mut far) = connection();
        let theirs = async {
            let mut rng = StdRng::seed_from_u64(1);
            let token = ShutdownToken::default();
            let to = *gateway.theirs.public_key();
            client_handshake(&mut rng, &mut far, &client.theirs, to, version, token).await
        };
        let ours = async {
            let mut rng = StdRng::seed_from_u64(2);
            let text = near.hear().await;
            let Ok(ClientRequest::RegisterHandshakeInitRequest { protocol_version, data }) =
                ClientRequest::parse(&text)
            else {
                panic!("it is the first message: {text}");
            };
            let (state, answer) =
                GatewayHandshake::start(&gateway.ours, protocol_version, &data, &mut rng).unwrap();
            near.say(answer.to_text()).await;
            let proof = HandshakeMessage::parse(&near.hear().await).unwrap();
            let (registration, last) = state.finish(&proof).unwrap();
            near.say(last.to_text()).await;
            registration
        };
        let (theirs, ours) = tokio::join!(theirs, ours);
        let theirs = theirs.unwrap();
        assert_eq!(theirs.derived_key.as_bytes(), ours.key.as_bytes());
        assert_eq!(theirs.negotiated_protocol, version.min(CURRENT_VERSION));
        assert_eq!(ours.version, version.min(CURRENT_VERSION));
        assert_eq!(ours.client, client.ours.verifying_key().to_bytes());
    }
}

#[tokio::test]
async fn their_client_tells_an_impostor_from_its_gateway() {
    let (client, gateway, impostor) = (identity(1), identity(2), identity(3));
    let (mut near, mut far) = connection();
    let theirs = async {
        let mut rng = StdRng::seed_from_u64(1);
        let token = ShutdownToken::default();
        let to = *gateway.theirs.public_key();
        client_handshake(&mut rng, &mut far, &client.theirs, to, 6, token).await
    };
    let ours = async {
        let mut rng = StdRng::seed_from_u64(2);
        let Ok(ClientRequest::RegisterHandshakeInitRequest { data, .. }) =
            ClientRequest::parse(&near.hear().await)
        else {
            panic!("it is the first message");
        };
        let (_, answer) = GatewayHandshake::start(&impostor.ours, 6, &data, &mut rng).unwrap();
        near.say(answer.to_text()).await;
        HandshakeMessage::parse(&near.hear().await).unwrap()
    };
    let (theirs, ours) = tokio::join!(theirs, ours);
    assert!(theirs.is_err());
    assert!(matches!(ours, HandshakeMessage::HandshakeError { .. }), "{ours:?}");
}
