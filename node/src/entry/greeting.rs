//! What is said before a client has a session: which versions there are, and then a registration
//! or an authentication.

use phix_proto::gateway::authentication::AuthenticationError;
use phix_proto::gateway::registration::{GatewayHandshake, HandshakeMessage, Registration};
use phix_proto::gateway::{
    Authentication, CURRENT_VERSION, ClientRequest, ServerResponse, SharedKey, negotiate,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::Shared;
use super::counts::Refusal;
use super::delivery::ClientId;
use super::limits::{FIRST_WORD, HANDSHAKE, WORDS_MAX};
use super::socket::{End, Said, Socket};

/// A client that has shown who it is.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) client: ClientId,
    pub(crate) key: SharedKey,
    pub(crate) version: u8,
    pub(crate) way: Way,
}

/// How it has.
#[derive(Debug)]
pub(crate) enum Way {
    /// By a registration, whose last message is still to be sent: once the client is remembered.
    Registered(HandshakeMessage),
    /// By an authentication.
    Authenticated,
}

/// A refusal, and what to tell the client.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) end: End,
    pub(crate) answer: Option<String>,
}

impl Refused {
    pub(crate) fn new(why: Refusal, answer: impl std::fmt::Display) -> Self {
        let answer = ServerResponse::error(answer).to_text();
        Self { end: End::Refused(why), answer: Some(answer) }
    }
}

impl From<End> for Refused {
    fn from(end: End) -> Self {
        Self { end, answer: None }
    }
}

/// Waits until the client on `socket` has shown who it is.
pub(crate) async fn meet(shared: &Shared, socket: &mut Socket) -> Result<Newcomer, Refused> {
    let deadline = Instant::now() + FIRST_WORD;
    for _ in 0..WORDS_MAX {
        let said = timeout_at(deadline, socket.hear()).await;
        let text = match said.map_err(|_| End::Refused(Refusal::Silent))?? {
            Said::Text(text) => text,
            Said::Pong(_) => continue,
            Said::Binary(_) => {
                let why = "packets are taken once a session is open";
                return Err(Refused::new(Refusal::Unexpected, why));
            }
        };
        let request = ClientRequest::parse(&text);
        match request.map_err(|error| Refused::new(Refusal::Text, error))? {
            ClientRequest::SupportedProtocol {} => {
                let version = ServerResponse::SupportedProtocol { version: CURRENT_VERSION };
                socket.answer(&version).await?;
                socket.flush().await?;
            }
            ClientRequest::RegisterHandshakeInitRequest { protocol_version, data } => {
                return register(shared, socket, protocol_version, &data).await;
            }
            ClientRequest::AuthenticateV2(authentication) => {
                return authenticate(shared, &authentication).await;
            }
            other => {
                let why = format!("{} is not served before a session is open", other.name());
                return Err(Refused::new(Refusal::Unexpected, why));
            }
        }
    }
    Err(Refused::new(Refusal::Unexpected, "too many requests before a session is open"))
}

async fn register(
    shared: &Shared,
    socket: &mut Socket,
    version: u8,
    data: &[u8],
) -> Result<Newcomer, Refused> {
    if negotiate(version).is_none() {
        return Err(too_old(version));
    }
    let failed = |error| {
        let answer = HandshakeMessage::error(&error).to_text();
        Refused { end: End::Refused(Refusal::Registration), answer: Some(answer) }
    };
    let (handshake, answer) =
        GatewayHandshake::start(&shared.identity, version, data, &mut rand::rng())
            .map_err(failed)?;
    socket.text(answer.to_text()).await?;
    socket.flush().await?;
    let silent = |_| End::Refused(Refusal::Silent);
    let proof = timeout(HANDSHAKE, async {
        loop {
            match socket.hear().await? {
                Said::Text(text) => return Ok(text),
                Said::Pong(_) => {}
                Said::Binary(_) => return Err(End::Refused(Refusal::Unexpected)),
            }
        }
    });
    let proof = proof.await.map_err(silent)??;
    let proof = HandshakeMessage::parse(&proof)
        .map_err(|error| Refused::new(Refusal::Registration, error))?;
    let (registration, last) = handshake.finish(&proof).map_err(failed)?;
    let Registration { client, key, version } = registration;
    Ok(Newcomer { client, key, version, way: Way::Registered(last) })
}

async fn authenticate(
    shared: &Shared,
    authentication: &Authentication,
) -> Result<Newcomer, Refused> {
    let version = negotiate(authentication.protocol_version)
        .ok_or_else(|| too_old(authentication.protocol_version))?;
    let (client, now) = (authentication.client_identity, shared.now());
    // What anyone can write does not reach the database.
    let checked = authentication.verify_time(now).and_then(|()| authentication.verify_signature());
    checked.map_err(unproved)?;
    let known = shared.clients.find(client).await.map_err(|error| database(&error))?;
    let known =
        known.ok_or_else(|| Refused::new(Refusal::Stranger, "the client is not registered"))?;
    authentication.verify(&known.key, now, Some(known.authenticated)).map_err(unproved)?;
    let sent = authentication.request_unix_timestamp;
    let first = shared.clients.authenticate(client, sent, now).await;
    if !first.map_err(|error| database(&error))? {
        return Err(unproved(AuthenticationError::Replayed));
    }
    shared.counts.authenticated.add(1);
    Ok(Newcomer { client, key: known.key, version, way: Way::Authenticated })
}

fn too_old(version: u8) -> Refused {
    let why = format!("protocol version {version} is too old for this gateway");
    Refused::new(Refusal::Version, why)
}

fn unproved(error: AuthenticationError) -> Refused {
    let why = match error {
        AuthenticationError::Skew { .. } => Refusal::Clock,
        AuthenticationError::Signature | AuthenticationError::Ciphertext => Refusal::Proof,
        AuthenticationError::Replayed => Refusal::Replayed,
    };
    Refused::new(why, error)
}

/// What a client is told of a database that fails; the details are not its business.
pub(crate) fn database(_: &super::database::DatabaseError) -> Refused {
    Refused::new(Refusal::Database, "the gateway cannot serve this at present")
}
