//! Writes what stock readers take for `application/bincode`.
//!
//! It is bincode 1.3 as nym-http-api-common 2.0.0 sets it: little-endian, integers of variable
//! length, no limit, nothing after the value. Lists and texts begin with their length, options with
//! a byte, enums with the number of their variant; names of fields are not written.
//! Types whose length or shape is not known beforehand, maps of flattened fields above all, have no
//! such form.

use std::fmt::{self, Display};

use serde::ser::{self, Serialize};

/// Appends the form of `value` to `bytes`.
///
/// # Errors
/// If the value has none.
pub fn write(value: &(impl Serialize + ?Sized), bytes: &mut Vec<u8>) -> Result<(), NoForm> {
    value.serialize(&mut Writer { bytes })
}

/// The form of `value`.
///
/// # Errors
/// If the value has none.
pub fn to_vec(value: &(impl Serialize + ?Sized)) -> Result<Vec<u8>, NoForm> {
    let mut bytes = Vec::new();
    write(value, &mut bytes)?;
    Ok(bytes)
}

/// Appends an unsigned integer: one byte up to 250, else a byte that tells the length and two, four
/// or eight bytes.
pub fn write_unsigned(number: u64, bytes: &mut Vec<u8>) {
    match number {
        0..=250 => bytes.push(number as u8),
        251..=0xffff => {
            bytes.push(251);
            bytes.extend_from_slice(&(number as u16).to_le_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            bytes.push(252);
            bytes.extend_from_slice(&(number as u32).to_le_bytes());
        }
        _ => {
            bytes.push(253);
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// A value has no bincode form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoForm(String);

impl Display for NoForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no bincode form: {}", self.0)
    }
}

impl std::error::Error for NoForm {}

impl ser::Error for NoForm {
    fn custom<T: Display>(what: T) -> Self {
        Self(what.to_string())
    }
}

struct Writer<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn unsigned(&mut self, number: u64) -> Result<(), NoForm> {
        write_unsigned(number, self.bytes);
        Ok(())
    }

    fn signed(&mut self, number: i64) -> Result<(), NoForm> {
        self.unsigned((number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned())
    }

    fn known_len(&mut self, len: Option<usize>) -> Result<(), NoForm> {
        let len = len.ok_or_else(|| NoForm("a length is not known".to_owned()))?;
        self.unsigned(len as u64)
    }
}

impl<'w, 'a> ser::Serializer for &'w mut Writer<'a> {
    type Ok = ();
    type Error = NoForm;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<(), NoForm> {
        self.serialize_u8(value.into())
    }

    fn serialize_i8(self, value: i8) -> Result<(), NoForm> {
        self.serialize_u8(value.cast_unsigned())
    }

    fn serialize_i16(self, value: i16) -> Result<(), NoForm> {
        self.signed(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), NoForm> {
        self.signed(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), NoForm> {
        self.signed(value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), NoForm> {
        self.bytes.push(value);
        Ok(())
    }

    fn serialize_u16(self, value: u16) -> Result<(), NoForm> {
        self.unsigned(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), NoForm> {
        self.unsigned(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), NoForm> {
        self.unsigned(value)
    }

    fn serialize_f32(self, value: f32) -> Result<(), NoForm> {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), NoForm> {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), NoForm> {
        self.bytes.extend_from_slice(value.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), NoForm> {
        self.serialize_bytes(value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), NoForm> {
        self.unsigned(value.len() as u64)?;
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), NoForm> {
        self.serialize_u8(0)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NoForm> {
        self.bytes.push(1);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NoForm> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), NoForm> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        number: u32,
        _: &'static str,
    ) -> Result<(), NoForm> {
        self.unsigned(number.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), NoForm> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        number: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), NoForm> {
        self.unsigned(number.into())?;
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self, NoForm> {
        self.known_len(len)?;
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, NoForm> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, NoForm> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        number: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NoForm> {
        self.unsigned(number.into())?;
        Ok(self)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self, NoForm> {
        self.known_len(len)?;
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, NoForm> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        number: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NoForm> {
        self.unsigned(number.into())?;
        Ok(self)
    }
}

/// All compounds are their parts one after the other.
macro_rules! compound {
    ($($of:ident: $part:ident,)+) => {
        $(impl ser::$of for &mut Writer<'_> {
            type Ok = ();
            type Error = NoForm;

            fn $part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoForm> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), NoForm> {
                Ok(())
            }
        })+
    };
}

compound! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

/// The same where the parts have names, which are not written.
macro_rules! named_compound {
    ($($of:ident,)+) => {
        $(impl ser::$of for &mut Writer<'_> {
            type Ok = ();
            type Error = NoForm;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _: &'static str,
                value: &T,
            ) -> Result<(), NoForm> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), NoForm> {
                Ok(())
            }
        })+
    };
}

named_compound! {
    SerializeStruct,
    SerializeStructVariant,
}

impl ser::SerializeMap for &mut Writer<'_> {
    type Ok = ();
    type Error = NoForm;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NoForm> {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoForm> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), NoForm> {
        Ok(())
    }
}
