//! HTTP/1.1 messages (RFC 9110, RFC 9112): heads in, framing decided, bodies cut into ranges, chunks out.
//!
//! Owns: whether a head is acceptable and how its body ends. Never does: I/O, retries, header rewriting.
//! Where RFC 9112 lets a gateway choose between repairing and refusing, it refuses: repair is how request smuggling works.

mod body;
mod error;
mod fields;
mod head;
mod method;
mod request;
mod response;
mod target;
mod trailers;
mod write;

pub use body::{BodyDecoder, CHUNK_EXTENSION_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX, Decoded};
pub use error::{BodyError, RequestError, ResponseError};
pub use fields::{
    CONNECTION_TOKENS_MAX, ConnectionTokens, HeaderSlots, Headers, is_hop_by_hop, is_token, list_members,
};
pub use head::{Framing, HEADERS_MAX, HeadLimits, Request, Response};
pub use method::Method;
pub use request::parse_request;
pub use response::parse_response;
pub use target::{Target, TargetForm, is_valid_authority};
pub use trailers::{TRAILER_BYTES_MAX, is_forbidden_trailer};
pub use write::{CHUNK_TAIL, LAST_CHUNK, status_reason, write_chunk_head, write_decimal, write_field};
