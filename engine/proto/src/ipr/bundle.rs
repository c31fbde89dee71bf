//! Bundles: IP packets that share a message, each behind its length in two bytes.

use super::IprError;

/// Bytes of the length in front of each packet.
pub const LENGTH: usize = 2;
/// Bytes of a bundle: about what fits into one packet of the mixnet, with all that is around it.
pub const BUNDLE_MAX: usize = 1500;
/// Bytes of the largest IP packet that fits into a bundle.
pub const PACKET_MAX: usize = BUNDLE_MAX - LENGTH;

/// The packets of a bundle that somebody has sent. The first that is cut off ends them, as an
/// error.
pub fn packets(bundle: &[u8]) -> impl Iterator<Item = Result<&[u8], IprError>> {
    let mut rest = bundle;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let packet = rest.split_first_chunk().and_then(|(length, behind)| {
            let (packet, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
            rest = behind;
            Some(packet)
        });
        if packet.is_none() {
            rest = &[];
        }
        Some(packet.ok_or(IprError::TooShort))
    })
}

/// Packets on their way into a bundle.
#[derive(Clone, Debug, Default)]
pub struct Bundle(Vec<u8>);

impl Bundle {
    /// Whether there is no packet in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts `packet` in. If it does not fit with those that are in, it begins a new bundle, and the
    /// full one is given back.
    ///
    /// # Errors
    /// If it is longer than [`PACKET_MAX`].
    pub fn push(&mut self, packet: &[u8]) -> Result<Option<Vec<u8>>, IprError> {
        if packet.len() > PACKET_MAX {
            return Err(IprError::TooLong);
        }
        let fits = self.0.len() + LENGTH + packet.len() <= BUNDLE_MAX;
        let full = if fits { None } else { self.take() };
        self.0.extend((packet.len() as u16).to_be_bytes());
        self.0.extend(packet);
        Ok(full)
    }

    /// What is in it, if anything is.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        (!self.0.is_empty()).then(|| std::mem::take(&mut self.0))
    }
}
