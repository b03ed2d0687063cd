//! One body from one connection to another: decoded by the framing it came in, encoded for the one it leaves in.
//!
//! Shared by both directions. Never looks at what the bytes mean and never waits.

use erlmcp_proto::http1::{self, BodyDecoder, BodyError, Framing};
use erlmcp_ring::SendList;

use crate::chunk::Inbound;

/// Bytes that one send may carry, framing apart: half the receive window, so that one half comes while the other
/// goes. Measured with 1 MiB replies: windows of 512 and 256 KiB cost 172 µs of CPU a reply, 128 and 128 KiB 240.
pub(crate) const WINDOW_BYTES: usize = 256 * 1024;

/// How a body leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is: its length was told, or the connection's end is its end.
    Plain,
    /// In chunks.
    Chunked,
}

impl Encoding {
    /// Encoding of a body that came in `framing`, towards a peer that knows chunks or does not.
    pub(crate) fn of(framing: Framing, knows_chunks: bool) -> Self {
        match framing {
            Framing::Chunked | Framing::UntilClose if knows_chunks => Self::Chunked,
            _ => Self::Plain,
        }
    }

    /// Opens a piece of `len` bytes.
    fn open(self, len: usize, out: &mut SendList) {
        if self == Self::Chunked {
            http1::write_chunk_head(out.head_mut(), len);
        }
    }

    fn close(self, out: &mut SendList) {
        if self == Self::Chunked {
            out.push_bytes(http1::CHUNK_TAIL);
        }
    }

    /// Ends the body.
    pub(crate) fn finish(self, trailers: &[u8], out: &mut SendList) {
        if self == Self::Plain {
            return;
        }
        if trailers.is_empty() {
            out.push_bytes(http1::LAST_CHUNK);
        } else {
            out.push_bytes(b"0\r\n");
            out.push_bytes(trailers);
            out.push_bytes(b"\r\n");
        }
    }
}

/// Whether body bytes may leave in the buffers that they came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// As leases: they are sent at once.
    Leases,
    /// Copied: they wait, and receive buffers must not wait with them.
    Copies,
}

/// Takes what `inbound` holds of a body that nobody wants.
pub(crate) fn discard(decoder: &mut BodyDecoder, inbound: &mut Inbound) -> Result<(), BodyError> {
    while !inbound.is_empty() && !decoder.is_done() {
        let decoded = decoder.decode(inbound.bytes())?;
        inbound.consume(decoded.consumed);
    }
    Ok(())
}

/// Moves what `inbound` holds of the body to `out`, up to the window. Returns the number of body bytes moved.
///
/// `look` sees each piece of the body on its way.
pub(crate) fn transfer(
    decoder: &mut BodyDecoder,
    inbound: &mut Inbound,
    encoding: Encoding,
    keep: Keep,
    out: &mut SendList,
    mut look: impl FnMut(&[u8]),
) -> Result<usize, BodyError> {
    let mut moved = 0;
    while !inbound.is_empty() && !decoder.is_done() && out.len() < WINDOW_BYTES {
        let decoded = decoder.decode(inbound.bytes())?;
        let data = decoded.data;
        if !data.is_empty() {
            look(&inbound.bytes()[data.clone()]);
            moved += data.len();
            encoding.open(data.len(), out);
            if keep == Keep::Copies {
                out.push_bytes(&inbound.bytes()[data]);
            } else if data == (0..inbound.bytes().len()) {
                inbound.push_all(out);
            } else {
                inbound.push_part(data, out);
            }
            encoding.close(out);
        }
        inbound.consume(decoded.consumed);
    }
    Ok(moved)
}
