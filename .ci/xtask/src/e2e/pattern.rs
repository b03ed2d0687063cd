//! Bodies whose every byte is known: made without a file, checked where they arrive.
//!
//! Owns one block of pseudo-random bytes that repeats. Its length is a prime, so that a lost or doubled buffer of any
//! usual size shifts what follows and shows. Cheap in a debug build too: making is slicing, checking is comparing.

use std::sync::LazyLock;

/// A prime just above 1 MiB.
const PERIOD: usize = 1_048_583;

static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words = std::iter::repeat_with(|| next().to_le_bytes()).take(PERIOD.div_ceil(8));
    let mut block: Vec<u8> = words.flatten().collect();
    block.truncate(PERIOD);
    block
});

/// A place in the endless pattern.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Pattern {
    at: usize,
}

impl Pattern {
    /// The next bytes: at least one and at most `most` (unless that is 0).
    pub(super) fn next(&mut self, most: u64) -> &'static [u8] {
        let rest = &BLOCK[self.at..];
        let count = rest.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        self.at = (self.at + count) % PERIOD;
        &rest[..count]
    }

    /// Whether `bytes` come next; if so they are passed.
    pub(super) fn takes(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let wanted = self.next(bytes.len() as u64);
            let (these, rest) = bytes.split_at(wanted.len());
            if these != wanted {
                return false;
            }
            bytes = rest;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_taken_and_a_lost_buffer_shows() {
        let (mut maker, mut taker) = (Pattern::default(), Pattern::default());
        for size in [1, 4096, 65_536, 3_000_000] {
            let mut left = size;
            while left > 0 {
                let piece = maker.next(left);
                left -= piece.len() as u64;
                assert!(taker.takes(piece));
            }
        }
        let mut behind = taker;
        maker.next(4096);
        assert!(!behind.takes(maker.next(4096)));
        for lost in [4096, 32_768, 1 << 20] {
            let mut ahead = taker;
            let mut left = lost;
            while left > 0 {
                left -= ahead.next(left).len() as u64;
            }
            assert!(!taker.clone().takes(ahead.next(4096)), "{lost}");
        }
    }
}
