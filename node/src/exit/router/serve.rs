//! The task between the mixnet and the device.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use phix_client::mixnet::{Client, Outgoing, Sender, SenderTag};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::sleep_until;

use super::counts::{Counts, Dropped};
use super::device::Device;
use super::limits::{MTU, WINDOW, WINDOW_TOTAL};
use super::table::{Output, Table};
use crate::exit::policy::Policy;

/// A message on its way, and the room that it takes until it has arrived.
struct Answer {
    to: SenderTag,
    data: Vec<u8>,
    room: [OwnedSemaphorePermit; 2],
}

/// What may be under way to clients.
struct Windows {
    all: Arc<Semaphore>,
    own: HashMap<SenderTag, Arc<Semaphore>>,
}

impl Windows {
    fn room(&mut self, to: SenderTag) -> Option<[OwnedSemaphorePermit; 2]> {
        // Windows of clients that have nothing under way need not be kept.
        if self.own.len() > WINDOW_TOTAL {
            self.own.retain(|_, window| window.available_permits() < WINDOW);
        }
        let own = self.own.entry(to).or_insert_with(|| Arc::new(Semaphore::new(WINDOW)));
        let own = Arc::clone(own).try_acquire_owned().ok()?;
        Some([own, Arc::clone(&self.all).try_acquire_owned().ok()?])
    }
}

/// Carries packets between the clients of `table`, who write to `client`, and `device`, until the
/// one or the other is gone.
pub(super) async fn serve(
    client: Client,
    table: &mut Table,
    device: &Device,
    policy: &watch::Receiver<Arc<Policy>>,
    counts: &Arc<Counts>,
) {
    let (sender, mut receiver) = client.split();
    let (answers, waiting) = mpsc::channel(WINDOW_TOTAL);
    let mut windows = Windows { all: Arc::new(Semaphore::new(WINDOW_TOTAL)), own: HashMap::new() };
    let mut buffer = vec![0; usize::from(MTU) + 1];
    let carry = async {
        loop {
            tokio::select! {
                delivery = receiver.receive() => {
                    let Some(delivery) = delivery else { break };
                    let policy = Arc::clone(&policy.borrow());
                    table.message(delivery.sender, &delivery.data, &policy, Instant::now());
                }
                read = device.receive(&mut buffer) => {
                    let Ok(length) = read else { break };
                    table.packet(&buffer[..length], Instant::now());
                }
                () = sleep_until(table.deadline().into()) => {}
            }
            table.tick(Instant::now());
            for output in table.outputs() {
                match output {
                    Output::Packet(packet) => {
                        if !device.send(&packet).await {
                            counts.note(Dropped::Device);
                        }
                    }
                    Output::Message(to, data) => match windows.room(to) {
                        // There is as much room in the channel as in the window.
                        Some(room) => drop(answers.try_send(Answer { to, data, room })),
                        None => counts.note(Dropped::Window),
                    },
                }
            }
        }
    };
    tokio::select! {
        () = carry => {}
        () = send(sender, waiting, Arc::clone(counts)) => {}
    }
}

/// Sends what was answered, in order.
async fn send(sender: Sender, mut waiting: mpsc::Receiver<Answer>, counts: Arc<Counts>) {
    while let Some(Answer { to, data, room }) = waiting.recv().await {
        // A name is as random as a lane's number has to be.
        let [a, b, c, d, e, f, g, h, ..] = to.to_bytes();
        let lane = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let outgoing = Outgoing::Reply { sender: to, data };
        let Ok(sent) = sender.submit(outgoing, Some(lane)).await else {
            counts.note(Dropped::Unanswerable);
            continue;
        };
        let counts = Arc::clone(&counts);
        // There are as many of these tasks as the window has room for.
        tokio::spawn(async move {
            if sent.arrived().await.is_err() {
                counts.note(Dropped::Unanswerable);
            }
            drop(room);
        });
    }
}
