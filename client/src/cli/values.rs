//! Values of arguments, from the words that people type.

use std::time::Duration;

use phix_engine::wire::frame::{FrameVersion, KeyRotation};
use phix_engine::wire::geometry::PacketSize;
use phix_io::noise::Pattern;

use crate::packet::SphinxVersion;

/// A size of packets.
pub(super) fn size(text: &str) -> Result<PacketSize, String> {
    Ok(match text {
        "ack" => PacketSize::Ack,
        "regular" => PacketSize::Regular,
        "ext8" => PacketSize::Extended8,
        "ext16" => PacketSize::Extended16,
        "ext32" => PacketSize::Extended32,
        _ => return Err("choose ack, regular, ext8, ext16 or ext32".into()),
    })
}

/// A version of the Sphinx format.
pub(super) fn version(text: &str) -> Result<SphinxVersion, String> {
    let version = text.parse().ok().and_then(SphinxVersion::from_number);
    version.ok_or_else(|| "choose 258, 259 or 260".into())
}

/// A length of time with its unit.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0)];
    let split = |(unit, seconds)| Some((text.strip_suffix(unit)?.trim_end(), seconds));
    let parsed = units.into_iter().find_map(split).and_then(|(number, seconds)| {
        Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
    });
    parsed.ok_or_else(|| "give a number and a unit, such as 50ms or 1.5s".into())
}

/// A layout of frames, by its number.
pub(super) fn frames(text: &str) -> Result<FrameVersion, String> {
    let known = [FrameVersion::Legacy, FrameVersion::Current];
    let named = known.into_iter().find(|frames| frames.byte().to_string() == text);
    named.ok_or_else(|| "choose 7 or 8".into())
}

/// The key that packets are made for.
pub(super) fn rotation(text: &str) -> Result<KeyRotation, String> {
    Ok(match text {
        "unknown" => KeyRotation::Unknown,
        "odd" => KeyRotation::Odd,
        "even" => KeyRotation::Even,
        _ => return Err("choose unknown, odd or even".into()),
    })
}

/// A Noise protocol, by its pattern.
pub(super) fn pattern(text: &str) -> Result<Pattern, String> {
    match text {
        "xk" => Ok(Pattern::XkPsk3),
        "ik" => Ok(Pattern::IkPsk2),
        _ => Err("choose xk or ik".into()),
    }
}

/// A public key.
pub(super) fn key(text: &str) -> Result<[u8; 32], String> {
    let mut key = [0; 32];
    match bs58::decode(text).onto(&mut key[..]) {
        Ok(32) => Ok(key),
        _ => Err("a key is 32 bytes in base58".into()),
    }
}

/// A number of packets per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (0.01..=1e7).contains(rate));
    rate.ok_or_else(|| "give packets per second, 0.01 to 10000000".into())
}

/// A share of a whole, such as 0.001 or 0.1%.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim_end().parse::<f64>().ok().map(|number| number / unit);
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "give a share, such as 0.001 or 0.1%".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(time("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("250 us"), Ok(Duration::from_micros(250)));
        assert_eq!(time("0s"), Ok(Duration::ZERO));
        for text in ["", "5", "ms", "-1ms", "1e300s", "NaNs", "5 minutes", "infs"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_and_rates() {
        assert_eq!(share("0.001"), Ok(0.001));
        assert_eq!(share("5%"), Ok(0.05));
        assert_eq!(share("0"), Ok(0.0));
        assert_eq!(rate("130000"), Ok(130_000.0));
        for text in ["", "-1", "101%", "1.5", "NaN", "many"] {
            assert!(share(text).is_err(), "{text}");
        }
        for text in ["", "0", "-5", "inf", "NaN", "1e9"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_and_names() {
        assert_eq!(frames("7"), Ok(FrameVersion::Legacy));
        assert_eq!(rotation("even"), Ok(KeyRotation::Even));
        assert_eq!(pattern("ik"), Ok(Pattern::IkPsk2));
        assert_eq!(key(&bs58::encode([3; 32]).into_string()), Ok([3; 32]));
        assert!(frames("9").is_err() && rotation("both").is_err() && pattern("nk").is_err());
        assert!(key(&bs58::encode([3; 31]).into_string()).is_err());
    }
}
