//! The few MessagePack forms that frames and headers are made of, read strictly: every value has
//! one spelling, lengths are checked against what is there before anything is taken.
//!
//! Source of the formats: the MessagePack specification (str, bin, array, uint, nil).

use alloc::vec::Vec;

/// The bytes are not what was expected at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Appends `nil`.
pub fn put_nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

/// Appends an unsigned number in its shortest form.
pub fn put_uint(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_be_bytes();
    let (tag, width) = match value {
        0..=0x7f => (None, 1),
        0x80..=0xff => (Some(0xcc), 1),
        0x100..=0xffff => (Some(0xcd), 2),
        0x1_0000..=0xffff_ffff => (Some(0xce), 4),
        0x1_0000_0000.. => (Some(0xcf), 8),
    };
    out.extend(tag);
    out.extend(bytes.iter().skip(8_usize.saturating_sub(width)));
}

/// Appends the head of an array of up to 65,535 elements.
pub fn put_array(out: &mut Vec<u8>, length: usize) -> Result<(), Malformed> {
    let length = u16::try_from(length).map_err(|_| Malformed)?;
    match u8::try_from(length) {
        Ok(short @ 0..=15) => out.push(0x90 | short),
        Ok(_) | Err(_) => {
            out.push(0xdc);
            out.extend(length.to_be_bytes());
        }
    }
    Ok(())
}

/// Appends a text of up to 255 bytes.
pub fn put_str(out: &mut Vec<u8>, text: &str) -> Result<(), Malformed> {
    match u8::try_from(text.len()).map_err(|_| Malformed)? {
        short @ 0..=31 => out.push(0xa0 | short),
        length => out.extend([0xd9, length]),
    }
    out.extend(text.as_bytes());
    Ok(())
}

/// Appends a byte string of up to 65,535 bytes.
pub fn put_bin(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Malformed> {
    let length = u16::try_from(bytes.len()).map_err(|_| Malformed)?;
    match u8::try_from(length) {
        Ok(short) => out.extend([0xc4, short]),
        Err(_) => {
            out.push(0xc5);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(bytes);
    Ok(())
}

/// Reads forms one after the other.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn big_endian(&mut self, width: usize) -> Result<u64, Malformed> {
        let bytes = self.take(width)?;
        Ok(bytes
            .iter()
            .fold(0, |sum: u64, byte| (sum << 8) | u64::from(*byte)))
    }

    /// Reads a length of `width` bytes that must not have fitted into fewer.
    fn length(&mut self, width: usize, above: u64) -> Result<usize, Malformed> {
        let length = self.big_endian(width)?;
        if length <= above {
            return Err(Malformed);
        }
        usize::try_from(length).map_err(|_| Malformed)
    }

    /// Reads an unsigned number.
    pub fn uint(&mut self) -> Result<u64, Malformed> {
        let (width, above) = match self.byte()? {
            small @ 0..=0x7f => return Ok(u64::from(small)),
            0xcc => (1, 0x7f),
            0xcd => (2, 0xff),
            0xce => (4, 0xffff),
            0xcf => (8, 0xffff_ffff),
            _ => return Err(Malformed),
        };
        let value = self.big_endian(width)?;
        if value <= above {
            Err(Malformed)
        } else {
            Ok(value)
        }
    }

    /// Reads the head of an array.
    pub fn array(&mut self) -> Result<usize, Malformed> {
        match self.byte()? {
            head @ 0x90..=0x9f => Ok(usize::from(head & 0x0f)),
            0xdc => self.length(2, 15),
            _ => Err(Malformed),
        }
    }

    /// Reads a text.
    pub fn str(&mut self) -> Result<&'a str, Malformed> {
        let length = match self.byte()? {
            head @ 0xa0..=0xbf => usize::from(head & 0x1f),
            0xd9 => self.length(1, 31)?,
            _ => return Err(Malformed),
        };
        core::str::from_utf8(self.take(length)?).map_err(|_| Malformed)
    }

    /// Reads a byte string.
    pub fn bin(&mut self) -> Result<&'a [u8], Malformed> {
        let length = match self.byte()? {
            0xc4 => usize::from(self.byte()?),
            0xc5 => self.length(2, 0xff)?,
            _ => return Err(Malformed),
        };
        self.take(length)
    }

    /// Reads a byte string of exactly `N` bytes.
    pub fn bin_exact<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        <[u8; N]>::try_from(self.bin()?).map_err(|_| Malformed)
    }

    /// Reads a byte string of exactly `N` bytes, or `nil`.
    pub fn bin_or_nil<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Malformed> {
        if self.0.first() == Some(&0xc0) {
            self.byte()?;
            return Ok(None);
        }
        self.bin_exact().map(Some)
    }

    /// Asserts that nothing is left.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn numbers_have_one_spelling() {
        for value in [
            0,
            0x7f,
            0x80,
            0xff,
            0x100,
            0xffff,
            0x1_0000,
            u64::from(u32::MAX),
            u64::MAX,
        ] {
            let mut bytes = vec![];
            put_uint(&mut bytes, value);
            let mut reader = Reader(&bytes);
            assert_eq!(
                (reader.uint(), reader.end()),
                (Ok(value), Ok(())),
                "{value}"
            );
        }
        let longer_than_needed: [&[u8]; 4] = [
            &[0xcc, 0x7f],
            &[0xcd, 0x00, 0xff],
            &[0xce, 0, 0, 0xff, 0xff],
            &[0xcf, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        ];
        for bytes in longer_than_needed {
            assert_eq!(Reader(bytes).uint(), Err(Malformed), "{bytes:x?}");
        }
    }

    #[test]
    fn lengths_that_are_not_there_are_refused() {
        assert_eq!(Reader(&[0xc5, 0xff, 0xff, 0x00]).bin(), Err(Malformed));
        assert_eq!(Reader(&[0xd9, 0xff, b'a']).str(), Err(Malformed));
        assert_eq!(
            Reader(&[0xc5, 0x00, 0x01, 0x00]).bin(),
            Err(Malformed),
            "fits one byte"
        );
        assert_eq!(Reader(&[]).array(), Err(Malformed));
    }
}
