//! Cuts a message body out of the bytes that carry it (RFC 9112 sections 6 and 7).
//!
//! Owns: where data starts and ends. Never does: copying data, or looking at it. The work per call is constant for a
//! body of known length and for the inside of a chunk; only chunk framing is read byte by byte.

use core::ops::Range;

use super::error::BodyError;
use super::head::Framing;
use super::trailers::TrailerScan;

/// Most hexadecimal digits of a chunk size, leading zeros counted: any such number is below 2^60.
pub const CHUNK_SIZE_DIGITS_MAX: u8 = 15;

/// Most bytes of chunk extensions (from the white space or `;` on) in one message. They are dropped, never forwarded.
pub const CHUNK_EXTENSION_BYTES_MAX: u16 = 4096;

/// What one call of [`BodyDecoder::decode`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that are dealt with; call again with the rest, unless the body is done.
    pub consumed: usize,
    /// Body data within the input; may be empty while only framing was read.
    pub data: Range<usize>,
    /// The body is complete; bytes beyond `consumed` belong to the next message.
    pub done: bool,
}

/// State of one body. An error is final: each later call repeats it.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    /// Extension bytes seen so far; at most [`CHUNK_EXTENSION_BYTES_MAX`].
    extension_bytes: u16,
    trailers: TrailerScan,
}

// Part of every relay: it must stay small.
const _: () = assert!(size_of::<BodyDecoder>() <= 40);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Done,
    Failed(BodyError),
    UntilClose,
    Length {
        left: u64,
    },
    Size {
        value: u64,
        digits: u8,
    },
    /// White space after the size, which only an extension may follow.
    SizeSpace {
        value: u64,
    },
    Extension {
        value: u64,
    },
    SizeLf {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    Trailers,
}

impl BodyDecoder {
    /// A decoder at the start of a body.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::Size { value: 0, digits: 0 },
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, extension_bytes: 0, trailers: TrailerScan::new() }
    }

    /// Keeps the trailer fields that may be forwarded, for [`Self::trailers`]. Without it they are checked and dropped.
    #[must_use]
    pub fn keeping_trailers(mut self) -> Self {
        self.trailers.keep();
        self
    }

    /// Takes the next piece of the body from the start of `input`: at most one range of data per call.
    ///
    /// Bytes are left over only after data (`consumed < input.len()`) or when the body is done.
    ///
    /// # Errors
    /// The framing is broken; data of this call is lost and the connection must close.
    #[inline]
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, BodyError> {
        match &mut self.state {
            State::Length { left } => {
                let taken = clip(*left, input.len());
                // `taken` was clipped to `left`.
                *left -= taken as u64;
                let done = *left == 0;
                if done {
                    self.state = State::Done;
                }
                Ok(Decoded { consumed: taken, data: 0..taken, done })
            }
            State::UntilClose => Ok(Decoded { consumed: input.len(), data: 0..input.len(), done: false }),
            State::Done => Ok(Decoded { consumed: 0, data: 0..0, done: true }),
            State::Failed(error) => Err(*error),
            _ => self.decode_chunked(input).inspect_err(|&error| self.state = State::Failed(error)),
        }
    }

    fn decode_chunked(&mut self, input: &[u8]) -> Result<Decoded, BodyError> {
        let mut at = 0;
        let mut data = 0..0;
        while at < input.len() {
            match self.state {
                State::Data { left } if data.is_empty() => {
                    let taken = clip(left, input.len() - at);
                    data = at..at + taken;
                    at += taken;
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                }
                // A second range: the caller comes back for it.
                State::Data { .. } => break,
                State::Trailers => {
                    let (consumed, ended) = self.trailers.take(&input[at..])?;
                    at += consumed;
                    if ended {
                        self.state = State::Done;
                        break;
                    }
                }
                _ => {
                    self.state = self.step(input[at])?;
                    at += 1;
                }
            }
        }
        Ok(Decoded { consumed: at, data, done: self.state == State::Done })
    }

    /// One byte of chunk framing.
    fn step(&mut self, byte: u8) -> Result<State, BodyError> {
        match (self.state, byte) {
            (State::Size { digits: 0, .. }, b';' | b' ' | b'\t' | b'\r') => Err(BodyError::BadChunkSize),
            (State::Size { value, .. } | State::Extension { value }, b'\r') => Ok(State::SizeLf { value }),
            (State::Size { .. } | State::SizeSpace { .. } | State::Extension { .. }, b'\n') => {
                Err(BodyError::BareLf)
            }
            (State::Size { value, .. } | State::SizeSpace { value }, b';') => {
                self.count_extension()?;
                Ok(State::Extension { value })
            }
            (State::Size { value, .. } | State::SizeSpace { value }, b' ' | b'\t') => {
                self.count_extension()?;
                Ok(State::SizeSpace { value })
            }
            (State::Size { value, digits }, byte) => {
                let digit = (byte as char).to_digit(16).ok_or(BodyError::BadChunkSize)?;
                if digits == CHUNK_SIZE_DIGITS_MAX {
                    return Err(BodyError::ChunkTooLarge);
                }
                Ok(State::Size { value: value << 4 | u64::from(digit), digits: digits + 1 })
            }
            (State::SizeSpace { .. }, _) => Err(BodyError::BadChunkSize),
            (State::Extension { value }, b'\t' | b' '..=0x7e | 0x80..) => {
                self.count_extension()?;
                Ok(State::Extension { value })
            }
            (State::Extension { .. }, _) => Err(BodyError::BadExtension),
            (State::SizeLf { value: 0 }, b'\n') => Ok(State::Trailers),
            (State::SizeLf { value }, b'\n') => Ok(State::Data { left: value }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { value: 0, digits: 0 }),
            (State::DataCr, b'\n') => Err(BodyError::BareLf),
            (_, _) => Err(BodyError::BadChunkEnd),
        }
    }

    fn count_extension(&mut self) -> Result<(), BodyError> {
        if self.extension_bytes == CHUNK_EXTENSION_BYTES_MAX {
            return Err(BodyError::ExtensionsTooLarge);
        }
        self.extension_bytes += 1;
        Ok(())
    }

    /// The body is complete.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Body bytes still to come, where they are known: not for chunks, nor for a body that ends with the connection.
    #[must_use]
    pub const fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length { left } => Some(left),
            _ => None,
        }
    }

    /// Tells that the connection ended (no more input will come).
    ///
    /// # Errors
    /// [`BodyError::Truncated`] unless the body was complete or ends with the connection.
    pub fn finish(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done | State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Failed(error) => Err(error),
            _ => {
                self.state = State::Failed(BodyError::Truncated);
                Err(BodyError::Truncated)
            }
        }
    }

    /// Trailer fields seen so far, kept or not.
    #[must_use]
    pub const fn trailers_seen(&self) -> u16 {
        self.trailers.seen()
    }

    /// The kept trailer fields as lines with CR LF, ready to stand between the last chunk's size line and the final CR LF.
    /// Empty without [`Self::keeping_trailers`]; whole only once the body is done.
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        self.trailers.kept()
    }
}

/// `left`, at most `available`.
#[inline]
fn clip(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_takes_the_data_and_the_framing_around_it() {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let input = b"5\r\nhello\r\n0\r\n\r\nnext";
        assert_eq!(decoder.decode(input), Ok(Decoded { consumed: 15, data: 3..8, done: true }));
        assert_eq!(decoder.decode(b"next"), Ok(Decoded { consumed: 0, data: 0..0, done: true }));
    }

    #[test]
    fn a_second_chunk_waits_for_the_next_call() {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let input = b"1\r\na\r\n2\r\nbc";
        assert_eq!(decoder.decode(input), Ok(Decoded { consumed: 9, data: 3..4, done: false }));
        assert_eq!(decoder.decode(&input[9..]), Ok(Decoded { consumed: 2, data: 0..2, done: false }));
    }

    #[test]
    fn a_known_length_is_counted_down() {
        let mut decoder = BodyDecoder::new(Framing::Length(5));
        assert_eq!(decoder.remaining(), Some(5));
        assert_eq!(decoder.decode(b"abc"), Ok(Decoded { consumed: 3, data: 0..3, done: false }));
        assert_eq!(decoder.remaining(), Some(2));
        assert_eq!(decoder.decode(b"dexyz"), Ok(Decoded { consumed: 2, data: 0..2, done: true }));
        assert_eq!(decoder.remaining(), Some(0));
        assert!(BodyDecoder::new(Framing::Length(0)).is_done() && BodyDecoder::new(Framing::None).is_done());
        assert_eq!(BodyDecoder::new(Framing::Chunked).remaining(), None);
    }

    #[test]
    fn trailers_are_kept_on_request_without_the_forbidden_ones() {
        let input = b"0\r\nX-Sum: 1\r\nContent-Length: 5\r\nIf-Match: *\r\nX-Other:\r\n\r\n";
        let mut decoder = BodyDecoder::new(Framing::Chunked).keeping_trailers();
        assert!(decoder.decode(input).is_ok_and(|decoded| decoded.done));
        assert_eq!(decoder.trailers(), b"X-Sum: 1\r\nX-Other:\r\n");
        assert_eq!(decoder.trailers_seen(), 4);
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        assert!(decoder.decode(input).is_ok_and(|decoded| decoded.done));
        assert!(decoder.trailers().is_empty());
        assert_eq!(decoder.trailers_seen(), 4);
    }
}
