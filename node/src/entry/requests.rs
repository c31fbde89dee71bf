//! What a client asks for in its session.

use phix_engine::shard::Origin;
use phix_io::NotTaken;
use phix_proto::gateway::binary::Forward;
use phix_proto::gateway::{
    CURRENT_VERSION, ClientRequest, NONCE, PrivateRequest, PrivateResponse, ServerResponse,
    TypedError,
};
use tokio::time::{Instant, sleep};

use super::account::Credit;
use super::counts::Refusal;
use super::hops;
use super::limits::{INJECTING, INJECTING_AGAIN, UNSAVED};
use super::session::{Session, nonce};
use super::socket::{End, Said};

/// A refusal within a session: counted, and told to the client.
type Answer = Result<ServerResponse, (Refusal, ServerResponse)>;

fn no(why: Refusal, answer: impl std::fmt::Display) -> (Refusal, ServerResponse) {
    (why, ServerResponse::error(answer))
}

impl Session {
    /// Serves one message; the answer goes out with the next flush.
    pub(crate) async fn take(&mut self, said: Said) -> Result<(), End> {
        let answer = match said {
            Said::Pong(bytes) => {
                self.pong(&bytes).await;
                return Ok(());
            }
            Said::Binary(bytes) => self.forward(bytes.into()).await,
            Said::Text(text) => match ClientRequest::parse(&text) {
                Err(error) => Err(no(Refusal::Text, error)),
                Ok(ClientRequest::EncryptedRequest { ciphertext, nonce }) => {
                    return self.private(&ciphertext, &nonce).await;
                }
                Ok(request) => self.control(request).await,
            },
        };
        self.answer(answer).await
    }

    async fn answer(&mut self, answer: Answer) -> Result<(), End> {
        let response = answer.unwrap_or_else(|(why, response)| {
            self.shared.counts.refuse(why);
            response
        });
        self.socket.answer(&response).await
    }

    async fn control(&mut self, request: ClientRequest) -> Answer {
        match request {
            ClientRequest::SupportedProtocol {} => {
                Ok(ServerResponse::SupportedProtocol { version: CURRENT_VERSION })
            }
            ClientRequest::ClaimFreeTestnetBandwidth => {
                let own = self.shared.services.contains(&self.seat.client);
                if !self.shared.free_bandwidth && !own {
                    let why = "this gateway gives no free bandwidth";
                    return Err(no(Refusal::FreeBandwidth, why));
                }
                self.credit(Credit::free(self.shared.now())).await
            }
            ClientRequest::EcashCredential { enc_credential, nonce } => {
                let ticket = <[u8; NONCE]>::try_from(nonce)
                    .ok()
                    .and_then(|nonce| self.key.open(&nonce, &enc_credential).ok());
                let Some(ticket) = ticket else {
                    let why = "the ticket is not sealed with the client's key";
                    return Err(no(Refusal::Ticket, why));
                };
                let worth = self.shared.tickets.spend(self.seat.client, ticket).await;
                self.credit(worth.map_err(|answer| (Refusal::Ticket, answer))?).await
            }
            ClientRequest::UpgradeModeJWT { .. } => {
                Err(no(Refusal::Unexpected, "the network is not being upgraded"))
            }
            other => {
                let why = format!("{} is not served in a session", other.name());
                Err(no(Refusal::Unexpected, why))
            }
        }
    }

    /// Adds bandwidth.
    async fn credit(&mut self, worth: Credit) -> Answer {
        // The database adds to what is left there, so it has to know what was spent.
        self.save().await;
        let now = self.shared.now();
        let credited = self.shared.clients.credit(self.seat.client, worth, now).await;
        let failed = |_| no(Refusal::Database, "the bandwidth cannot be credited at present");
        self.account.credited(credited.map_err(failed)?);
        let available_total = self.account.available(now);
        Ok(ServerResponse::Bandwidth { available_total, upgrade_mode: false })
    }

    async fn private(&mut self, ciphertext: &[u8], sealed_with: &[u8]) -> Result<(), End> {
        let response = match PrivateRequest::open(&self.key, ciphertext, sealed_with) {
            Err(error) => return self.answer(Err(no(Refusal::Text, error))).await,
            Ok(PrivateRequest::RememberMe { .. }) => PrivateResponse::RememberMeAck {},
            Ok(PrivateRequest::ForgetMe { client, .. }) => {
                if client && self.shared.clients.forget(self.seat.client).await.is_err() {
                    let why = "the client cannot be forgotten at present";
                    return self.answer(Err(no(Refusal::Database, why))).await;
                }
                let response = PrivateResponse::ForgetMeAck {}.seal(&self.key, nonce());
                self.socket.answer(&response).await?;
                if !client {
                    return Ok(());
                }
                self.shared.inbox.taken(self.seat.client, i64::MAX).await;
                self.account.save();
                self.socket.flush().await?;
                return Err(End::Over);
            }
        };
        self.socket.answer(&response.seal(&self.key, nonce())).await
    }

    /// Sends a packet to its first hop.
    async fn forward(&mut self, mut message: Vec<u8>) -> Answer {
        let forward =
            Forward::open(&self.key, &mut message).map_err(|error| no(Refusal::Binary, error))?;
        if !self.shared.private_hops && !hops::public(forward.next_hop.ip()) {
            let why = format!("{} is a private address", forward.next_hop);
            return Err(no(Refusal::PrivateHop, why));
        }
        let required = forward.packet.len() as i64;
        let available = self.account.available(self.shared.now());
        if available < required {
            let error = TypedError::OutOfBandwidth { required, available };
            return Err((Refusal::Bandwidth, ServerResponse::TypedError { error }));
        }
        let Forward { next_hop, rotation, packet, .. } = forward;
        self.inject(&Origin { next_hop, rotation, packet }).await?;
        self.shared.counts.forwarded.add(1);
        let remaining_bandwidth = self.account.spend(required);
        if self.account.unsaved() >= UNSAVED {
            self.save().await;
        }
        Ok(ServerResponse::Send { remaining_bandwidth, upgrade_mode: false })
    }

    /// Hands a packet to the shards. While these have no room the client waits, and nobody else.
    async fn inject(&self, origin: &Origin<'_>) -> Result<(), (Refusal, ServerResponse)> {
        let deadline = Instant::now() + INJECTING;
        loop {
            let why = match self.injector.send(origin) {
                Ok(()) => return Ok(()),
                Err(why @ NotTaken::Full) if Instant::now() >= deadline => (Refusal::Busy, why),
                Err(NotTaken::Full) => {
                    sleep(INJECTING_AGAIN).await;
                    continue;
                }
                Err(why @ NotTaken::Stopped) => (Refusal::Busy, why),
                Err(why @ (NotTaken::Size | NotTaken::Address)) => (Refusal::Hop, why),
            };
            return Err(no(why.0, format_args!("the packet is not sent: {}", why.1)));
        }
    }
}
