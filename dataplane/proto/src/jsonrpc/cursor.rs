//! A cursor over JSON text: checks grammar, skips values without recursion, and tells "cut off" from "wrong".

use super::text::Str;
use super::{DEPTH_MAX, ScanError, ScanLimits};

/// Why the cursor cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The input ends here; what was read so far is right.
    Partial,
    /// The input is refused.
    Refused(ScanError),
}

pub(super) const SYNTAX: Stop = Stop::Refused(ScanError::Syntax);

/// A string in the input: its inside, and whether escapes are in it. UTF-8 is not checked yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawStr<'b> {
    pub inside: &'b [u8],
    pub escaped: bool,
}

impl<'b> RawStr<'b> {
    pub(super) fn check(self) -> Result<Str<'b>, Stop> {
        let text = core::str::from_utf8(self.inside).map_err(|_| Stop::Refused(ScanError::NotUtf8))?;
        Ok(Str::new(text, self.escaped))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
    depth: u8,
    depth_max: u8,
}

impl<'b> Cursor<'b> {
    pub(super) fn new(bytes: &'b [u8], limits: &ScanLimits) -> Self {
        Self { bytes, at: 0, depth: 0, depth_max: limits.depth_max.min(DEPTH_MAX) }
    }

    pub(super) const fn offset(&self) -> usize {
        self.at
    }

    /// What was read since `start`.
    pub(super) fn since(&self, start: usize) -> &'b [u8] {
        &self.bytes[start..self.at]
    }

    /// The next byte that is no white space, without taking it.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<u8, Stop> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(&byte) => return Ok(byte),
                None => return Err(Stop::Partial),
            }
        }
    }

    fn expect(&mut self, expected: u8) -> Result<(), Stop> {
        if self.peek()? != expected {
            return Err(SYNTAX);
        }
        self.at += 1;
        Ok(())
    }

    fn enter(&mut self) -> Result<(), Stop> {
        if self.depth >= self.depth_max {
            return Err(Stop::Refused(ScanError::TooDeep));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Reads an object and calls `member` behind each colon; it must take the value.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, RawStr<'b>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if self.peek()? != b'{' {
            return Err(SYNTAX);
        }
        self.enter()?;
        if self.peek()? == b'}' {
            return self.leave();
        }
        loop {
            let key = self.key()?;
            member(self, key)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => return self.leave(),
                _ => return Err(SYNTAX),
            }
        }
    }

    /// Moves into an array: true when it has an element, at which the cursor then stands before.
    pub(super) fn enter_array(&mut self) -> Result<bool, Stop> {
        if self.peek()? != b'[' {
            return Err(SYNTAX);
        }
        self.enter()?;
        if self.peek()? == b']' {
            self.leave()?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Behind an element: true when another follows.
    pub(super) fn next_element(&mut self) -> Result<bool, Stop> {
        match self.peek()? {
            b',' => {
                self.at += 1;
                Ok(true)
            }
            b']' => {
                self.leave()?;
                Ok(false)
            }
            _ => Err(SYNTAX),
        }
    }

    fn leave(&mut self) -> Result<(), Stop> {
        self.depth -= 1;
        self.at += 1;
        Ok(())
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<RawStr<'b>, Stop> {
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    /// A string.
    pub(super) fn string(&mut self) -> Result<RawStr<'b>, Stop> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_len(&self.bytes[self.at..]);
            match self.bytes.get(self.at) {
                None => return Err(Stop::Partial),
                Some(b'"') => {
                    let inside = &self.bytes[start..self.at];
                    self.at += 1;
                    return Ok(RawStr { inside, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at += 1;
                    self.escape()?;
                }
                Some(_) => return Err(SYNTAX),
            }
        }
    }

    /// What follows a backslash. Whether surrogates pair up is not grammar, so it is not checked here.
    fn escape(&mut self) -> Result<(), Stop> {
        match self.bytes.get(self.at) {
            None => Err(Stop::Partial),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    match self.bytes.get(self.at) {
                        None => return Err(Stop::Partial),
                        Some(b) if b.is_ascii_hexdigit() => self.at += 1,
                        Some(_) => return Err(SYNTAX),
                    }
                }
                Ok(())
            }
            Some(_) => Err(SYNTAX),
        }
    }

    /// Skips one value of any kind, in a loop: the input cannot use up the stack.
    pub(super) fn skip(&mut self) -> Result<(), Stop> {
        // Bit n tells whether the level n above here is an object.
        let mut objects: u128 = 0;
        let base = self.depth;
        loop {
            match self.peek()? {
                open @ (b'{' | b'[') => {
                    self.enter()?;
                    objects = objects << 1 | u128::from(open == b'{');
                    // `[` + 2 is `]`, `{` + 2 is `}`.
                    if self.peek()? == open + 2 {
                        objects >>= 1;
                        self.leave()?;
                    } else {
                        if open == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            loop {
                if self.depth == base {
                    return Ok(());
                }
                let in_object = objects & 1 == 1;
                match (self.peek()?, in_object) {
                    (b',', true) => {
                        self.at += 1;
                        self.key()?;
                        break;
                    }
                    (b',', false) => {
                        self.at += 1;
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        objects >>= 1;
                        self.leave()?;
                    }
                    _ => return Err(SYNTAX),
                }
            }
        }
    }

    fn scalar(&mut self) -> Result<(), Stop> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(SYNTAX),
        }
    }

    fn literal(&mut self, literal: &[u8]) -> Result<(), Stop> {
        for expected in literal {
            match self.bytes.get(self.at) {
                None => return Err(Stop::Partial),
                Some(byte) if byte == expected => self.at += 1,
                Some(_) => return Err(SYNTAX),
            }
        }
        Ok(())
    }

    /// A number; one that the input's end cuts off inside an object or array may go on, so it is partial there.
    fn number(&mut self) -> Result<(), Stop> {
        if self.bytes[self.at] == b'-' {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        if self.at == self.bytes.len() && self.depth > 0 { Err(Stop::Partial) } else { Ok(()) }
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Stop> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        self.at += len;
        match (len, rest.is_empty()) {
            (0, true) => Err(Stop::Partial),
            (0, false) => Err(SYNTAX),
            _ => Ok(()),
        }
    }

    /// Only white space may be left.
    pub(super) fn end(&mut self) -> Result<(), Stop> {
        match self.peek() {
            Err(Stop::Partial) => Ok(()),
            _ => Err(Stop::Refused(ScanError::TrailingData)),
        }
    }
}

/// Bytes up to the first quote, backslash or control byte, eight at a time.
#[inline]
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        // The high bit of a byte is set where the byte is zero; above the first hit it may be set wrongly.
        let quote = word ^ (ONES * 0x22);
        let backslash = word ^ (ONES * 0x5C);
        let zero = |w: u64| w.wrapping_sub(ONES) & !w;
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let hits = (zero(quote) | zero(backslash) | control) & HIGH;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(rest.len())
}
