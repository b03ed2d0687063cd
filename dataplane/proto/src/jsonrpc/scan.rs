//! The scan itself: which keys matter, at which depth, and what kind of message they make.

use super::cursor::{Cursor, RawStr, Stop};
use super::text::Str;
use super::{ScanError, ScanLimits};

/// Key of `_meta` that carries the protocol version from 2026-07-28 on.
const META_PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has a method and an id.
    Request,
    /// Has a method and no id.
    Notification,
    /// Has a result or an error, and no method.
    Response,
    /// An array; see [`super::batch_items`]. Legal only in MCP 2025-03-26.
    Batch,
    /// JSON, but no JSON-RPC 2.0 message (MCP: an id is a string or a number).
    Invalid,
    /// Cut off before that could be told.
    Undetermined,
}

/// An id or a token: the JSON text as written, so that it can be compared and echoed byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id<'b> {
    /// A number, as written.
    Number(&'b str),
    /// A string.
    String(Str<'b>),
    /// `null`
    Null,
}

/// What a scan found. Everything that is absent, or of another type than it should be, is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan<'b> {
    /// The kind of message; provisional while the scan is not complete.
    pub kind: Kind,
    /// `method`
    pub method: Option<Str<'b>>,
    /// `id`
    pub id: Option<Id<'b>>,
    /// `params`, as written, when it is an object.
    pub params: Option<&'b [u8]>,
    /// `params.name`: the tool or prompt.
    pub name: Option<Str<'b>>,
    /// `params.uri`: the resource.
    pub uri: Option<Str<'b>>,
    /// `params.taskId`
    pub task_id: Option<Str<'b>>,
    /// `params.requestId`: what `notifications/cancelled` is about.
    pub request_id: Option<Id<'b>>,
    /// `params._meta["io.modelcontextprotocol/protocolVersion"]`, else `params.protocolVersion`.
    pub protocol_version: Option<Str<'b>>,
    /// `params._meta.progressToken`
    pub progress_token: Option<Id<'b>>,
    /// It has an `error`: of the two kinds of [`Kind::Response`], the one that failed.
    pub has_error: bool,
    /// The whole message was seen.
    pub complete: bool,
    /// A key differs from one that matters only in case: some servers (Go's `encoding/json`) take it for that one.
    pub has_case_variant: bool,
}

/// Scans a message, or as much of it as is there.
///
/// An input that ends too early is no error: the answer then has `complete == false` and holds what was found so far.
/// A string is found only once it is whole.
///
/// # Errors
/// What is there cannot be the start of a message that all readers understand alike.
pub fn scan<'b>(bytes: &'b [u8], limits: &ScanLimits) -> Result<Scan<'b>, ScanError> {
    let mut cursor = Cursor::new(bytes, limits);
    let mut found = Found::default();
    let outcome = found.message(&mut cursor);
    match outcome {
        Ok(()) => Ok(found.finish(true)),
        Err(Stop::Partial) => Ok(found.finish(false)),
        Err(Stop::Refused(error)) => Err(error),
    }
}

#[derive(Default)]
struct Found<'b> {
    seen: u16,
    top: Option<u8>,
    is_version_2: bool,
    method: Option<Str<'b>>,
    id: Option<Id<'b>>,
    params: Option<&'b [u8]>,
    name: Option<Str<'b>>,
    uri: Option<Str<'b>>,
    task_id: Option<Str<'b>>,
    request_id: Option<Id<'b>>,
    version: Option<Str<'b>>,
    meta_version: Option<Str<'b>>,
    progress_token: Option<Id<'b>>,
    has_case_variant: bool,
}

/// A key that matters; its number is its bit in `Found::seen`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    JsonRpc,
    Method,
    Id,
    Params,
    Result,
    Error,
    Name,
    Uri,
    TaskId,
    RequestId,
    ProtocolVersion,
    Meta,
    MetaVersion,
    ProgressToken,
}

const TOP_KEYS: &[(&str, Key)] = &[
    ("jsonrpc", Key::JsonRpc),
    ("method", Key::Method),
    ("id", Key::Id),
    ("params", Key::Params),
    ("result", Key::Result),
    ("error", Key::Error),
];

const PARAMS_KEYS: &[(&str, Key)] = &[
    ("name", Key::Name),
    ("uri", Key::Uri),
    ("taskId", Key::TaskId),
    ("requestId", Key::RequestId),
    ("protocolVersion", Key::ProtocolVersion),
    ("_meta", Key::Meta),
];

const META_KEYS: &[(&str, Key)] =
    &[(META_PROTOCOL_VERSION, Key::MetaVersion), ("progressToken", Key::ProgressToken)];

impl<'b> Found<'b> {
    fn message(&mut self, cursor: &mut Cursor<'b>) -> Result<(), Stop> {
        let first = cursor.peek()?;
        self.top = Some(first);
        if first == b'{' {
            cursor.object(|cursor, key| self.top_member(cursor, key))?;
        } else {
            cursor.skip()?;
        }
        cursor.end()
    }

    fn top_member(&mut self, cursor: &mut Cursor<'b>, key: RawStr<'b>) -> Result<(), Stop> {
        match self.look_up(TOP_KEYS, key)? {
            Some(Key::JsonRpc) => {
                self.is_version_2 = string(cursor)?.is_some_and(|version| version.means("2.0"));
            }
            Some(Key::Method) => self.method = string(cursor)?,
            Some(Key::Id) => self.id = id(cursor)?,
            Some(Key::Params) if cursor.peek()? == b'{' => {
                let start = cursor.offset();
                cursor.object(|cursor, key| self.params_member(cursor, key))?;
                self.params = Some(cursor.since(start));
            }
            _ => cursor.skip()?,
        }
        Ok(())
    }

    fn params_member(&mut self, cursor: &mut Cursor<'b>, key: RawStr<'b>) -> Result<(), Stop> {
        match self.look_up(PARAMS_KEYS, key)? {
            Some(Key::Name) => self.name = string(cursor)?,
            Some(Key::Uri) => self.uri = string(cursor)?,
            Some(Key::TaskId) => self.task_id = string(cursor)?,
            Some(Key::RequestId) => self.request_id = id(cursor)?,
            Some(Key::ProtocolVersion) => self.version = string(cursor)?,
            Some(Key::Meta) if cursor.peek()? == b'{' => {
                cursor.object(|cursor, key| self.meta_member(cursor, key))?;
            }
            _ => cursor.skip()?,
        }
        Ok(())
    }

    fn meta_member(&mut self, cursor: &mut Cursor<'b>, key: RawStr<'b>) -> Result<(), Stop> {
        match self.look_up(META_KEYS, key)? {
            Some(Key::MetaVersion) => self.meta_version = string(cursor)?,
            Some(Key::ProgressToken) => self.progress_token = id(cursor)?,
            _ => cursor.skip()?,
        }
        Ok(())
    }

    /// Which of `keys` this is; a second occurrence is refused, whichever way it is written.
    fn look_up(&mut self, keys: &[(&str, Key)], key: RawStr<'b>) -> Result<Option<Key>, Stop> {
        let mut hit = None;
        if !key.escaped && key.inside.is_ascii() {
            for &(name, number) in keys {
                if name.len() != key.inside.len() || !name.as_bytes().eq_ignore_ascii_case(key.inside) {
                    continue;
                }
                if name.as_bytes() == key.inside {
                    hit = Some(number);
                } else {
                    self.has_case_variant = true;
                }
            }
        } else if let Ok(key) = key.check() {
            // Escapes may spell a plain name; a key that is not UTF-8 cannot.
            for &(name, number) in keys {
                if key.means(name) {
                    hit = Some(number);
                } else if folds_to(key, name) {
                    self.has_case_variant = true;
                }
            }
        }
        if let Some(key) = hit {
            let bit = 1 << key as u16;
            if self.seen & bit != 0 {
                return Err(Stop::Refused(ScanError::DuplicateKey));
            }
            self.seen |= bit;
        }
        Ok(hit)
    }

    const fn has(&self, key: Key) -> bool {
        self.seen & (1 << key as u16) != 0
    }

    fn finish(self, complete: bool) -> Scan<'b> {
        Scan {
            kind: self.kind(complete),
            method: self.method,
            id: self.id,
            params: self.params,
            name: self.name,
            uri: self.uri,
            task_id: self.task_id,
            request_id: self.request_id,
            protocol_version: self.meta_version.or(self.version),
            progress_token: self.progress_token,
            has_error: self.has(Key::Error),
            complete,
            has_case_variant: self.has_case_variant,
        }
    }

    fn kind(&self, complete: bool) -> Kind {
        let has_id = matches!(self.id, Some(Id::Number(_) | Id::String(_)));
        match self.top {
            None => Kind::Undetermined,
            Some(b'[') => Kind::Batch,
            Some(b'{') if complete => self.kind_of_object(has_id),
            Some(b'{') if self.method.is_some() && has_id => Kind::Request,
            Some(b'{') => Kind::Undetermined,
            Some(_) => Kind::Invalid,
        }
    }

    fn kind_of_object(&self, has_id: bool) -> Kind {
        let outcomes = u8::from(self.has(Key::Result)) + u8::from(self.has(Key::Error));
        if !self.is_version_2 {
            return Kind::Invalid;
        }
        match (self.has(Key::Method), outcomes) {
            (true, 0) if self.method.is_none() => Kind::Invalid,
            (true, 0) if has_id => Kind::Request,
            (true, 0) if !self.has(Key::Id) => Kind::Notification,
            (false, 1) if has_id => Kind::Response,
            // An error about a message whose id could not be read has none, or null.
            (false, 1) if self.has(Key::Error) && (!self.has(Key::Id) || self.id == Some(Id::Null)) => {
                Kind::Response
            }
            _ => Kind::Invalid,
        }
    }
}

/// The value when it is a string; any other value is skipped.
fn string<'b>(cursor: &mut Cursor<'b>) -> Result<Option<Str<'b>>, Stop> {
    if cursor.peek()? == b'"' {
        return cursor.string()?.check().map(Some);
    }
    cursor.skip().map(|()| None)
}

/// The value when it may be an id; any other value is skipped.
fn id<'b>(cursor: &mut Cursor<'b>) -> Result<Option<Id<'b>>, Stop> {
    let first = cursor.peek()?;
    if first == b'"' {
        return cursor.string()?.check().map(|text| Some(Id::String(text)));
    }
    let start = cursor.offset();
    cursor.skip()?;
    Ok(match first {
        b'n' => Some(Id::Null),
        b'-' | b'0'..=b'9' => core::str::from_utf8(cursor.since(start)).ok().map(Id::Number),
        _ => None,
    })
}

/// Whether a reader that folds case as Unicode does takes `key` for `name`.
fn folds_to(key: Str<'_>, name: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    let mut expected = name.chars();
    key.chars().all(|c| c.is_ok_and(|c| expected.next().map(fold) == Some(fold(c))))
        && expected.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(text: &str) -> Scan<'_> {
        scan(text.as_bytes(), &ScanLimits::default()).unwrap()
    }

    fn refused(text: &str) -> ScanError {
        scan(text.as_bytes(), &ScanLimits::default()).unwrap_err()
    }

    #[test]
    fn a_modern_call_is_found_whole() {
        let found =
            ok(r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"echo","arguments":
            {"name":"not this","uri":"nor this"},"_meta":{"progressToken":1.5,
            "io.modelcontextprotocol/protocolVersion":"2026-07-28"},"protocolVersion":"2025-11-25"}}"#);
        assert_eq!(found.kind, Kind::Request);
        assert!(found.complete && !found.has_case_variant);
        assert_eq!(found.method.and_then(|method| method.as_plain()), Some("tools/call"));
        assert_eq!(found.name.and_then(|name| name.as_plain()), Some("echo"));
        assert_eq!(found.uri, None);
        assert_eq!(found.progress_token, Some(Id::Number("1.5")));
        assert_eq!(found.protocol_version.and_then(|version| version.as_plain()), Some("2026-07-28"));
        assert!(
            found.params.is_some_and(|params| params.starts_with(b"{\"name\"") && params.ends_with(b"}"))
        );
    }

    #[test]
    fn duplicates_of_what_matters_are_refused_however_they_are_spelled() {
        for text in [
            r#"{"method":"a","method":"b"}"#,
            r#"{"method":"a","\u006dethod":"b"}"#,
            r#"{"id":1,"id":1}"#,
            r#"{"jsonrpc":"2.0","jsonrpc":"1.0"}"#,
            r#"{"params":{},"params":[]}"#,
            r#"{"params":{"name":"a","name":null}}"#,
            r#"{"params":{"uri":"a","u\u0072i":"b"}}"#,
            r#"{"params":{"_meta":{},"_meta":{}}}"#,
            r#"{"params":{"_meta":{"progressToken":1,"progressToken":2}}}"#,
        ] {
            assert_eq!(refused(text), ScanError::DuplicateKey, "{text}");
        }
        ok(r#"{"x":1,"x":2,"params":{"arguments":{"name":1,"name":2},"x":1,"x":2}}"#);
    }

    #[test]
    fn case_variants_are_told() {
        for text in [
            r#"{"Method":"a"}"#,
            r#"{"params":{"NAME":"a"}}"#,
            "{\"param\u{17f}\":{}}",
            r#"{"param\u017f":{}}"#,
            r#"{"params":{"ta\u017F\u212aid":"a"}}"#,
        ] {
            assert!(ok(text).has_case_variant, "{text}");
        }
        for text in
            [r#"{"method":"Method","x":"METHOD"}"#, r#"{"params":{"arguments":{"Name":1}},"methods":1}"#]
        {
            assert!(!ok(text).has_case_variant, "{text}");
        }
    }

    #[test]
    fn a_part_tells_what_is_certain() {
        let text = r#"{"jsonrpc":"2.0","id":12,"method":"ping","params":{"name":"n"}}"#;
        let part = |end: &str| ok(&text[..text.find(end).unwrap() + end.len()]);
        assert_eq!(part("12").id, None, "the number may go on");
        assert_eq!(part("12,").id, Some(Id::Number("12")));
        assert_eq!(part("12,").kind, Kind::Undetermined);
        assert_eq!(part("\"ping").method, None);
        assert_eq!(part("\"ping\"").kind, Kind::Request);
        assert!(!part("\"n\"}").complete);
        assert!(part("}}").complete);
        assert_eq!(ok("").kind, Kind::Undetermined);
        assert_eq!(ok(" [").kind, Kind::Batch);
    }

    #[test]
    fn depth_and_trailing_bytes_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(ok(&nested(64)).complete);
        assert_eq!(refused(&nested(65)), ScanError::TooDeep);
        let objects = format!(r#"{{"params":{}1{}}}"#, r#"{"a":"#.repeat(64), "}".repeat(64));
        assert_eq!(refused(&objects), ScanError::TooDeep);
        let limits = ScanLimits { depth_max: u8::MAX };
        assert!(scan(nested(128).as_bytes(), &limits).unwrap().complete);
        assert_eq!(scan(nested(129).as_bytes(), &limits), Err(ScanError::TooDeep));
        assert_eq!(refused("{} {}"), ScanError::TrailingData);
        assert_eq!(refused("{}\0"), ScanError::TrailingData);
        assert_eq!(refused("\u{feff}{}"), ScanError::Syntax);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "[1}",
            r#"{"a":[1}}"#,
            r#"[{"a":1]]"#,
            r#"{"x":{"a":1]}"#,
            r#"{"a":1]"#,
            "[1,]",
            r#"{"a":1,}"#,
            "{,}",
            "[,1]",
            r#"{"a"}"#,
            r#"{"a" 1}"#,
            r#"{a:1}"#,
            "{1:1}",
            "[1 2]",
            r#"["a" "b"]"#,
            "[01]",
            "[-]",
            "[+1]",
            "[1.]",
            "[.5]",
            "[1e]",
            "[0x1]",
            "[NaN]",
            "[nul1]",
            "[True]",
            "['a']",
            r#"["\x"]"#,
            r#"["\u12g4"]"#,
            "[\"\t\"]",
            "[\"\u{1f}123456789\"]",
            "]",
            "}",
            ":",
            "//x\n{}",
        ] {
            assert_eq!(refused(text), ScanError::Syntax, "{text}");
        }
    }
}
