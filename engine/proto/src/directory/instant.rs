//! Points in time as nym-api writes them.
//!
//! Most answers have the human-readable form of the `time` crate, `2026-11-24 22:15:00.0
//! +00:00:00`, and readers take RFC 3339 as well (nym-api-requests 2.0.0, `helpers.rs`).

use std::fmt;

use serde::{Deserializer, Serializer, de, ser};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Writes the human-readable form, in UTC.
///
/// # Errors
/// As the serializer's.
pub fn serialize<S: Serializer>(at: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    let at = at.to_offset(time::UtcOffset::UTC);
    let (date, time) = (at.date(), at.time());
    let (hour, minute, second, nanos) = time.as_hms_nano();
    // At least one digit after the point, and no more than are needed.
    let digits = format!("{nanos:09}");
    let digits = digits.trim_end_matches('0');
    let fraction = if digits.is_empty() { "0" } else { digits };
    if !(0..=9999).contains(&date.year()) {
        return Err(ser::Error::custom("a year has four digits"));
    }
    serializer.collect_str(&format_args!(
        "{:04}-{:02}-{:02} {hour:02}:{minute:02}:{second:02}.{fraction} +00:00:00",
        date.year(),
        u8::from(date.month()),
        date.day(),
    ))
}

/// Reads either form; what is neither is taken for the Unix epoch, as stock readers do.
///
/// # Errors
/// If it is not a string.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OffsetDateTime, D::Error> {
    deserializer.deserialize_str(Text)
}

struct Text;

impl de::Visitor<'_> for Text {
    type Value = OffsetDateTime;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a point in time")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OffsetDateTime, E> {
        Ok(read(text).unwrap_or(OffsetDateTime::UNIX_EPOCH))
    }
}

/// A point in time in either form.
fn read(text: &str) -> Option<OffsetDateTime> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(at);
    }
    let mut parts = text.split(' ');
    let (date, time, offset) = (parts.next()?, parts.next()?, parts.next()?);
    // RFC 3339 says the same without seconds in the offset, and demands its minutes.
    let offset = match offset.len() {
        3 => format!("{offset}:00"),
        6 => offset.to_owned(),
        9 if offset.ends_with(":00") => offset[..6].to_owned(),
        _ => return None,
    };
    let text = format!("{date}T{time}{offset}");
    parts.next().is_none().then(|| OffsetDateTime::parse(&text, &Rfc3339).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(at: OffsetDateTime) -> String {
        let json = serialize(&at, serde_json::value::Serializer).unwrap();
        json.as_str().unwrap().to_owned()
    }

    #[test]
    fn both_forms_are_read_and_one_is_written() {
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_795_558_500_120_000_000).unwrap();
        assert_eq!(written(at), "2026-11-24 22:15:00.12 +00:00:00");
        for text in [
            "2026-11-24 22:15:00.12 +00:00:00",
            "2026-11-24 22:15:00.12 +00:00",
            "2026-11-24 22:15:00.12 +00",
            "2026-11-24T22:15:00.12Z",
            "2026-11-24 23:15:00.120 +01:00",
        ] {
            assert_eq!(read(text), Some(at), "{text}");
        }
        let whole = OffsetDateTime::from_unix_timestamp(0).unwrap();
        assert_eq!(written(whole), "1970-01-01 00:00:00.0 +00:00:00");
        for wrong in ["", "now", "2026-11-24", "2026-11-24 22:15:00.12 +00:00:30", "a b c", "é é é"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
