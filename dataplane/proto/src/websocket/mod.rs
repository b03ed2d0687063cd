//! WebSocket (RFC 6455): the opening handshake, frames in and out, and what may stand in them.
//!
//! Owns: both sides' checks of the handshake; [`FrameDecoder`], which cuts frames out of bytes; [`RelayCheck`], which a
//! relay runs beside the bytes that it forwards unchanged; [`MessageReader`], which an endpoint runs to read messages;
//! the writers. Never does: choosing keys and masks (they come in, since nothing here is random), answering a ping,
//! timing a close, extensions: none is offered, an answer that names one is refused, and so is every reserved bit.
//!
//! Whoever reads has a [`Role`]: a server reads masked frames, a client unmasked ones. Every error names the code to
//! close with ([`FrameError::close_code`]).

mod check;
mod close;
mod decoder;
mod error;
mod frame;
mod handshake;
mod mask;
mod reader;
mod utf8;
mod write;

pub use check::{Checked, RelayCheck};
pub use close::{CLOSE_REASON_BYTES_MAX, Close, CloseCode, is_valid_close_code, parse_close};
pub use decoder::{Decoded, FrameDecoder};
pub use error::{FrameError, UpgradeAnswerError, UpgradeRequestError};
pub use frame::{CONTROL_BYTES_MAX, DataKind, FrameHeader, HEADER_BYTES_MAX, MaskKey, Opcode, Role};
pub use handshake::{
    ACCEPT_BYTES, KEY_BYTES, UpgradeRequest, accept_key, check_answer, check_request, encode_key,
    write_answer, write_request,
};
pub use mask::apply_mask;
pub use reader::{Message, MessageReader};
pub use utf8::{NotUtf8, Utf8Check};
pub use write::{
    ControlTooLong, FrameHeaderBytes, frame_header, write_close, write_control, write_fragment, write_message,
};
