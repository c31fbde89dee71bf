//! A list of nodes in both forms, ready to be cut into pages.
//!
//! Every node is written once, when the list is made. A page is a copy of a range of bytes between
//! what says which page it is.

use hyper::body::Bytes;
use phix_proto::directory::bincode;
use phix_proto::directory::nodes::{Metadata, Pagination};
use serde::Serialize;

/// Nodes on a page, at most.
pub const PAGE_MAX: usize = 1_000;

/// Which form an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// For everybody.
    Json,
    /// For those who ask for it.
    Bincode,
}

/// All items of a list, one after the other.
#[derive(Debug)]
pub struct Listing {
    metadata_json: Vec<u8>,
    metadata_bincode: Vec<u8>,
    json: Items,
    bincode: Items,
}

/// Bytes, and where in them each item ends.
#[derive(Debug, Default)]
struct Items {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Items {
    /// The bytes of items `from` to `to`.
    fn range(&self, from: usize, to: usize) -> &[u8] {
        let end = |count: usize| count.checked_sub(1).map_or(0, |last| self.ends[last]);
        &self.bytes[end(from)..end(to)]
    }
}

impl Listing {
    /// Writes the items, which are true for `metadata`.
    ///
    /// # Panics
    /// If they have no form as JSON or bincode.
    pub fn new<'a, T: Serialize + 'a>(
        metadata: &Metadata,
        items: impl Iterator<Item = &'a T>,
    ) -> Self {
        let (mut json, mut packed) = (Items::default(), Items::default());
        for item in items {
            // Each item brings the comma that parts it from the one before; a page drops the first.
            json.bytes.push(b',');
            serde_json::to_writer(&mut json.bytes, item).expect("nodes have a JSON form");
            json.ends.push(json.bytes.len());
            bincode::write(item, &mut packed.bytes).expect("nodes have a bincode form");
            packed.ends.push(packed.bytes.len());
        }
        Self {
            metadata_json: serde_json::to_vec(metadata).expect("metadata have a JSON form"),
            metadata_bincode: bincode::to_vec(metadata).expect("metadata have a bincode form"),
            json,
            bincode: packed,
        }
    }

    /// How many items there are.
    fn count(&self) -> usize {
        self.json.ends.len()
    }

    /// The page of this number, with `size` items at most.
    pub fn page(&self, page: u32, size: usize, format: Format) -> Bytes {
        let size = size.clamp(1, PAGE_MAX);
        let from = usize::try_from(page).unwrap_or(usize::MAX).saturating_mul(size);
        let from = from.min(self.count());
        let to = (from + size).min(self.count());
        let pagination = Pagination { total: self.count() as u64, page, size: (to - from) as u64 };
        let mut bytes = Vec::new();
        match format {
            Format::Json => {
                let pagination = serde_json::to_vec(&pagination).expect("it has a JSON form");
                let items = self.json.range(from, to);
                let items = items.strip_prefix(b",").unwrap_or(items);
                for part in [
                    &b"{\"metadata\":"[..],
                    &self.metadata_json,
                    b",\"nodes\":{\"pagination\":",
                    &pagination,
                    b",\"data\":[",
                    items,
                    b"]}}",
                ] {
                    bytes.extend_from_slice(part);
                }
            }
            Format::Bincode => {
                bytes.extend_from_slice(&self.metadata_bincode);
                bincode::write(&pagination, &mut bytes).expect("it has a bincode form");
                bincode::write_unsigned(pagination.size, &mut bytes);
                bytes.extend_from_slice(self.bincode.range(from, to));
            }
        }
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use phix_proto::directory::nodes::{Nodes, Page};
    use time::OffsetDateTime;

    use super::*;

    /// A page is, byte for byte, what writing it whole would give.
    #[test]
    fn pages_are_what_they_would_be_if_they_were_written_whole() {
        let metadata = Metadata {
            status: None,
            absolute_epoch_id: 5,
            rotation_id: 1,
            refreshed_at: OffsetDateTime::UNIX_EPOCH,
        };
        for count in [0_u32, 1, 2, 300, 2_500] {
            let items: Vec<String> = (0..count).map(|item| item.to_string()).collect();
            let list = Listing::new(&metadata, items.iter());
            assert_eq!(list.count(), items.len());
            for size in [0, 1, 7, 1_000, 5_000] {
                for page in [0, 1, 2, 300, u32::MAX] {
                    let size_now = size.clamp(1, PAGE_MAX);
                    let chunk = items.chunks(size_now).nth(page as usize).unwrap_or_default();
                    let (total, size_here) = (items.len() as u64, chunk.len() as u64);
                    let pagination = Pagination { total, page, size: size_here };
                    let nodes = Page { pagination, data: chunk.to_vec() };
                    let whole = Nodes { metadata, nodes };
                    let json = list.page(page, size, Format::Json);
                    assert_eq!(json, serde_json::to_vec(&whole).unwrap(), "{count} {size} {page}");
                    let packed = list.page(page, size, Format::Bincode);
                    assert_eq!(packed, bincode::to_vec(&whole).unwrap(), "{count} {size} {page}");
                }
            }
        }
    }
}
