//! 64 bytes as a JSON list of numbers; serde itself stops at 32.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

pub(super) fn serialize<S: Serializer>(bytes: &[u8; 64], to: S) -> Result<S::Ok, S::Error> {
    bytes.as_slice().serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 64], D::Error> {
    let bytes = Vec::<u8>::deserialize(from)?;
    let len = bytes.len();
    bytes.try_into().map_err(|_| D::Error::invalid_length(len, &"64 bytes"))
}
