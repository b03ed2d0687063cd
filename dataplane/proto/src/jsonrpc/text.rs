//! JSON strings as they stand in the message, and their meaning once escapes are resolved.

/// A JSON string: the text between its quotes, with escapes still in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Str<'b> {
    raw: &'b str,
    escaped: bool,
}

/// Why a string has no meaning as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnescapeError {
    /// `\uD800`..`\uDFFF` that is no pair.
    #[error("string refused: half of a surrogate pair stands alone")]
    LoneSurrogate,
    /// The buffer is full.
    #[error("string refused: longer than its buffer")]
    TooLong,
}

impl<'b> Str<'b> {
    /// `raw` is the inside of a string whose grammar was checked.
    pub(super) const fn new(raw: &'b str, escaped: bool) -> Self {
        Self { raw, escaped }
    }

    /// The text as written, escapes included.
    #[must_use]
    pub const fn raw(&self) -> &'b str {
        self.raw
    }

    /// The text itself, when it holds no escape: nearly always.
    #[must_use]
    pub const fn as_plain(&self) -> Option<&'b str> {
        if self.escaped { None } else { Some(self.raw) }
    }

    /// Resolves escapes into `buf`, unless there are none.
    ///
    /// # Errors
    /// The buffer is too small, or the string holds half a surrogate pair.
    pub fn unescape_into<'u>(&self, buf: &'u mut [u8]) -> Result<&'u str, UnescapeError>
    where
        'b: 'u,
    {
        if !self.escaped {
            return Ok(self.raw);
        }
        let mut len = 0;
        for c in self.chars() {
            let c = c?;
            let room = buf.get_mut(len..len + c.len_utf8()).ok_or(UnescapeError::TooLong)?;
            c.encode_utf8(room);
            len += c.len_utf8();
        }
        // Only whole characters were written.
        core::str::from_utf8(&buf[..len]).map_err(|_| UnescapeError::TooLong)
    }

    /// Whether the string means `text`.
    #[must_use]
    pub fn means(&self, text: &str) -> bool {
        if !self.escaped {
            return self.raw == text;
        }
        let mut expected = text.chars();
        self.chars().all(|c| c.is_ok_and(|c| expected.next() == Some(c))) && expected.next().is_none()
    }

    /// The characters that the string means.
    pub fn chars(&self) -> impl Iterator<Item = Result<char, UnescapeError>> + use<'b> {
        let mut rest = self.raw;
        core::iter::from_fn(move || {
            let mut chars = rest.chars();
            let c = chars.next()?;
            rest = chars.as_str();
            if c != '\\' {
                return Some(Ok(c));
            }
            let kind = chars.next()?;
            rest = chars.as_str();
            Some(match kind {
                'b' => Ok('\u{8}'),
                'f' => Ok('\u{c}'),
                'n' => Ok('\n'),
                'r' => Ok('\r'),
                't' => Ok('\t'),
                'u' => unicode(&mut rest),
                plain => Ok(plain),
            })
        })
    }
}

/// `rest` stands behind `\u`; takes four digits, and the second half of a pair.
fn unicode(rest: &mut &str) -> Result<char, UnescapeError> {
    let high = hex4(rest).ok_or(UnescapeError::LoneSurrogate)?;
    if let Some(c) = char::from_u32(high) {
        return Ok(c);
    }
    let mut ahead = rest.strip_prefix("\\u").ok_or(UnescapeError::LoneSurrogate)?;
    let low = hex4(&mut ahead).ok_or(UnescapeError::LoneSurrogate)?;
    if !(0xDC00..0xE000).contains(&low) {
        return Err(UnescapeError::LoneSurrogate);
    }
    *rest = ahead;
    // Two low halves make a number above the last character.
    char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)).ok_or(UnescapeError::LoneSurrogate)
}

fn hex4(rest: &mut &str) -> Option<u32> {
    let (digits, after) = rest.split_at_checked(4)?;
    *rest = after;
    digits.bytes().try_fold(0, |value, b| Some(value << 4 | char::from(b).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved() {
        let unescape = |raw: &str| Str::new(raw, true).unescape_into(&mut [0; 16]).map(str::to_owned);
        assert_eq!(unescape(r#"a\"\\\/\b\f\n\r\t"#), Ok("a\"\\/\u{8}\u{c}\n\r\t".to_owned()));
        assert_eq!(unescape(r"\u00e9\uD83D\ude00x"), Ok("é😀x".to_owned()));
        for raw in [r"\ud800", r"\udc00", r"\udc00\udc00", r"\ud800\ud800", r"\ud800x", r"\ud800\n"] {
            assert_eq!(unescape(raw), Err(UnescapeError::LoneSurrogate), "{raw}");
            assert!(!Str::new(raw, true).means("\u{fffd}"));
        }
        assert_eq!(unescape(&"\\n".repeat(16)).map(|text| text.len()), Ok(16));
        assert_eq!(unescape(&"\\n".repeat(17)), Err(UnescapeError::TooLong));
        assert_eq!(
            Str::new("plain, longer than its buffer", false).unescape_into(&mut []),
            Ok("plain, longer than its buffer")
        );
    }
}
