//! Why a message was refused: one `Copy` variant per reason, each with a metric label.
//!
//! Request errors are the client's fault and carry the status to answer; response errors are the upstream's (502).

/// Why a request head was refused. Nothing of the request may be forwarded; answer [`RequestError::status`] and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("request refused: {}", self.reason())]
pub enum RequestError {
    /// A line ends in LF without CR.
    BareLf,
    /// A CR that no LF follows, outside a field value.
    BareCr,
    /// A field continues on the next line (RFC 9112 section 5.2).
    ObsFold,
    /// One `Content-Length` field lists different values.
    ConflictingLengths,
    /// `Content-Length` occurs, or lists its value, more than once.
    RepeatedLength,
    /// Both `Content-Length` and `Transfer-Encoding`.
    LengthAndChunked,
    /// `Transfer-Encoding` that is not exactly one `chunked`, or in HTTP/1.0.
    BadTransferEncoding,
    /// A transfer coding other than `chunked`, in an otherwise well-formed list.
    UnsupportedCoding,
    /// `Content-Length` is not a plain decimal number below 2^63.
    BadLength,
    /// HTTP/1.1 without `Host`.
    MissingHost,
    /// More than one `Host`.
    RepeatedHost,
    /// `Host` is not `host[:port]`.
    BadHost,
    /// The request target is malformed.
    BadTarget,
    /// The method is not a token, or too long.
    BadMethod,
    /// Not `HTTP/1.0` or `HTTP/1.1`.
    BadVersion,
    /// A field name holds a byte that is no token, or white space before the colon.
    BadHeaderName,
    /// A field value holds a control byte.
    BadHeaderValue,
    /// `Connection` is malformed, or names a field that routing or framing needs.
    BadConnection,
    /// `Connection` names more fields than are kept.
    TooManyConnectionTokens,
    /// An expectation other than `100-continue`.
    BadExpect,
    /// The head is longer than its limit.
    HeadTooLarge,
    /// More fields than the limit.
    TooManyHeaders,
    /// The target is longer than its limit.
    TargetTooLong,
    /// `CONNECT` or `TRACE`.
    UnsupportedMethod,
}

impl RequestError {
    /// Every variant, for counters.
    pub const ALL: [Self; 24] = [
        Self::BareLf,
        Self::BareCr,
        Self::ObsFold,
        Self::ConflictingLengths,
        Self::RepeatedLength,
        Self::LengthAndChunked,
        Self::BadTransferEncoding,
        Self::UnsupportedCoding,
        Self::BadLength,
        Self::MissingHost,
        Self::RepeatedHost,
        Self::BadHost,
        Self::BadTarget,
        Self::BadMethod,
        Self::BadVersion,
        Self::BadHeaderName,
        Self::BadHeaderValue,
        Self::BadConnection,
        Self::TooManyConnectionTokens,
        Self::BadExpect,
        Self::HeadTooLarge,
        Self::TooManyHeaders,
        Self::TargetTooLong,
        Self::UnsupportedMethod,
    ];

    /// The status to answer with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::BadExpect => 417,
            Self::HeadTooLarge | Self::TooManyHeaders => 431,
            Self::UnsupportedCoding | Self::UnsupportedMethod => 501,
            Self::BadVersion => 505,
            _ => 400,
        }
    }

    /// A stable snake_case label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::BareLf => "bare_lf",
            Self::BareCr => "bare_cr",
            Self::ObsFold => "obs_fold",
            Self::ConflictingLengths => "conflicting_lengths",
            Self::RepeatedLength => "repeated_length",
            Self::LengthAndChunked => "length_and_chunked",
            Self::BadTransferEncoding => "bad_transfer_encoding",
            Self::UnsupportedCoding => "unsupported_coding",
            Self::BadLength => "bad_length",
            Self::MissingHost => "missing_host",
            Self::RepeatedHost => "repeated_host",
            Self::BadHost => "bad_host",
            Self::BadTarget => "bad_target",
            Self::BadMethod => "bad_method",
            Self::BadVersion => "bad_version",
            Self::BadHeaderName => "bad_header_name",
            Self::BadHeaderValue => "bad_header_value",
            Self::BadConnection => "bad_connection",
            Self::TooManyConnectionTokens => "too_many_connection_tokens",
            Self::BadExpect => "bad_expect",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyHeaders => "too_many_headers",
            Self::TargetTooLong => "target_too_long",
            Self::UnsupportedMethod => "unsupported_method",
        }
    }
}

/// Why an upstream's response head was refused. The connection is unusable; the client gets 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("response refused: {}", self.reason())]
pub enum ResponseError {
    /// A line ends in LF without CR.
    BareLf,
    /// A CR that no LF follows, outside a field value.
    BareCr,
    /// A field continues on the next line.
    ObsFold,
    /// One `Content-Length` field lists different values.
    ConflictingLengths,
    /// `Content-Length` occurs, or lists its value, more than once.
    RepeatedLength,
    /// Both `Content-Length` and `Transfer-Encoding`.
    LengthAndChunked,
    /// `Transfer-Encoding` that is not exactly one `chunked`, in HTTP/1.0, or where no body may be.
    BadTransferEncoding,
    /// `Content-Length` is not a plain decimal number below 2^63, or an interim response declares a body.
    BadLength,
    /// The status line is malformed.
    BadStatus,
    /// Not `HTTP/1.0` or `HTTP/1.1`.
    BadVersion,
    /// A field name holds a byte that is no token, or white space before the colon.
    BadHeaderName,
    /// A field value holds a control byte.
    BadHeaderValue,
    /// `Connection` is malformed or names more fields than are kept.
    BadConnection,
    /// The head is longer than its limit.
    HeadTooLarge,
    /// More fields than the limit.
    TooManyHeaders,
}

impl ResponseError {
    /// Every variant, for counters.
    pub const ALL: [Self; 15] = [
        Self::BareLf,
        Self::BareCr,
        Self::ObsFold,
        Self::ConflictingLengths,
        Self::RepeatedLength,
        Self::LengthAndChunked,
        Self::BadTransferEncoding,
        Self::BadLength,
        Self::BadStatus,
        Self::BadVersion,
        Self::BadHeaderName,
        Self::BadHeaderValue,
        Self::BadConnection,
        Self::HeadTooLarge,
        Self::TooManyHeaders,
    ];

    /// A stable snake_case label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::BareLf => "bare_lf",
            Self::BareCr => "bare_cr",
            Self::ObsFold => "obs_fold",
            Self::ConflictingLengths => "conflicting_lengths",
            Self::RepeatedLength => "repeated_length",
            Self::LengthAndChunked => "length_and_chunked",
            Self::BadTransferEncoding => "bad_transfer_encoding",
            Self::BadLength => "bad_length",
            Self::BadStatus => "bad_status",
            Self::BadVersion => "bad_version",
            Self::BadHeaderName => "bad_header_name",
            Self::BadHeaderValue => "bad_header_value",
            Self::BadConnection => "bad_connection",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyHeaders => "too_many_headers",
        }
    }
}

/// Why a body was refused. The connection that it came over is out of step and must close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("body refused: {}", self.reason())]
pub enum BodyError {
    /// A chunk size is empty or holds a byte that is no hexadecimal digit.
    BadChunkSize,
    /// A chunk size has more digits than are read.
    ChunkTooLarge,
    /// A chunk extension holds a control byte.
    BadExtension,
    /// Chunk extensions are longer than their bound for one message.
    ExtensionsTooLarge,
    /// LF without CR in the framing.
    BareLf,
    /// CR without LF in the framing, or a chunk's data is not followed by CR LF.
    BadChunkEnd,
    /// A trailer field is malformed.
    BadTrailer,
    /// Trailers are longer than their bound.
    TrailersTooLarge,
    /// The connection ended before the body did (from [`super::BodyDecoder::finish`]).
    Truncated,
}

impl BodyError {
    /// Every variant, for counters.
    pub const ALL: [Self; 9] = [
        Self::BadChunkSize,
        Self::ChunkTooLarge,
        Self::BadExtension,
        Self::ExtensionsTooLarge,
        Self::BareLf,
        Self::BadChunkEnd,
        Self::BadTrailer,
        Self::TrailersTooLarge,
        Self::Truncated,
    ];

    /// The status to answer with when the body was a request's.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TrailersTooLarge => 431,
            _ => 400,
        }
    }

    /// A stable snake_case label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::BadChunkSize => "bad_chunk_size",
            Self::ChunkTooLarge => "chunk_too_large",
            Self::BadExtension => "bad_extension",
            Self::ExtensionsTooLarge => "extensions_too_large",
            Self::BareLf => "body_bare_lf",
            Self::BadChunkEnd => "bad_chunk_end",
            Self::BadTrailer => "bad_trailer",
            Self::TrailersTooLarge => "trailers_too_large",
            Self::Truncated => "truncated",
        }
    }
}
