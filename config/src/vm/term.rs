//! A reader for the Erlang terms that configuration files hold: atoms, numbers, strings, binaries, lists, tuples.
//!
//! Bounded in depth and count; never evaluates anything. Grammar: the Erlang reference manual, "Data Types".

use super::VmError;
use std::fmt;

/// Deepest nesting.
const DEPTH_MAX: usize = 32;
/// Most terms in a file.
const TERMS_MAX: usize = 10_000;

/// From 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct At {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A term. Numbers keep their text: nothing computes with them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    Atom(String),
    Number(String),
    Text(String),
    List(Vec<(Self, At)>),
    Tuple(Vec<(Self, At)>),
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, parts, close) = match self {
            Self::Atom(text) | Self::Number(text) => return f.write_str(text),
            Self::Text(text) => return write!(f, "{text:?}"),
            Self::List(parts) => ('[', parts, ']'),
            Self::Tuple(parts) => ('{', parts, '}'),
        };
        write!(f, "{open}")?;
        for (index, (part, _)) in parts.iter().enumerate() {
            write!(f, "{}{part}", if index > 0 { "," } else { "" })?;
        }
        write!(f, "{close}")
    }
}

/// Reads one term and its place; after it only blanks, comments and one full stop.
pub(super) fn parse(text: &str) -> Result<(Term, At), VmError> {
    let mut reader = Reader { rest: text.chars().peekable(), at: At { line: 1, column: 1 }, terms: 0 };
    let found = reader.term(0)?;
    reader.blanks();
    if reader.peek() == Some('.') {
        reader.next();
        reader.blanks();
    }
    match reader.peek() {
        None => Ok(found),
        Some(_) => Err(reader.refuse("something follows the end of the term")),
    }
}

struct Reader<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    at: At,
    terms: usize,
}

impl Reader<'_> {
    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.at = At { line: self.at.line + 1, column: 1 };
        } else {
            self.at.column += 1;
        }
        Some(c)
    }

    fn refuse(&self, what: &str) -> VmError {
        VmError { line: self.at.line, column: self.at.column, what: what.to_owned() }
    }

    /// Blanks and `%` comments.
    fn blanks(&mut self) {
        while let Some(c) = self.peek() {
            if c == '%' {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.next();
                }
            } else if c.is_whitespace() {
                self.next();
            } else {
                return;
            }
        }
    }

    fn term(&mut self, depth: usize) -> Result<(Term, At), VmError> {
        self.blanks();
        self.terms += 1;
        if depth > DEPTH_MAX || self.terms > TERMS_MAX {
            return Err(self.refuse("more terms or levels than a configuration has"));
        }
        let at = self.at;
        let term = match self.peek() {
            Some('[') => Term::List(self.parts(']', depth)?),
            Some('{') => Term::Tuple(self.parts('}', depth)?),
            Some('"') => Term::Text(self.quoted('"')?),
            Some('\'') => Term::Atom(self.quoted('\'')?),
            Some('<') => self.binary()?,
            Some('-' | '+' | '0'..='9') => self.number()?,
            Some(c) if c.is_ascii_lowercase() => Term::Atom(self.word()),
            Some(_) => return Err(self.refuse("wanted an atom, a number, a string, a list or a tuple")),
            None => return Err(self.refuse("the text ends where a term should stand")),
        };
        Ok((term, at))
    }

    fn parts(&mut self, close: char, depth: usize) -> Result<Vec<(Term, At)>, VmError> {
        self.next();
        let mut parts = Vec::new();
        self.blanks();
        if self.peek() == Some(close) {
            self.next();
            return Ok(parts);
        }
        loop {
            parts.push(self.term(depth + 1)?);
            self.blanks();
            match self.peek() {
                Some(',') => {
                    self.next();
                }
                Some(c) if c == close => {
                    self.next();
                    return Ok(parts);
                }
                _ => return Err(self.refuse(&format!("wanted `,` or `{close}`"))),
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, VmError> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some(c) if c == quote => return Ok(text),
                Some('\\') => match self.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(c) => text.push(c),
                    None => return Err(self.refuse("the text ends inside quotes")),
                },
                Some(c) => text.push(c),
                None => return Err(self.refuse("the text ends inside quotes")),
            }
        }
    }

    /// `<<"text">>`.
    fn binary(&mut self) -> Result<Term, VmError> {
        for wanted in ['<', '<'] {
            if self.next() != Some(wanted) {
                return Err(self.refuse("wanted `<<\"...\">>`"));
            }
        }
        if self.peek() != Some('"') {
            return Err(self.refuse("wanted a string in the binary"));
        }
        let text = self.quoted('"')?;
        for wanted in ['>', '>'] {
            if self.next() != Some(wanted) {
                return Err(self.refuse("wanted `>>`"));
            }
        }
        Ok(Term::Text(text))
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_alphanumeric() || *c == '_' || *c == '@') {
            word.push(c);
            self.next();
        }
        word
    }

    /// `5`, `-5`, `16#ff`, `1.5e3`. A full stop belongs to the number only before a digit.
    fn number(&mut self) -> Result<Term, VmError> {
        let mut text = String::new();
        if let Some(sign) = self.peek().filter(|c| matches!(c, '-' | '+')) {
            text.push(sign);
            self.next();
        }
        loop {
            text.push_str(&self.word());
            let joint = self.peek();
            let mut ahead = self.rest.clone();
            ahead.next();
            let digit_follows = ahead.peek().is_some_and(char::is_ascii_alphanumeric);
            match joint {
                Some(c @ ('.' | '#')) if digit_follows => {
                    text.push(c);
                    self.next();
                }
                _ => break,
            }
        }
        if text.ends_with(|c: char| c.is_ascii_alphanumeric()) {
            Ok(Term::Number(text))
        } else {
            Err(self.refuse("wanted digits after the sign"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn printed(text: &str) -> String {
        parse(text).unwrap().0.to_string()
    }

    #[test]
    fn terms_print_as_erlang_would() {
        assert_eq!(
            printed("[ {a, 1} , % comment\n 'B c', \"x\\ny\", <<\"b\">>, -5, 16#ff, 1.5e3 ]."),
            r#"[{a,1},B c,"x\ny","b",-5,16#ff,1.5e3]"#
        );
        assert_eq!(printed("[]"), "[]");
        assert_eq!(printed("5."), "5");
    }

    #[test]
    fn broken_texts_are_refused_at_their_place() {
        for (text, line, column) in
            [("[a b]", 1, 4), ("[a,\n  ", 2, 3), ("\"x", 1, 3), ("a. b", 1, 4), ("[-]", 1, 3), ("X", 1, 1)]
        {
            let error = parse(text).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{text:?}: {}", error.what);
        }
        assert!(parse(&"[".repeat(1000)).is_err());
        assert!(parse(&format!("[{}1]", "1,".repeat(20_000))).is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in r#"[\[\]{},.%'"<>#a-c0-9 \\\n-]{0,60}"#) {
            let _ = parse(&text);
        }
    }
}
