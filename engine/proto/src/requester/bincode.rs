//! The little of bincode that queries need: integers of variable length, big-endian here, texts
//! with their length before them. The directory's form is little-endian.

use super::RequesterError;

/// Before this a number is its own byte; from here on a byte says how many follow.
const TWO: u8 = 251;
const FOUR: u8 = 252;

/// Appends a number of up to 32 bits.
pub(super) fn write_unsigned(number: u32, bytes: &mut Vec<u8>) {
    if let Ok(byte) = u8::try_from(number)
        && byte < TWO
    {
        bytes.push(byte);
    } else if let Ok(number) = u16::try_from(number) {
        bytes.push(TWO);
        bytes.extend(number.to_be_bytes());
    } else {
        bytes.push(FOUR);
        bytes.extend(number.to_be_bytes());
    }
}

pub(super) fn write_text(text: &str, bytes: &mut Vec<u8>) {
    let len = u32::try_from(text.len()).expect("texts of queries are short");
    write_unsigned(len, bytes);
    bytes.extend_from_slice(text.as_bytes());
}

/// What is left to be read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, RequesterError> {
        self.0.split_off_first().copied().ok_or(RequesterError::TooShort)
    }

    pub(super) fn flag(&mut self) -> Result<bool, RequesterError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RequesterError::Number),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RequesterError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(RequesterError::TooShort)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn unsigned(&mut self) -> Result<u32, RequesterError> {
        let (number, len) = match self.byte()? {
            byte if byte < TWO => return Ok(byte.into()),
            TWO => (u32::from(u16::from_be_bytes(self.array()?)), 3),
            FOUR => (u32::from_be_bytes(self.array()?), 5),
            _ => return Err(RequesterError::Number),
        };
        // One number has one form, so that what is read is written again as it was.
        let mut shortest = Vec::new();
        write_unsigned(number, &mut shortest);
        if shortest.len() == len { Ok(number) } else { Err(RequesterError::Number) }
    }

    pub(super) fn u16(&mut self) -> Result<u16, RequesterError> {
        u16::try_from(self.unsigned()?).map_err(|_| RequesterError::Number)
    }

    /// A text of up to `longest` bytes.
    pub(super) fn text(&mut self, longest: usize) -> Result<String, RequesterError> {
        let len = usize::try_from(self.unsigned()?).map_err(|_| RequesterError::Number)?;
        if len > longest {
            return Err(RequesterError::Text);
        }
        let (text, rest) = self.0.split_at_checked(len).ok_or(RequesterError::TooShort)?;
        self.0 = rest;
        str::from_utf8(text).map(str::to_owned).map_err(|_| RequesterError::Text)
    }

    pub(super) const fn end(&self) -> Result<(), RequesterError> {
        if self.0.is_empty() { Ok(()) } else { Err(RequesterError::TooLong) }
    }
}
