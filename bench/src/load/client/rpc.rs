//! JSON-RPC calls whose ids are all of one length, so that everything else about them is computed once; and what came
//! back for one.
//!
//! Ids start at a random place for each client: a reply that was meant for another client is told from one's own.

use erlmcp_proto::jsonrpc::{self, Id, Kind, ScanLimits};
use serde_json::Value;

use crate::load::outcome::ErrorKind;
use crate::load::seat::Seat;
use crate::load::spec::McpCall;

/// Digits of every id.
const ID_DIGITS: usize = 10;
/// The smallest and how many there are: all numbers of that many digits.
const ID_MIN: u64 = 1_000_000_000;
const ID_COUNT: u64 = 9_000_000_000;

/// Replies may nest as deeply as the scanner can follow.
const REPLY_LIMITS: ScanLimits = ScanLimits { depth_max: jsonrpc::DEPTH_MAX };

/// An id as it stands in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallId([u8; ID_DIGITS]);

impl CallId {
    /// Its digits.
    pub(crate) const fn text(&self) -> &[u8] {
        &self.0
    }

    fn is(&self, id: Option<Id<'_>>) -> bool {
        matches!(id, Some(Id::Number(text)) if text.as_bytes() == self.0)
    }
}

/// The ids of a client, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Ids(u64);

impl Ids {
    /// Begins anywhere.
    pub(crate) const fn new(random: u64) -> Self {
        Self(random % ID_COUNT)
    }

    #[inline]
    pub(crate) fn next(&mut self) -> CallId {
        self.0 = (self.0 + 1) % ID_COUNT;
        let mut rest = ID_MIN + self.0;
        let mut digits = [0; ID_DIGITS];
        for digit in digits.iter_mut().rev() {
            // A digit: the cast keeps it.
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        CallId(digits)
    }
}

/// The next id of a client whose ids may not have begun yet.
#[inline]
pub(crate) fn next_id(ids: &mut Option<Ids>, seat: &Seat) -> CallId {
    ids.get_or_insert_with(|| Ids::new(seat.handle().rng())).next()
}

/// A call's text on both sides of its id.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) before: Vec<u8>,
    pub(crate) after: Vec<u8>,
}

impl Call {
    /// # Errors
    /// `params` that JSON-RPC has no place for.
    pub(crate) fn new(call: &McpCall) -> Result<Self, String> {
        let method = Value::from(call.method.as_str());
        let after = match &call.params {
            Value::Null => format!(r#","method":{method}}}"#),
            params @ (Value::Object(_) | Value::Array(_)) => {
                format!(r#","method":{method},"params":{params}}}"#)
            }
            other => {
                return Err(format!(
                    "the params of {:?} are {other}: JSON-RPC takes an object or an array",
                    call.method
                ));
            }
        };
        Ok(Self { before: br#"{"jsonrpc":"2.0","id":"#.to_vec(), after: after.into_bytes() })
    }

    /// Length of the whole text.
    pub(crate) const fn len(&self) -> usize {
        self.before.len() + ID_DIGITS + self.after.len()
    }
}

/// What a message is to whoever awaits a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The reply: a result, or [`ErrorKind::Refused`] for a JSON-RPC error.
    Reply(Result<(), ErrorKind>),
    /// A notification, or a request of the server's.
    Aside,
}

/// Judges a whole message.
///
/// # Errors
/// [`ErrorKind::Garbage`]: it is no JSON-RPC message, or a reply to something else.
pub(crate) fn judge(message: &[u8], id: CallId) -> Result<Heard, ErrorKind> {
    judge_by(message, |found| id.is(found))
}

/// As [`judge`], by what tells the own id.
///
/// # Errors
/// See [`judge`].
pub(crate) fn judge_by(
    message: &[u8],
    is_own: impl FnOnce(Option<Id<'_>>) -> bool,
) -> Result<Heard, ErrorKind> {
    let scan = jsonrpc::scan(message, &REPLY_LIMITS).map_err(|_| ErrorKind::Garbage)?;
    if !scan.complete {
        return Err(ErrorKind::Garbage);
    }
    match scan.kind {
        // A server that could not read the request answers without its id.
        Kind::Response if scan.has_error && matches!(scan.id, None | Some(Id::Null)) => {
            Ok(Heard::Reply(Err(ErrorKind::Refused)))
        }
        Kind::Response if !is_own(scan.id) => Err(ErrorKind::Garbage),
        Kind::Response if scan.has_error => Ok(Heard::Reply(Err(ErrorKind::Refused))),
        Kind::Response => Ok(Heard::Reply(Ok(()))),
        Kind::Request | Kind::Notification => Ok(Heard::Aside),
        Kind::Batch | Kind::Invalid | Kind::Undetermined => Err(ErrorKind::Garbage),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_have_one_length_and_come_round() {
        let mut ids = Ids::new(ID_COUNT - 2);
        let texts: Vec<String> =
            (0..3).map(|_| String::from_utf8(ids.next().text().to_vec()).expect("digits")).collect();
        assert_eq!(texts, ["9999999999", "1000000000", "1000000001"]);
    }

    #[test]
    fn calls_are_json_rpc_and_as_long_as_they_say() {
        for (params, expected) in [
            (Value::Null, json!({"jsonrpc": "2.0", "id": 1_000_000_001, "method": "a\"b"})),
            (
                json!({"x": [1]}),
                json!({"jsonrpc": "2.0", "id": 1_000_000_001, "method": "a\"b", "params": {"x": [1]}}),
            ),
        ] {
            let call = Call::new(&McpCall { method: "a\"b".to_owned(), params }).expect("a good call");
            let text = [&call.before, Ids::new(0).next().text(), &call.after].concat();
            assert_eq!(text.len(), call.len());
            assert_eq!(serde_json::from_slice::<Value>(&text).expect("JSON"), expected);
        }
        let error = Call::new(&McpCall { method: "a".to_owned(), params: json!(1) }).expect_err("no params");
        assert!(error.contains("an object or an array"), "{error}");
    }

    #[test]
    fn a_reply_is_told_from_what_is_none() {
        let id = Ids::new(6).next();
        let reply = |text: &str| judge(text.as_bytes(), id);
        let table = [
            (r#"{"jsonrpc":"2.0","id":1000000007,"result":{}}"#, Ok(Heard::Reply(Ok(())))),
            (
                r#"{"jsonrpc":"2.0","id":1000000007,"error":{"code":-1,"message":""}}"#,
                Ok(Heard::Reply(Err(ErrorKind::Refused))),
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":""}}"#,
                Ok(Heard::Reply(Err(ErrorKind::Refused))),
            ),
            (r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#, Ok(Heard::Aside)),
            (r#"{"jsonrpc":"2.0","id":1000000007,"method":"ping"}"#, Ok(Heard::Aside)),
            (r#"{"jsonrpc":"2.0","id":1000000008,"result":{}}"#, Err(ErrorKind::Garbage)),
            (r#"{"jsonrpc":"2.0","id":"1000000007","result":{}}"#, Err(ErrorKind::Garbage)),
            (r#"{"jsonrpc":"2.0","id":1000000008,"error":{}}"#, Err(ErrorKind::Garbage)),
            (r#"[{"jsonrpc":"2.0","id":1000000007,"result":{}}]"#, Err(ErrorKind::Garbage)),
            (r#"{"jsonrpc":"2.0","id":1000000007,"result":{}"#, Err(ErrorKind::Garbage)),
            (r#"{"id":1000000007,"result":{}}"#, Err(ErrorKind::Garbage)),
            ("Service Unavailable", Err(ErrorKind::Garbage)),
            ("", Err(ErrorKind::Garbage)),
        ];
        for (text, expected) in table {
            assert_eq!(reply(text), expected, "{text}");
        }
    }
}
