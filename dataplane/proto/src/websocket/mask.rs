//! Masking (RFC 6455 section 5.3): XOR with a key of four bytes, eight bytes at a time, which compilers make vectors of.

use super::frame::MaskKey;

/// Masks or unmasks `bytes`, which stand `offset` bytes behind the start of the payload.
pub fn apply_mask(bytes: &mut [u8], mut key: MaskKey, offset: u64) {
    // Below 4: the cast keeps it.
    key.rotate_left((offset % 4) as usize);
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 section 5.3, literally.
    fn naive(bytes: &[u8], key: MaskKey, offset: usize) -> Vec<u8> {
        bytes.iter().enumerate().map(|(i, byte)| byte ^ key[(offset + i) % 4]).collect()
    }

    #[test]
    fn the_rfc_example() {
        let mut hello = *b"Hello";
        apply_mask(&mut hello, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(hello, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn every_length_offset_and_alignment_is_masked_as_the_rfc_says() {
        let bytes: Vec<u8> = (0..=255).collect();
        for len in 0..70 {
            for start in 0..9 {
                for offset in [0, 1, 2, 3, 4, 125, 126] {
                    let part = &bytes[start..start + len];
                    let mut masked = bytes.clone();
                    apply_mask(&mut masked[start..start + len], [9, 8, 7, 200], offset as u64);
                    assert_eq!(&masked[start..start + len], naive(part, [9, 8, 7, 200], offset));
                    assert_eq!(masked[..start], bytes[..start]);
                    assert_eq!(masked[start + len..], bytes[start + len..]);
                }
            }
        }
    }
}
