//! YAML text in, a small tree with positions out.
//!
//! Owns the bounds on what is read: bytes, nodes, depth. Anchors, aliases, tags, merge keys, repeated keys and
//! several documents are refused, so that no file can mean more than it shows and none can grow when read.
//! Never gives a scalar a type: what a text means is the business of the key that it stands under.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};
use std::iter;

/// Largest file, in bytes. The seed's files are below 3 KB; a thousand nodes take about 100 KB.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;
/// Most nodes in one file: bounds memory at some 10 MB.
const NODES_MAX: usize = 100_000;
/// Deepest nesting. The deepest known key has 9 levels.
const DEPTH_MAX: usize = 32;

/// Where a node starts: index of its file, line and column from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) file: usize,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: At,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Text as written (after unquoting). `plain`: without quotes, so that it may be a number or a word.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: At,
    pub(crate) value: Node,
}

impl Node {
    /// An empty mapping.
    pub(crate) const fn empty(at: At) -> Self {
        Self { at, kind: Kind::Map(Vec::new()) }
    }

    /// Whether this is a null: nothing after the colon, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// Why a text is not read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) at: At,
    pub(crate) what: String,
    pub(crate) remedy: &'static str,
}

/// Reads one document. An empty one is an empty mapping.
pub(crate) fn parse(text: &str, file: usize) -> Result<Node, Refusal> {
    let start = At { file, line: 1, column: 1 };
    if text.len() > FILE_BYTES_MAX {
        let what = format!("the file has {} bytes, at most {FILE_BYTES_MAX} are read", text.len());
        return Err(Refusal { at: start, what, remedy: "split it or remove what is not configuration" });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { parser: Parser::new_from_str(text), file, nodes: 0 };
    let root = reader.document()?;
    Ok(root.filter(|node| !node.is_null()).unwrap_or_else(|| Node::empty(start)))
}

struct Reader<'t, I: saphyr_parser::Input> {
    parser: Parser<'t, I>,
    file: usize,
    nodes: usize,
}

impl<'t, I: saphyr_parser::Input> Reader<'t, I> {
    fn document(&mut self) -> Result<Option<Node>, Refusal> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(self.refuse(
                        span.start,
                        "a second document starts",
                        "keep one document per file",
                    ));
                }
                Event::DocumentStart(_) => {}
                other => root = Some(self.node(other, span, 0)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Refusal> {
        match self.parser.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => Err(self.scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Refusal> {
        let at = self.at(span.start);
        self.nodes += 1;
        if self.nodes > NODES_MAX || depth > DEPTH_MAX {
            let what = format!("more than {NODES_MAX} values or {DEPTH_MAX} levels");
            return Err(Refusal { at, what, remedy: "remove what is not configuration" });
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => (1, false),
        };
        if anchor != 0 {
            let remedy = "write the value out at each place: anchors and aliases are not read";
            return Err(self.refuse(span.start, "an anchor or alias", remedy));
        }
        if tag {
            return Err(self.refuse(span.start, "a YAML tag", "remove it: the key decides the type"));
        }
        let kind = match event {
            Event::Scalar(text, style, ..) => {
                Kind::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(..) => Kind::List(self.list(depth)?),
            _ => Kind::Map(self.map(depth)?),
        };
        Ok(Node { at, kind })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Refusal> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Refusal> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let key = self.node(event, span, depth + 1)?;
            let Kind::Scalar { text, .. } = key.kind else {
                return Err(self.refuse(span.start, "a key that is no plain text", "write `key: value`"));
            };
            if !seen.insert(text.clone()) {
                let what = format!("`{}` stands twice in one mapping", clip(&text));
                return Err(self.refuse(span.start, &what, "keep one of them"));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push(Entry { key: text, key_at: key.at, value });
        }
    }

    fn at(&self, mark: Marker) -> At {
        At { file: self.file, line: mark.line().max(1), column: mark.col() + 1 }
    }

    fn refuse(&self, mark: Marker, what: &str, remedy: &'static str) -> Refusal {
        Refusal { at: self.at(mark), what: what.to_owned(), remedy }
    }

    fn scan_error(&self, error: &ScanError) -> Refusal {
        let remedy = "check indentation, quotes and brackets around this place";
        self.refuse(*error.marker(), &format!("no valid YAML: {}", error.info()), remedy)
    }
}

/// Shortens a text that is quoted in a message and makes control characters visible.
pub(crate) fn clip(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(60).flat_map(escape).collect();
    if chars.next().is_some() { format!("{head}…") } else { head }
}

fn escape(c: char) -> Box<dyn Iterator<Item = char>> {
    if c.is_control() { Box::new(c.escape_default()) } else { Box::new(iter::once(c)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> (usize, usize, String) {
        let refusal = parse(text, 0).unwrap_err();
        (refusal.at.line, refusal.at.column, refusal.what)
    }

    #[test]
    fn positions_count_from_one() {
        let root = parse("# c\na:\n  b: [1, \"x\"]\n", 7).unwrap();
        let Kind::Map(entries) = &root.kind else { panic!("{root:?}") };
        let Kind::Map(inner) = &entries[0].value.kind else { panic!("{root:?}") };
        assert_eq!(inner[0].key_at, At { file: 7, line: 3, column: 3 });
        let Kind::List(items) = &inner[0].value.kind else { panic!("{root:?}") };
        assert_eq!(items[1].at, At { file: 7, line: 3, column: 10 });
        assert_eq!(items[1].kind, Kind::Scalar { text: "x".into(), plain: false });
    }

    #[test]
    fn what_could_surprise_is_refused_at_its_place() {
        assert_eq!(refusal("a: &x 1\nb: *x\n").0, 1);
        assert_eq!(refusal("a: !!int 1\n"), (1, 4, "a YAML tag".into()));
        assert_eq!(refusal("a: 1\na: 2\n"), (2, 1, "`a` stands twice in one mapping".into()));
        assert_eq!(refusal("a: 1\n---\nb: 2\n").0, 2);
        assert_eq!(refusal("[a]: 1\n").2, "a key that is no plain text");
        assert!(refusal("a: [1\nb: 2").2.starts_with("no valid YAML"));
        assert!(refusal(&"[".repeat(100)).2.contains("levels"));
        assert!(refusal(&" ".repeat(FILE_BYTES_MAX + 1)).2.contains("bytes"));
    }

    #[test]
    fn nothing_at_all_is_an_empty_mapping() {
        for text in ["", "# only a comment\n", "---\n", "~\n"] {
            assert_eq!(parse(text, 0).unwrap().kind, Kind::Map(Vec::new()), "{text:?}");
        }
    }
}
