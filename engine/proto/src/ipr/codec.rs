//! The encoding: bincode 1.3 with big-endian numbers of variable length.
//!
//! A number below 251 is one byte; 251, 252 and 253 stand before two, four and eight bytes. Numbers
//! with a sign are folded first, so that small ones are short. Numbers of one byte, and arrays of
//! fixed length, are themselves. A text or a run of bytes has its length in front. What follows of
//! several is said by its number. Readers take longer forms than are needed, as bincode does.

use time::{Date, OffsetDateTime, Time, UtcOffset};

use super::IprError;

const TWO: u8 = 251;
const FOUR: u8 = 252;
const EIGHT: u8 = 253;

/// Characters of a text that is read, at most, in bytes.
const TEXT_MAX: usize = 1024;

/// What is left to read.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, IprError> {
        self.0.split_off_first().copied().ok_or(IprError::TooShort)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], IprError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(IprError::TooShort)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn number(&mut self) -> Result<u64, IprError> {
        Ok(match self.byte()? {
            TWO => u16::from_be_bytes(self.array()?).into(),
            FOUR => u32::from_be_bytes(self.array()?).into(),
            EIGHT => u64::from_be_bytes(self.array()?),
            byte @ 0..TWO => byte.into(),
            _ => return Err(IprError::Field("number")),
        })
    }

    /// A number that `T` has room for.
    pub(super) fn small<T: TryFrom<u64>>(&mut self, name: &'static str) -> Result<T, IprError> {
        T::try_from(self.number()?).map_err(|_| IprError::Field(name))
    }

    fn signed(&mut self, name: &'static str) -> Result<i32, IprError> {
        let folded = self.number()?;
        let whole = (folded >> 1) as i64 ^ -((folded & 1) as i64);
        i32::try_from(whole).map_err(|_| IprError::Field(name))
    }

    /// Whether something follows.
    pub(super) fn some(&mut self) -> Result<bool, IprError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(IprError::Field("option")),
        }
    }

    pub(super) fn truth(&mut self) -> Result<bool, IprError> {
        self.some().map_err(|_| IprError::Field("truth"))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], IprError> {
        let length: usize = self.small("length")?;
        self.0.split_off(..length).ok_or(IprError::TooShort)
    }

    pub(super) fn text(&mut self) -> Result<String, IprError> {
        let bytes = self.bytes()?;
        if bytes.len() > TEXT_MAX {
            return Err(IprError::Field("text"));
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| IprError::Field("text"))
    }

    /// A point in time: year, day of the year, hour, minute, second, nanosecond, and the hours,
    /// minutes and seconds that the clock is ahead of UTC.
    pub(super) fn time(&mut self) -> Result<OffsetDateTime, IprError> {
        let wrong = |_: time::error::ComponentRange| IprError::Field("timestamp");
        let (year, day) = (self.signed("year")?, self.small("day")?);
        let [hour, minute, second] = self.array()?;
        let nanosecond = self.small("nanosecond")?;
        let [hours, minutes, seconds] = self.array()?.map(u8::cast_signed);
        let date = Date::from_ordinal_date(year, day).map_err(wrong)?;
        let time = Time::from_hms_nano(hour, minute, second, nanosecond).map_err(wrong)?;
        let offset = UtcOffset::from_hms(hours, minutes, seconds).map_err(wrong)?;
        Ok(OffsetDateTime::new_in_offset(date, time, offset))
    }

    /// That nothing is left.
    pub(super) fn end(self) -> Result<(), IprError> {
        if self.0.is_empty() { Ok(()) } else { Err(IprError::TooLong) }
    }
}

/// What has been written.
#[derive(Default)]
pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn array(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    pub(super) fn number(&mut self, number: u64) {
        if number < u64::from(TWO) {
            self.byte(number as u8);
        } else if let Ok(number) = u16::try_from(number) {
            self.byte(TWO);
            self.array(&number.to_be_bytes());
        } else if let Ok(number) = u32::try_from(number) {
            self.byte(FOUR);
            self.array(&number.to_be_bytes());
        } else {
            self.byte(EIGHT);
            self.array(&number.to_be_bytes());
        }
    }

    pub(super) fn truth(&mut self, truth: bool) {
        self.byte(truth.into());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.array(bytes);
    }

    /// Of a text that no reader would take, its beginning.
    pub(super) fn text(&mut self, text: &str) {
        self.bytes(&text.as_bytes()[..text.floor_char_boundary(TEXT_MAX)]);
    }

    pub(super) fn time(&mut self, at: OffsetDateTime) {
        let (year, day) = at.to_ordinal_date();
        let folded = (year << 1) ^ (year >> 31);
        self.number(folded.cast_unsigned().into());
        self.number(day.into());
        let (hour, minute, second, nanosecond) = at.to_hms_nano();
        self.array(&[hour, minute, second]);
        self.number(nanosecond.into());
        let (hours, minutes, seconds) = at.offset().as_hms();
        self.array(&[hours, minutes, seconds].map(i8::cast_unsigned));
    }
}
