//! The id that ties a request's log lines together on all hops: the client's where it is a decent one, else new.

/// Longest id taken over.
const ID_BYTES_MAX: usize = 64;

/// An id as text. Aligned, so that it is looked at word by word.
#[repr(C, align(8))]
pub(crate) struct RequestId {
    bytes: [u8; ID_BYTES_MAX],
    length: usize,
}

/// The client's id, or 128 random bits in hexadecimal.
pub(crate) fn of(sent: Option<&[u8]>, mut random: impl FnMut() -> u64) -> RequestId {
    let mut id = RequestId { bytes: [0; ID_BYTES_MAX], length: 0 };
    match sent {
        Some(sent) if is_decent(sent) => id.push(sent),
        _ => {
            id.push(&hex(random()));
            id.push(&hex(random()));
        }
    }
    id
}

/// Letters, digits and `-._:`, so that it needs no escaping anywhere.
fn is_decent(sent: &[u8]) -> bool {
    (1..=ID_BYTES_MAX).contains(&sent.len())
        && sent.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':'))
}

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        // Only ASCII is ever pushed.
        str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }

    #[inline]
    fn push(&mut self, text: &[u8]) {
        self.bytes[self.length..self.length + text.len()].copy_from_slice(text);
        self.length += text.len();
    }
}

fn hex(bits: u64) -> [u8; 16] {
    let mut text = [0; 16];
    for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(bits.to_be_bytes()) {
        *pair = HEX[usize::from(byte)];
    }
    text
}

/// Each byte in hexadecimal: ids are written for every request.
const HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decent_ids_are_kept_and_others_replaced() {
        assert_eq!(of(Some(b"abc-1"), || 0).as_str(), "abc-1");
        let mut next = 0xdead_beef_0000_0001_u64;
        let mut random = || {
            next += 1;
            next
        };
        let fresh = "deadbeef00000002deadbeef00000003";
        assert_eq!(of(Some(b"a\"b"), &mut random).as_str(), fresh);
        assert_eq!(of(None, || 0).as_str().len(), 32);
        assert_eq!(of(Some(&[b'x'; 65]), || 0).as_str().len(), 32);
    }
}
