//! Why frames and handshakes are refused: one `Copy` variant per reason, each with a metric label.

use super::close::CloseCode;

/// Why a peer's frames cannot be read further. Always the sender's fault; the connection must fail
/// (RFC 6455 section 7.1.7) with [`Self::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("WebSocket frame refused: {}", self.reason())]
pub enum FrameError {
    /// A reserved bit is set, though no extension was agreed on.
    ReservedBit,
    /// An opcode that RFC 6455 reserves.
    ReservedOpcode,
    /// A client's frame without a mask.
    MaskMissing,
    /// A server's frame with a mask.
    MaskUnexpected,
    /// A length in more bytes than it needs.
    LengthNotMinimal,
    /// A length of 2^63 and above.
    LengthTooLarge,
    /// A control frame of more than 125 bytes.
    ControlTooLong,
    /// A control frame that is not the last of its message.
    ControlFragmented,
    /// A continuation, though no message is under way.
    ContinuationUnexpected,
    /// A new message, though the one before it has not ended.
    MessageUnfinished,
    /// A close payload of one byte: half a code.
    CloseCodeCut,
    /// A close code that must not be sent.
    CloseCodeInvalid,
    /// The reason in a close frame is not UTF-8.
    CloseReasonNotUtf8,
    /// A text message is not UTF-8.
    NotUtf8,
    /// A message is longer than the bound.
    MessageTooLarge,
}

impl FrameError {
    /// Every variant, for counters.
    pub const ALL: [Self; 15] = [
        Self::ReservedBit,
        Self::ReservedOpcode,
        Self::MaskMissing,
        Self::MaskUnexpected,
        Self::LengthNotMinimal,
        Self::LengthTooLarge,
        Self::ControlTooLong,
        Self::ControlFragmented,
        Self::ContinuationUnexpected,
        Self::MessageUnfinished,
        Self::CloseCodeCut,
        Self::CloseCodeInvalid,
        Self::CloseReasonNotUtf8,
        Self::NotUtf8,
        Self::MessageTooLarge,
    ];

    /// The code to close with: 1002, 1007 or 1009.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::CloseReasonNotUtf8 | Self::NotUtf8 => CloseCode::INVALID_PAYLOAD,
            Self::MessageTooLarge => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// A stable snake_case label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ReservedBit => "ws_reserved_bit",
            Self::ReservedOpcode => "ws_reserved_opcode",
            Self::MaskMissing => "ws_mask_missing",
            Self::MaskUnexpected => "ws_mask_unexpected",
            Self::LengthNotMinimal => "ws_length_not_minimal",
            Self::LengthTooLarge => "ws_length_too_large",
            Self::ControlTooLong => "ws_control_too_long",
            Self::ControlFragmented => "ws_control_fragmented",
            Self::ContinuationUnexpected => "ws_continuation_unexpected",
            Self::MessageUnfinished => "ws_message_unfinished",
            Self::CloseCodeCut => "ws_close_code_cut",
            Self::CloseCodeInvalid => "ws_close_code_invalid",
            Self::CloseReasonNotUtf8 => "ws_close_reason_not_utf8",
            Self::NotUtf8 => "ws_not_utf8",
            Self::MessageTooLarge => "ws_message_too_large",
        }
    }
}

/// Why a client's opening handshake is refused (RFC 6455 section 4.2.1): answer [`Self::status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("WebSocket handshake refused: {}", self.reason())]
pub enum UpgradeRequestError {
    /// Not `GET`.
    Method,
    /// Not HTTP/1.1.
    HttpVersion,
    /// `Upgrade` does not name `websocket`, or `Connection` does not name `Upgrade`.
    NoUpgrade,
    /// It has a body.
    Body,
    /// `Sec-WebSocket-Version` is absent or not 13; the answer names the one that is spoken.
    Version,
    /// `Sec-WebSocket-Key` is absent, repeated, or not the base64 of 16 bytes.
    Key,
    /// `Sec-WebSocket-Protocol` holds something that is no token.
    Protocol,
}

impl UpgradeRequestError {
    /// Every variant, for counters.
    pub const ALL: [Self; 7] = [
        Self::Method,
        Self::HttpVersion,
        Self::NoUpgrade,
        Self::Body,
        Self::Version,
        Self::Key,
        Self::Protocol,
    ];

    /// Status to answer. With 405 goes `Allow: GET`, with 426 `Upgrade: websocket` and `Sec-WebSocket-Version: 13`.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::HttpVersion | Self::NoUpgrade | Self::Version => 426,
            Self::Body | Self::Key | Self::Protocol => 400,
        }
    }

    /// A stable snake_case label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Method => "ws_method",
            Self::HttpVersion => "ws_http_version",
            Self::NoUpgrade => "ws_no_upgrade",
            Self::Body => "ws_body",
            Self::Version => "ws_version",
            Self::Key => "ws_key",
            Self::Protocol => "ws_protocol",
        }
    }
}

/// Why a server's answer to the opening handshake is refused (RFC 6455 section 4.1): the connection must close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("WebSocket answer refused: {}", self.reason())]
pub enum UpgradeAnswerError {
    /// A status other than 101: the server refuses, and the response says why.
    Status(u16),
    /// `Upgrade` is not `websocket`, or `Connection` does not name `Upgrade`.
    NoUpgrade,
    /// `Sec-WebSocket-Accept` is absent, repeated, or does not follow from the key.
    Accept,
    /// It names an extension; none was offered.
    Extension,
    /// It chose a subprotocol that was not offered, or several.
    Protocol,
}

impl UpgradeAnswerError {
    /// A stable snake_case label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Status(_) => "ws_answer_status",
            Self::NoUpgrade => "ws_answer_no_upgrade",
            Self::Accept => "ws_answer_accept",
            Self::Extension => "ws_answer_extension",
            Self::Protocol => "ws_answer_protocol",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_has_a_label_of_its_own_and_a_code_for_the_wire() {
        let labels: BTreeSet<&str> = FrameError::ALL.iter().map(|error| error.reason()).collect();
        assert_eq!(labels.len(), FrameError::ALL.len());
        for error in FrameError::ALL {
            assert!([1002, 1007, 1009].contains(&error.close_code().get()), "{error}");
        }
        let labels: BTreeSet<&str> = UpgradeRequestError::ALL.iter().map(|error| error.reason()).collect();
        assert_eq!(labels.len(), UpgradeRequestError::ALL.len());
    }
}
