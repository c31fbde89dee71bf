//! A list, ready to be cut into pages: of nodes in both forms, of what they say in JSON.
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
    /// What stands around a page and its items: before the pagination, between the two, at the end.
    around: [Vec<u8>; 3],
    json: Items,
    bincode: Option<Packed>,
}

/// The items as bincode, and what they are true for.
#[derive(Debug)]
struct Packed {
    metadata: Vec<u8>,
    items: Items,
}

/// Bytes, and where in them each item ends.
#[derive(Debug, Default)]
struct Items {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Items {
    /// Items with a comma before each, which parts it from the one before; a page drops the first.
    fn json<T: Serialize>(items: impl Iterator<Item = T>) -> Self {
        let mut json = Self::default();
        for item in items {
            json.bytes.push(b',');
            serde_json::to_writer(&mut json.bytes, &item).expect("items have a JSON form");
            json.ends.push(json.bytes.len());
        }
        json
    }

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
        items: impl Iterator<Item = &'a T> + Clone,
    ) -> Self {
        let mut packed = Items::default();
        for item in items.clone() {
            bincode::write(item, &mut packed.bytes).expect("nodes have a bincode form");
            packed.ends.push(packed.bytes.len());
        }
        let text = serde_json::to_string(metadata).expect("metadata have a JSON form");
        let before = format!("{{\"metadata\":{text},\"nodes\":{{\"pagination\":");
        let metadata = bincode::to_vec(metadata).expect("metadata have a bincode form");
        Self {
            around: [before.into(), b",\"data\":[".to_vec(), b"]}}".to_vec()],
            json: Items::json(items),
            bincode: Some(Packed { metadata, items: packed }),
        }
    }

    /// Writes items that have no metadata and JSON only; `name` is what the list is called.
    ///
    /// # Panics
    /// If they have no form as JSON.
    pub fn plain<T: Serialize>(name: &str, items: impl Iterator<Item = T>) -> Self {
        let between = format!(",\"{name}\":[");
        Self {
            around: [b"{\"pagination\":".to_vec(), between.into(), b"]}".to_vec()],
            json: Items::json(items),
            bincode: None,
        }
    }

    /// How many items there are.
    fn count(&self) -> usize {
        self.json.ends.len()
    }

    /// The form in which pages are written for those who ask for `format`.
    pub const fn form(&self, format: Format) -> Format {
        if self.bincode.is_some() { format } else { Format::Json }
    }

    /// The page of this number, with `size` items at most.
    pub fn page(&self, page: u32, size: usize, format: Format) -> Bytes {
        let size = size.max(1);
        let from = usize::try_from(page).unwrap_or(usize::MAX).saturating_mul(size);
        let from = from.min(self.count());
        let to = from.saturating_add(size).min(self.count());
        let pagination = Pagination { total: self.count() as u64, page, size: (to - from) as u64 };
        let mut bytes = Vec::new();
        match (&self.bincode, format) {
            (Some(packed), Format::Bincode) => {
                bytes.extend_from_slice(&packed.metadata);
                bincode::write(&pagination, &mut bytes).expect("it has a bincode form");
                bincode::write_unsigned(pagination.size, &mut bytes);
                bytes.extend_from_slice(packed.items.range(from, to));
            }
            _ => {
                let pagination = serde_json::to_vec(&pagination).expect("it has a JSON form");
                let items = self.json.range(from, to);
                let items = items.strip_prefix(b",").unwrap_or(items);
                let [before, between, end] = &self.around;
                for part in [before, &pagination, between, items, end] {
                    bytes.extend_from_slice(part);
                }
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
            let plain = Listing::plain("data", items.iter());
            assert_eq!(list.count(), items.len());
            for size in [0, 1, 7, 1_000, usize::MAX] {
                for page in [0, 1, 2, 300, u32::MAX] {
                    let chunk = items.chunks(size.max(1)).nth(page as usize).unwrap_or_default();
                    let (total, size_here) = (items.len() as u64, chunk.len() as u64);
                    let pagination = Pagination { total, page, size: size_here };
                    let nodes = Page { pagination, data: chunk.to_vec() };
                    for format in [Format::Json, Format::Bincode] {
                        let json = plain.page(page, size, format);
                        assert_eq!(json, serde_json::to_vec(&nodes).unwrap(), "{count} {size}");
                        assert_eq!(plain.form(format), Format::Json);
                    }
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
