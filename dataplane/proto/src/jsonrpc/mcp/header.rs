//! Values of `Mcp-Name`, `Mcp-Method` and `Mcp-Param-*` (2026-07-28): plain, or `=?base64?…?=` where plain cannot be.

use std::borrow::Cow;

use super::super::text::Str;

const PREFIX: &[u8] = b"=?base64?";
const SUFFIX: &[u8] = b"?=";

/// Why a mirrored header value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderValueError {
    /// A plain value holds a byte outside printable ASCII.
    #[error("header value refused: not printable ASCII; such values are sent as =?base64?…?=")]
    NotPrintable,
    /// Not canonical base64 (RFC 4648 section 4, with padding) between the markers.
    #[error("header value refused: broken base64 between =?base64? and ?=")]
    BadBase64,
    /// The decoded bytes are not UTF-8.
    #[error("header value refused: decoded bytes are not UTF-8")]
    NotUtf8,
}

/// The text that a mirrored header value stands for. The markers are case-sensitive.
///
/// The result is never longer than the value, which the head's limit bounds.
///
/// # Errors
/// The value stands for no text.
pub fn decode_header_value(value: &[u8]) -> Result<Cow<'_, str>, HeaderValueError> {
    if let Some(inside) = value.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)) {
        let bytes = decode_base64(inside).ok_or(HeaderValueError::BadBase64)?;
        return String::from_utf8(bytes).map(Cow::Owned).map_err(|_| HeaderValueError::NotUtf8);
    }
    if !value.iter().all(|b| matches!(b, b' '..=b'~')) {
        return Err(HeaderValueError::NotPrintable);
    }
    core::str::from_utf8(value).map(Cow::Borrowed).map_err(|_| HeaderValueError::NotPrintable)
}

/// Whether a mirrored header value stands for the same text as a string of the message.
///
/// # Errors
/// The value stands for no text.
pub fn header_value_means(value: &[u8], text: &Str<'_>) -> Result<bool, HeaderValueError> {
    decode_header_value(value).map(|decoded| text.means(&decoded))
}

/// Writes `text` as a mirrored header value, plain where that is possible.
#[must_use]
pub fn encode_header_value(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let looks_encoded = bytes.starts_with(PREFIX) && bytes.ends_with(SUFFIX);
    let has_outer_space = bytes.starts_with(b" ") || bytes.ends_with(b" ");
    let is_printable = bytes.iter().all(|b| matches!(b, b' '..=b'~'));
    if is_printable && !has_outer_space && !looks_encoded {
        return Cow::Borrowed(text);
    }
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(PREFIX.len() + bytes.len().div_ceil(3) * 4 + SUFFIX.len());
    out.push_str("=?base64?");
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    out.push_str("?=");
    Cow::Owned(out)
}

/// Strict: padding required, unused bits zero, so that each text has one encoding.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let (groups, []) = text.as_chunks::<4>() else { return None };
    let mut out = Vec::with_capacity(groups.len() * 3);
    for (index, group) in groups.iter().enumerate() {
        let padding = match group {
            [_, _, b'=', b'='] => 2,
            [_, _, _, b'='] => 1,
            _ => 0,
        };
        if padding > 0 && index + 1 != groups.len() {
            return None;
        }
        let mut bits: u32 = 0;
        for &byte in &group[..4 - padding] {
            bits = bits << 6 | digit(byte)?;
        }
        bits <<= 6 * padding;
        let [_, bytes @ ..] = bits.to_be_bytes();
        let (kept, unused) = bytes.split_at(3 - padding);
        if unused.iter().any(|&byte| byte != 0) {
            return None;
        }
        out.extend_from_slice(kept);
    }
    Some(out)
}

const fn digit(byte: u8) -> Option<u32> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    } as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_strictly() {
        let decode = |value: &'static str| decode_header_value(value.as_bytes());
        assert_eq!(decode("get_weather"), Ok("get_weather".into()));
        assert_eq!(decode("=?base64?SGVsbG8=?="), Ok("Hello".into()));
        assert_eq!(decode("=?base64?w6k=?="), Ok("é".into()));
        assert_eq!(decode("=?base64??="), Ok("".into()));
        assert_eq!(
            decode("=?BASE64?SGVsbG8=?="),
            Ok("=?BASE64?SGVsbG8=?=".into()),
            "the marker is case-sensitive"
        );
        for broken in [
            "=?base64?SGVsbG8?=",
            "=?base64?SGVsbG9=?=",
            "=?base64?SGV sbG8=?=",
            "=?base64?SA==bG8=?=",
            "=?base64?====?=",
        ] {
            assert_eq!(decode(broken), Err(HeaderValueError::BadBase64), "{broken}");
        }
        assert_eq!(decode("=?base64?/w==?="), Err(HeaderValueError::NotUtf8));
        assert_eq!(decode("é"), Err(HeaderValueError::NotPrintable));
        assert_eq!(decode("a\tb"), Err(HeaderValueError::NotPrintable));
    }
}
