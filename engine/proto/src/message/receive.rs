//! What a gateway hands to a client, opened.

use super::ack::ACK;
use super::cover;
use super::fragment::{Fragment, FragmentError, FragmentId};
use super::keys::ClientKeys;
use super::seal::{KEY_PART, ReplyKey, agree, apply_shared};

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The fragment of this client's that has reached the recipient's gateway;
    /// [`FragmentId::COVER`] for cover.
    Ack(FragmentId),
    /// Cover traffic of this client's own.
    Cover,
    /// A part of a message.
    Fragment(Fragment),
    /// A part of a message that came by a reply block of this client's.
    ReplyFragment(Fragment),
}

/// Why what came is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Neither of the length of an acknowledgement nor long enough for a fragment.
    Length,
    /// An acknowledgement under another key.
    Ack,
    /// What was decrypted is no fragment: meant for somebody else, or tampered with.
    Fragment(FragmentError),
}

/// Opens `message`, which the gateway pushed: the payload at the last hop without the part that was
/// for the gateway. It is decrypted in place.
///
/// `reply_key` finds, and takes out, the key of this digest among those of the reply blocks that
/// this client has given away.
///
/// # Errors
/// If it is not for this client, or no message at all.
pub fn receive(
    keys: &ClientKeys,
    message: &mut [u8],
    reply_key: impl FnOnce(&[u8; KEY_PART]) -> Option<ReplyKey>,
) -> Result<Received, Unreadable> {
    if let Ok(sealed) = <&[u8; ACK]>::try_from(&*message) {
        return keys.ack().open(sealed).map(Received::Ack).ok_or(Unreadable::Ack);
    }
    let (head, content) = message.split_first_chunk_mut().ok_or(Unreadable::Length)?;
    if let Some(key) = reply_key(head) {
        key.apply(content);
        return fragment(content).map(Received::ReplyFragment);
    }
    apply_shared(&agree(keys.encryption(), *head), content);
    if cover::is_cover(content) {
        return Ok(Received::Cover);
    }
    fragment(content).map(Received::Fragment)
}

fn fragment(content: &[u8]) -> Result<Fragment, Unreadable> {
    Fragment::parse(content).map_err(Unreadable::Fragment)
}
