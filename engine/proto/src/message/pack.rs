//! Packets for fragments, answers and cover, each with its acknowledgement inside.

use std::fmt;
use std::net::SocketAddr;

use phix_engine::crypto::Kernels;
use phix_engine::limits::BATCH_MAX;
use phix_engine::secret::InitialSecret;
use phix_engine::sphinx::build::{Builder, Hop, PADDING_MAX, Request, Unbuildable};
use phix_engine::units::Span;
use phix_engine::wire::address;
use phix_engine::wire::frame::KeyRotation;
use phix_engine::wire::geometry::{ADDRESS, HEADER, K, PacketSize};
use rand_core::CryptoRng;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::cover;
use super::fragment::{Fragment, FragmentId};
use super::keys::{AckKey, random};
use super::payload::write_ack;
use super::recipient::Recipient;
use super::seal::{ReplyKey, agree, apply_shared};
use super::split::fragment_room;
use super::surb::{ReplySurb, SurbFormat};

/// The ways of a packet and of its acknowledgement.
#[derive(Clone, Copy, Debug)]
pub struct Routes<'a> {
    /// To the gateway of the recipient, which is the last hop.
    pub there: &'a [Hop],
    /// From the gateway of the recipient, which is not part of it, to that of the sender.
    pub back: &'a [Hop],
    /// The rotation that the keys of both belong to.
    pub rotation: KeyRotation,
}

/// A fragment and its way.
#[derive(Clone, Copy, Debug)]
pub struct Parcel<'a> {
    /// What to send.
    pub fragment: &'a Fragment,
    /// To whom.
    pub recipient: &'a Recipient,
    /// By which nodes.
    pub routes: Routes<'a>,
}

/// A fragment of an answer, the block that it uses up, and the way of its acknowledgement.
#[derive(Debug)]
pub struct Answer<'a> {
    /// What to send.
    pub fragment: &'a Fragment,
    /// The block. Nobody else may have used it.
    pub surb: ReplySurb,
    /// The way of the acknowledgement; see [`Routes::back`].
    pub back: &'a [Hop],
}

/// A packet that is ready for the gateway of the sender.
#[derive(Clone)]
pub struct Packet {
    /// The node that the gateway is to send it to.
    pub first_hop: SocketAddr,
    /// The rotation that it was made for.
    pub rotation: KeyRotation,
    /// The Sphinx packet.
    pub bytes: Vec<u8>,
    /// What its acknowledgement will name.
    pub id: FragmentId,
    /// The sum of the delays that nodes are asked for, there and back; only back for an answer,
    /// where nobody but the maker of the block knows the rest.
    pub delays: Span,
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("first_hop", &self.first_hop)
            .field("id", &self.id)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Makes the packets of one client.
pub struct Packer {
    builder: Builder,
    own: Recipient,
    ack: AckKey,
    format: SurbFormat,
}

/// What goes into a packet, without its acknowledgement.
struct Content<'a> {
    id: FragmentId,
    size: PacketSize,
    body: Body<'a>,
    back: &'a [Hop],
}

enum Body<'a> {
    Fragment(&'a Fragment, &'a Recipient),
    Reply(&'a Fragment, &'a ReplyKey),
    Cover,
}

impl Packer {
    /// A packer for the client `own`, which reads its acknowledgements with `ack`. `format` is the
    /// Sphinx version of all that it makes, and what its reply blocks hold.
    pub fn new(kernels: Kernels, own: Recipient, ack: AckKey, format: SurbFormat) -> Self {
        Self { builder: Builder::new(kernels), own, ack, format }
    }

    /// The client that acknowledgements and answers come to.
    pub const fn own(&self) -> &Recipient {
        &self.own
    }

    /// The packets for `parcels`, in their order.
    ///
    /// # Errors
    /// If a route has no hop, or too many; the lane is the position among the parcels.
    ///
    /// # Panics
    /// If a fragment has the length of none that [`split`](super::split) makes, or the first hop of
    /// a route is no address.
    pub fn pack<R: CryptoRng + ?Sized>(
        &mut self,
        parcels: &[Parcel<'_>],
        rng: &mut R,
    ) -> Result<Vec<Packet>, Unbuildable> {
        let contents = parcels.iter().map(|parcel| Content {
            id: parcel.fragment.id(),
            size: size_for(parcel.fragment),
            body: Body::Fragment(parcel.fragment, parcel.recipient),
            back: parcel.routes.back,
        });
        let routes: Vec<_> = parcels.iter().map(|parcel| parcel.routes).collect();
        let recipients: Vec<_> = parcels.iter().map(|parcel| *parcel.recipient).collect();
        self.forward(&contents.collect::<Vec<_>>(), &routes, &recipients, rng)
    }

    /// Cover packets of `size` to this client itself, one for each of `routes`.
    ///
    /// # Errors
    /// As [`Packer::pack`].
    ///
    /// # Panics
    /// If `size` is that of acknowledgements, or the first hop of a route is no address.
    pub fn cover<R: CryptoRng + ?Sized>(
        &mut self,
        size: PacketSize,
        routes: &[Routes<'_>],
        rng: &mut R,
    ) -> Result<Vec<Packet>, Unbuildable> {
        let contents = routes.iter().map(|routes| Content {
            id: FragmentId::COVER,
            size,
            body: Body::Cover,
            back: routes.back,
        });
        let recipients = vec![self.own; routes.len()];
        self.forward(&contents.collect::<Vec<_>>(), routes, &recipients, rng)
    }

    /// The packets for `answers`, in their order.
    ///
    /// # Errors
    /// As [`Packer::pack`], for the ways back.
    ///
    /// # Panics
    /// As [`Packer::pack`].
    pub fn answer<R: CryptoRng + ?Sized>(
        &mut self,
        answers: &[Answer<'_>],
        rng: &mut R,
    ) -> Result<Vec<Packet>, Unbuildable> {
        let contents = answers.iter().map(|answer| Content {
            id: answer.fragment.id(),
            size: size_for(answer.fragment),
            body: Body::Reply(answer.fragment, answer.surb.key()),
            back: answer.back,
        });
        let contents: Vec<_> = contents.collect();
        let plains = self.plaintexts(&contents, rng)?;
        let mut packets: Vec<_> =
            contents.iter().map(|content| vec![0; content.size.packet_len()]).collect();
        let replies: Vec<_> =
            answers.iter().zip(&plains).map(|(answer, plain)| answer.surb.reply(plain)).collect();
        let batches = replies.chunks(BATCH_MAX).zip(packets.chunks_mut(BATCH_MAX));
        for (at, (replies, packets)) in batches.enumerate() {
            let mut rows: Vec<_> = packets.iter_mut().map(|packet| &mut packet[..]).collect();
            self.builder.build_replies(replies, &mut rows).map_err(|error| moved(error, at))?;
        }
        let made = answers.iter().zip(packets).map(|(answer, bytes)| Packet {
            first_hop: answer.surb.first_hop(),
            rotation: answer.surb.rotation(),
            bytes,
            id: answer.fragment.id(),
            delays: delays(answer.back),
        });
        Ok(made.collect())
    }

    /// Reply blocks that lead to this client, one for each of `routes`, whose last hop is its
    /// gateway. Their keys are to be kept, each under its [`ReplyKey::digest`].
    ///
    /// # Errors
    /// As [`Packer::pack`].
    ///
    /// # Panics
    /// If the first hop of a route is no address.
    pub fn surbs<R: CryptoRng + ?Sized>(
        &mut self,
        routes: &[&[Hop]],
        rotation: KeyRotation,
        rng: &mut R,
    ) -> Result<Vec<ReplySurb>, Unbuildable> {
        let mut surbs = Vec::with_capacity(routes.len());
        for (at, routes) in routes.chunks(BATCH_MAX).enumerate() {
            let seeds = Seeds::draw(routes.len(), rng);
            let requests = routes.iter().enumerate().map(|(lane, route)| {
                seeds.request(lane, route, self.own.identity(), self.format, &[])
            });
            let requests: Vec<_> = requests.collect();
            let mut headers = vec![[0; HEADER]; routes.len()];
            let key_len = |route: &&[Hop]| route.len() * self.format.hop_key_len();
            let mut keys: Vec<_> =
                routes.iter().map(|route| Zeroizing::new(vec![0; key_len(route)])).collect();
            let mut header_rows: Vec<_> = headers.iter_mut().collect();
            let mut key_rows: Vec<_> = keys.iter_mut().map(|keys| &mut keys[..]).collect();
            self.builder
                .build_blocks(&requests, &mut header_rows, &mut key_rows)
                .map_err(|error| moved(error, at))?;
            for ((route, header), hop_keys) in routes.iter().zip(headers).zip(keys) {
                surbs.push(ReplySurb {
                    key: ReplyKey::generate(rng),
                    header: Box::new(header),
                    first_hop: first_hop(route),
                    format: self.format,
                    hop_keys,
                    rotation,
                });
            }
        }
        Ok(surbs)
    }

    fn forward<R: CryptoRng + ?Sized>(
        &mut self,
        contents: &[Content<'_>],
        routes: &[Routes<'_>],
        recipients: &[Recipient],
        rng: &mut R,
    ) -> Result<Vec<Packet>, Unbuildable> {
        let plains = self.plaintexts(contents, rng)?;
        let seeds = Seeds::draw(contents.len(), rng);
        let requests = (0..contents.len()).map(|lane| {
            let (route, recipient) = (routes[lane].there, &recipients[lane]);
            seeds.request(lane, route, recipient.identity(), self.format, &plains[lane])
        });
        let requests: Vec<_> = requests.collect();
        let packets = self.build(&requests, contents.iter().map(|content| content.size))?;
        let made = contents.iter().zip(routes).zip(packets).map(|((content, routes), bytes)| {
            let there = first_hop(routes.there);
            Packet {
                first_hop: address::parse(&there).expect("a route leads to addresses"),
                rotation: routes.rotation,
                bytes,
                id: content.id,
                delays: Span::from_nanos(
                    delays(routes.there).as_nanos().saturating_add(delays(routes.back).as_nanos()),
                ),
            }
        });
        Ok(made.collect())
    }

    /// What goes into the Sphinx payload of each packet.
    fn plaintexts<R: CryptoRng + ?Sized>(
        &mut self,
        contents: &[Content<'_>],
        rng: &mut R,
    ) -> Result<Vec<Vec<u8>>, Unbuildable> {
        let sealed: Vec<_> =
            contents.iter().map(|content| self.ack.seal(content.id, rng)).collect();
        let seeds = Seeds::draw(contents.len(), rng);
        let requests = contents.iter().enumerate().map(|(lane, content)| {
            seeds.request(lane, content.back, self.own.identity(), self.format, &sealed[lane])
        });
        let requests: Vec<_> = requests.collect();
        let acks = self.build(&requests, contents.iter().map(|_| PacketSize::Ack))?;
        let plains = contents.iter().zip(acks).map(|(content, ack)| {
            let mut plain = Vec::with_capacity(content.size.message_len());
            write_ack(&first_hop(content.back), &ack, &mut plain);
            self.seal_body(content, &mut plain, rng);
            debug_assert_eq!(plain.len(), content.size.message_len());
            plain
        });
        Ok(plains.collect())
    }

    /// Appends which key the body is under, and the body.
    fn seal_body<R: CryptoRng + ?Sized>(
        &self,
        content: &Content<'_>,
        plain: &mut Vec<u8>,
        rng: &mut R,
    ) {
        if let Body::Reply(fragment, key) = content.body {
            plain.extend(key.digest());
            let start = plain.len();
            fragment.write(plain);
            key.apply(&mut plain[start..]);
            return;
        }
        let ephemeral = StaticSecret::from(random::<32, _>(rng));
        plain.extend(PublicKey::from(&ephemeral).to_bytes());
        let start = plain.len();
        let recipient = match content.body {
            Body::Fragment(fragment, recipient) => {
                fragment.write(plain);
                recipient
            }
            _ => {
                cover::write(fragment_room(content.size), plain);
                &self.own
            }
        };
        apply_shared(&agree(&ephemeral, *recipient.encryption()), &mut plain[start..]);
    }

    /// Builds in batches.
    fn build(
        &mut self,
        requests: &[Request<'_>],
        sizes: impl Iterator<Item = PacketSize>,
    ) -> Result<Vec<Vec<u8>>, Unbuildable> {
        let mut packets: Vec<_> = sizes.map(|size| vec![0; size.packet_len()]).collect();
        let batches = requests.chunks(BATCH_MAX).zip(packets.chunks_mut(BATCH_MAX));
        for (at, (requests, packets)) in batches.enumerate() {
            let mut rows: Vec<_> = packets.iter_mut().map(|packet| &mut packet[..]).collect();
            self.builder.build(requests, &mut rows).map_err(|error| moved(error, at))?;
        }
        Ok(packets)
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").field("own", &self.own).finish_non_exhaustive()
    }
}

/// The randomness of packets.
struct Seeds(Vec<(InitialSecret, [u8; PADDING_MAX])>);

impl Seeds {
    fn draw<R: CryptoRng + ?Sized>(count: usize, rng: &mut R) -> Self {
        let draw = |_| (InitialSecret::from_bytes(random(rng)), random(rng));
        Self((0..count).map(draw).collect())
    }

    fn request<'a>(
        &'a self,
        lane: usize,
        route: &'a [Hop],
        destination: &[u8; ADDRESS],
        format: SurbFormat,
        message: &'a [u8],
    ) -> Request<'a> {
        let (secret, padding) = &self.0[lane];
        Request {
            route,
            destination: *destination,
            identifier: [0; K],
            version: format.version(),
            secret,
            padding,
            message,
        }
    }
}

/// The size of packet that `fragment` fills.
fn size_for(fragment: &Fragment) -> PacketSize {
    PacketSize::ALL
        .into_iter()
        .filter(|size| *size != PacketSize::Ack)
        .find(|size| fragment_room(*size) == fragment.encoded_len())
        .expect("a fragment fills a packet of one of the sizes")
}

/// The first hop of a route, for which there is a request that was found buildable.
fn first_hop(route: &[Hop]) -> [u8; ADDRESS] {
    route[0].address
}

/// What the nodes of `route` are asked to wait; the last one is not.
fn delays(route: &[Hop]) -> Span {
    let waits = route.split_last().map_or(&[][..], |(_, before)| before);
    let sum = |sum: u64, hop: &Hop| sum.saturating_add(hop.delay.as_nanos());
    Span::from_nanos(waits.iter().fold(0, sum))
}

/// `error` of batch `at`, counted over all.
fn moved(error: Unbuildable, at: usize) -> Unbuildable {
    Unbuildable { lane: at * BATCH_MAX + error.lane, ..error }
}
