use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use phix_engine::crypto::PORTABLE;
use phix_engine::replay::ReplayFilter;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Config, FinalHops, Keys, NodeKey};
use phix_engine::wire::frame::{FrameVersion, KeyRotation};
use phix_engine::wire::geometry::PacketSize;
use phix_io::noise::Noise;
use phix_io::{LinkChoice, PeerLimits, Refuse, Server, ServerConfig};
use rusqlite::params;

use super::*;
use crate::entry::clients;
use crate::entry::database::DatabaseThread;
use crate::entry::delivery::Acknowledgement;

const ALICE: ClientId = [1; 32];
const BOB: ClientId = [2; 32];
const PLENTY: Quotas = Quotas { client: 1 << 20, total: 1 << 30 };
/// What a message of these tests counts: 72 bytes of its own, and 128.
const COST: u64 = 200;

fn server() -> Server {
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        shards: 1,
        pin: false,
        link: LinkChoice::Auto,
        source: None,
        connections_max: 4,
        peers: PeerLimits::default(),
        noise: Noise::default(),
        drain: Duration::from_millis(500),
        shard: Config {
            capacity: [4096, 64, 1, 1, 1],
            batch: 16,
            frames: FrameVersion::Current,
            final_hops: FinalHops::Drop,
            kernels: PORTABLE,
            seed: [0; 32],
        },
    };
    let replay = Arc::new(ReplayFilter::new(1_000, [0; 32]));
    let secret = NodeSecret::from_bytes([3; 32]);
    let primary = NodeKey { rotation: KeyRotation::Unknown, secret, replay };
    Server::start(config, Keys { primary, secondary: None }, |_| Refuse).unwrap()
}

/// An inbox with its clients, and the node that sends its acknowledgements.
struct Rig {
    inbox: ClientInbox,
    database: Database,
    thread: DatabaseThread,
    counts: Arc<Counts>,
    server: Server,
    /// Where acknowledgements go.
    first_hop: TcpListener,
}

impl Rig {
    fn open(dir: &Path, quotas: Quotas) -> Self {
        let schema = [clients::SCHEMA, SCHEMA];
        let (database, thread) = Database::open(dir, &schema).unwrap();
        let (server, counts) = (server(), Arc::new(Counts::default()));
        let inbox =
            ClientInbox::new(database.clone(), server.injector(), quotas, Arc::clone(&counts));
        let first_hop = TcpListener::bind("127.0.0.1:0").unwrap();
        let rig = Self { inbox, database, thread, counts, server, first_hop };
        for client in [ALICE, BOB] {
            rig.execute(
                "INSERT OR IGNORE INTO clients VALUES (?1, zeroblob(32), 0, 0)",
                client.to_vec(),
            );
        }
        rig
    }

    fn execute(&self, sql: &'static str, blob: Vec<u8>) {
        self.database.run_blocking(move |it| it.execute(sql, [blob])).unwrap();
    }

    fn hop(&self) -> SocketAddr {
        self.first_hop.local_addr().unwrap()
    }

    /// Messages numbered from `first`, with an acknowledgement each.
    fn messages(&self, first: u64, count: u64) -> Vec<Message> {
        let message = |number: u64| Message {
            bytes: [&number.to_be_bytes()[..], &[0xa5; 64]].concat().into(),
            acknowledgement: Some(Acknowledgement {
                next_hop: self.hop(),
                rotation: KeyRotation::Odd,
                packet: vec![number as u8; PacketSize::Ack.packet_len()].into(),
            }),
        };
        (first..first + count).map(message).collect()
    }

    /// How many acknowledgements the node has sent in the end.
    fn close(self) -> u64 {
        let Self { inbox, database, thread, server, .. } = self;
        drop((inbox, database));
        thread.join();
        let counters = server.stop().counters;
        assert_eq!(counters.originated, counters.forwarded);
        counters.originated
    }

    fn total(&self) -> u64 {
        self.database.run_blocking(table::total).unwrap()
    }
}

fn number(stored: &Stored) -> u64 {
    u64::from_be_bytes(*stored.bytes.first_chunk().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_in_order_as_they_came_until_they_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let rig = tokio::task::block_in_place(|| Rig::open(dir.path(), PLENTY));
    let sent = rig.messages(0, 250);
    rig.inbox.keep(ALICE, sent.clone()).await;
    rig.inbox.keep(BOB, rig.messages(1000, 1)).await;
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = rig.inbox.waiting(ALICE, after).await;
        assert!(page.len() <= 100, "100 at a time");
        let Some(last) = page.last() else { break };
        after = last.number;
        seen.extend(page);
    }
    assert_eq!(seen.iter().map(number).collect::<Vec<_>>(), (0..250).collect::<Vec<_>>());
    assert!(seen.iter().zip(&sent).all(|(seen, sent)| seen.bytes[..] == sent.bytes[..]));
    assert_eq!(rig.inbox.waiting(ALICE, 0).await[0].number, seen[0].number, "nobody took any");
    rig.inbox.taken(ALICE, seen[99].number).await;
    assert_eq!(number(&rig.inbox.waiting(ALICE, 0).await[0]), 100);
    rig.inbox.taken(ALICE, after).await;
    assert!(rig.inbox.waiting(ALICE, 0).await.is_empty());
    assert_eq!(rig.inbox.waiting(BOB, 0).await.len(), 1, "others' stay");
    rig.inbox.keep(ALICE, rig.messages(7, 1)).await;
    let next = &rig.inbox.waiting(ALICE, after).await[0];
    assert!(next.number > after, "a number is used once");
    tokio::task::block_in_place(|| {
        assert_eq!(rig.total(), 2 * COST);
        assert_eq!(rig.counts.stored.get(), 252);
        assert_eq!(rig.close(), 252, "each that was kept is acknowledged");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_a_quota_nothing_is_kept_and_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let quotas = Quotas { client: 3 * COST, total: 5 * COST };
    let rig = tokio::task::block_in_place(|| Rig::open(dir.path(), quotas));
    let all = BTreeMap::from([(ALICE, rig.messages(0, 4)), (BOB, rig.messages(4, 3))]);
    rig.inbox.keep_all(all).await;
    rig.inbox.keep([9; 32], rig.messages(20, 2)).await;
    let waiting = |client| rig.inbox.waiting(client, 0);
    assert_eq!((waiting(ALICE).await.len(), waiting(BOB).await.len()), (3, 2));
    assert!(waiting([9; 32]).await.is_empty(), "nobody of that name is registered");
    let refused = |why| rig.counts.refused(why);
    assert_eq!((refused(Refusal::InboxClient), refused(Refusal::InboxTotal)), (1, 1));
    assert_eq!(refused(Refusal::Recipient), 2);
    let last = waiting(ALICE).await[1].number;
    rig.inbox.taken(ALICE, last).await;
    rig.inbox.keep(BOB, rig.messages(30, 2)).await;
    assert_eq!((waiting(ALICE).await.len(), waiting(BOB).await.len()), (1, 3));
    tokio::task::block_in_place(|| {
        rig.execute("DELETE FROM clients WHERE identity = ?1", BOB.to_vec());
        assert_eq!(rig.total(), COST, "with a client its messages go");
        assert_eq!(rig.close(), 6);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_goes_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let rig = tokio::task::block_in_place(|| Rig::open(dir.path(), PLENTY));
    let count = CLEANED_TOGETHER as u64 + 10;
    rig.inbox.keep(ALICE, rig.messages(0, count)).await;
    rig.inbox.clean().await;
    assert_eq!(rig.counts.expired.get(), 0);
    let fresh = now() + 60;
    let old = move |it: &Connection| {
        it.execute("UPDATE inbox SET stored = ?1 WHERE number > 5", params![fresh as i64])
    };
    rig.database.run(old).await.unwrap();
    rig.inbox.clean_at(fresh + AGE_MAX.as_secs() - 1).await;
    assert_eq!(rig.counts.expired.get(), 5);
    rig.inbox.clean_at(fresh + AGE_MAX.as_secs() + 1).await;
    assert_eq!(rig.counts.expired.get(), count);
    tokio::task::block_in_place(|| {
        assert_eq!(rig.total(), 0);
        rig.close()
    });
}

/// The database may grow by a few pages only, which is what a full disk looks like to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_counted_refusal_without_acknowledgement() {
    let dir = tempfile::tempdir().unwrap();
    let rig = tokio::task::block_in_place(|| Rig::open(dir.path(), PLENTY));
    rig.inbox.keep(ALICE, rig.messages(0, 3)).await;
    let limit = |pages: &'static str| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        let work = move |it: &Connection| it.query_row(&sql, [], |row| row.get::<_, i64>(0));
        let database = rig.database.clone();
        async move { database.run(work).await.unwrap() }
    };
    limit("1").await;
    rig.inbox.keep(BOB, rig.messages(3, 2_000)).await;
    assert_eq!(rig.counts.refused(Refusal::InboxDisk), 2_000);
    assert!(rig.inbox.waiting(BOB, 0).await.is_empty(), "all or nothing");
    assert_eq!(rig.inbox.waiting(ALICE, 0).await.len(), 3, "what was there is there");
    limit("1000000").await;
    rig.inbox.keep(BOB, rig.messages(3, 40)).await;
    assert_eq!(rig.inbox.waiting(BOB, 0).await.len(), 40, "with room it goes on");
    let sent = tokio::task::block_in_place(|| rig.close());
    assert_eq!(sent, 43);
}
