//! UTF-8 (RFC 3629) checked across pieces: fails at the first byte that no continuation could mend.

/// State between pieces: the start of a character that is not whole yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8Check {
    /// Its bytes, at most three.
    held: [u8; 3],
    held_len: u8,
}

/// The text so far cannot be UTF-8, whatever follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("text refused: not UTF-8")]
pub struct NotUtf8;

impl Utf8Check {
    /// A check at the start of a text.
    #[must_use]
    pub const fn new() -> Self {
        Self { held: [0; 3], held_len: 0 }
    }

    /// No character is under way: the text may end here.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.held_len == 0
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// They cannot belong to a text; the state is then of no use.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), NotUtf8> {
        let rest = self.finish_held(bytes)?;
        let Err(error) = core::str::from_utf8(rest) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(NotUtf8);
        }
        let cut = &rest[error.valid_up_to()..];
        // A character that may yet be completed is at most three bytes long.
        self.held[..cut.len()].copy_from_slice(cut);
        self.held_len = cut.len() as u8;
        Ok(())
    }

    /// Completes the held character, byte by byte; returns what follows it.
    fn finish_held<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], NotUtf8> {
        let held_len = usize::from(self.held_len);
        if held_len == 0 {
            return Ok(bytes);
        }
        let mut character = [0; 4];
        character[..held_len].copy_from_slice(&self.held[..held_len]);
        for (taken, len) in (held_len + 1..=4).enumerate() {
            let Some(&byte) = bytes.get(taken) else {
                self.held[..len - 1].copy_from_slice(&character[..len - 1]);
                self.held_len = (len - 1) as u8;
                return Ok(&[]);
            };
            character[len - 1] = byte;
            match core::str::from_utf8(&character[..len]) {
                Ok(_) => {
                    self.held_len = 0;
                    return Ok(&bytes[taken + 1..]);
                }
                Err(error) if error.error_len().is_some() => return Err(NotUtf8),
                Err(_) => {}
            }
        }
        Err(NotUtf8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Length of the longest prefix that can begin a text, found without [`Utf8Check`].
    fn viable(bytes: &[u8]) -> usize {
        (0..=bytes.len())
            .rev()
            .find(|&len| {
                core::str::from_utf8(&bytes[..len]).map_or_else(|e| e.error_len().is_none(), |_| true)
            })
            .expect("the empty prefix")
    }

    fn taken_bytewise(bytes: &[u8]) -> (usize, Utf8Check) {
        let mut check = Utf8Check::new();
        for (at, byte) in bytes.iter().enumerate() {
            if check.feed(core::slice::from_ref(byte)).is_err() {
                return (at, check);
            }
        }
        (bytes.len(), check)
    }

    #[test]
    fn the_first_byte_that_cannot_be_mended_fails() {
        let table: &[&[u8]] = &[
            b"",
            b"ascii",
            "κόσμε ü \u{ffff} \u{10ffff}".as_bytes(),
            b"\xce",
            b"\xe1\xbd",
            b"\xf0\x9f\x98",
            b"\xc0\x80",
            b"\xc1\xbf",
            b"\xe0\x80\x80",
            b"\xed\xa0\x80",
            b"\xf0\x80\x80\x80",
            b"\xf4\x8f\xbf\xbf",
            b"\xf4\x90\x80\x80",
            b"\xf5",
            b"\xff",
            b"a\x80",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        ];
        for bytes in table {
            let (taken, check) = taken_bytewise(bytes);
            assert_eq!(taken, viable(bytes), "{}", bytes.escape_ascii());
            let whole = core::str::from_utf8(bytes).is_ok();
            assert_eq!(taken == bytes.len() && check.is_complete(), whole, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn every_pair_of_leading_bytes_is_judged_as_the_standard_library_does() {
        for first in 0..=255_u8 {
            for second in 0..=255_u8 {
                let bytes = [first, second, 0x80, 0x80];
                assert_eq!(taken_bytewise(&bytes).0, viable(&bytes), "{bytes:x?}");
                for at in 0..4 {
                    let mut check = Utf8Check::new();
                    let fed = check.feed(&bytes[..at]).and_then(|()| check.feed(&bytes[at..]));
                    let ok = fed.is_ok() && check.is_complete();
                    assert_eq!(ok, core::str::from_utf8(&bytes).is_ok(), "{bytes:x?} cut at {at}");
                }
            }
        }
    }
}
