//! The share of packets that a node passes on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A share between 0 and 1 in steps of one ten-thousandth. Directories write it as a decimal
/// number in a string, as stock contracts do, with 18 digits at most after the point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Performance(u16);

const ONE: u16 = 10_000;
const DIGITS_MAX: usize = 18;

impl Performance {
    /// Nothing arrives.
    pub const NONE: Self = Self(0);
    /// Everything arrives.
    pub const FULL: Self = Self(ONE);

    /// `delivered` of `sent`, rounded down; nothing if nothing was sent.
    pub fn of(delivered: u64, sent: u64) -> Self {
        let share = u128::from(delivered.min(sent)) * u128::from(ONE);
        Self(share.checked_div(u128::from(sent)).unwrap_or(0) as u16)
    }

    /// As a number between 0 and 1.
    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(ONE)
    }
}

impl fmt::Display for Performance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / ONE, self.0 % ONE);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        // As stock writes decimal numbers: no zeros at the end.
        let digits = format!("{rest:04}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// A text is not a decimal number between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAShare;

impl fmt::Display for NotAShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a performance is a decimal number between 0 and 1")
    }
}

impl std::error::Error for NotAShare {}

impl FromStr for Performance {
    type Err = NotAShare;

    fn from_str(text: &str) -> Result<Self, NotAShare> {
        let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(rest) || rest.len() > DIGITS_MAX {
            return Err(NotAShare);
        }
        let whole: u16 = whole.parse().map_err(|_| NotAShare)?;
        let fine = rest.bytes().any(|digit| digit != b'0');
        match (whole, fine) {
            (0, _) => {
                let digit = |at| rest.as_bytes().get(at).map_or(0, |digit| u16::from(digit - b'0'));
                Ok(Self((0..4).fold(0, |sum, at| sum * 10 + digit(at))))
            }
            (1, false) => Ok(Self::FULL),
            _ => Err(NotAShare),
        }
    }
}

impl Serialize for Performance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Performance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl de::Visitor<'_> for Text {
    type Value = Performance;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal number between 0 and 1 in a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Performance, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_decimal_numbers() {
        for (share, text) in [(0, "0"), (10_000, "1"), (9_834, "0.9834"), (500, "0.05")] {
            assert_eq!(Performance(share).to_string(), text);
            assert_eq!(text.parse(), Ok(Performance(share)));
        }
        assert_eq!("1.000".parse(), Ok(Performance::FULL));
        assert_eq!("0.999999999999999999".parse(), Ok(Performance(9_999)));
        for wrong in ["", "1.1", "2", "-0.5", "0.", ".5", "1e0", "NaN", "0.5 ", "99999999"] {
            assert_eq!(wrong.parse::<Performance>(), Err(NotAShare), "{wrong}");
        }
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert_eq!(Performance::of(0, 0), Performance::NONE);
        assert_eq!(Performance::of(3, 2), Performance::FULL);
        assert_eq!(Performance::of(u64::MAX, u64::MAX), Performance::FULL);
        assert_eq!(Performance::of(2, 3).to_string(), "0.6666");
    }
}
