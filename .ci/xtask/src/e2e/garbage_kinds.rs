//! Kinds of garbage, and what the gateway must make of each.
//!
//! Owns the bytes and the reasons. A kind whose reason is certain is counted exactly; noise is only ever refused.

/// SplitMix64 (Steele, Lea, Flood 2014): the same garbage for the same seed.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// What the client does behind its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Reads what comes, to the end. A client that has sent too little is thereby a slow one.
    Reads,
    /// Closes at once.
    Closes,
    /// Resets at once.
    Resets,
}

/// What must become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Answered so, and counted under this reason.
    Refused(u16, &'static str),
    /// Not answered, as nobody is there; counted under this reason.
    Left(&'static str),
    /// Refused or let go; how is not certain.
    Uncertain,
}

/// One kind.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) then: Then,
    pub(super) fate: Fate,
}

/// A TLS 1.3 client hello's first record, cut behind its cipher suites.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\
    0123456789abcdef0123456789abcdef\x20fedcba9876543210fedcba9876543210\x00\x06\x13\x01\x13\x02\x13\x03\x01\x00";

/// Heads that break one rule each (RFC 9112, RFC 9110), by the reason that they are refused for. `%` stands for noise.
const HEADS: &[(&str, u16, &str)] = &[
    ("GET /mcp HTTP/1.1\nHost: a\n\n", 400, "bare_lf"),
    ("GET /mcp HTTP/1.1\r\nHost: a\r\nX: %\n\r\n", 400, "bare_lf"),
    ("GET /mcp HTTP/1.1\r\nHost: a\r\nX: %\r\n folded\r\n\r\n", 400, "obs_fold"),
    ("POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabc", 400, "conflicting_lengths"),
    (
        "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        400,
        "repeated_length",
    ),
    (
        "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "length_and_chunked",
    ),
    (
        "POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "bad_transfer_encoding",
    ),
    (
        "POST /mcp HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "bad_transfer_encoding",
    ),
    (
        "POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
        "unsupported_coding",
    ),
    ("POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400, "bad_length"),
    ("POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, "bad_length"),
    ("POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400, "bad_length"),
    ("GET /mcp HTTP/1.1\r\nX: %\r\n\r\n", 400, "missing_host"),
    ("GET /mcp HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "repeated_host"),
    ("GET /mcp HTTP/1.1\r\nHost: a/%\r\n\r\n", 400, "bad_host"),
    ("GET mcp HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
    ("G(T /mcp HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_method"),
    ("GET /mcp HTTP/2.0\r\nHost: a\r\n\r\n", 505, "bad_version"),
    ("GET /mcp HTTP/1.1\r\nHost : a\r\n\r\n", 400, "bad_header_name"),
    ("GET /mcp HTTP/1.1\r\nHost: a\r\nX(%: b\r\n\r\n", 400, "bad_header_name"),
    ("GET /mcp HTTP/1.1\r\nHost: a\r\nX: b\x01%\r\n\r\n", 400, "bad_header_value"),
    ("GET /mcp HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n", 400, "bad_connection"),
    ("GET /mcp HTTP/1.1\r\nHost: a\r\nExpect: %\r\n\r\n", 417, "bad_expect"),
    ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501, "unsupported_method"),
    ("TRACE /mcp HTTP/1.1\r\nHost: a\r\n\r\n", 501, "unsupported_method"),
    ("GET /mcp/../% HTTP/1.1\r\nHost: a\r\n\r\n", 400, "dot_segments"),
    ("GET /mcp/%2e%2E/x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "dot_segments"),
    ("GET /% HTTP/1.1\r\nHost: a\r\n\r\n", 404, "no_route"),
    ("GET /mcp HTTP/1.1\r\nHost: a\r\nOrigin: http://%.example\r\n\r\n", 403, "origin_forbidden"),
    ("POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000000\r\n\r\n", 413, "body_too_large"),
];

/// Bodies that break the chunked coding, behind a good head.
const CHUNKS: &[(&str, u16, &str)] = &[
    ("zz\r\nab\r\n0\r\n\r\n", 400, "bad_chunk_size"),
    ("-1\r\nab\r\n0\r\n\r\n", 400, "bad_chunk_size"),
    ("fffffffffffffffffffff\r\nab", 400, "chunk_too_large"),
    ("1;a=\x01\r\nx\r\n0\r\n\r\n", 400, "bad_extension"),
    ("1\nx\r\n0\r\n\r\n", 400, "body_bare_lf"),
    ("1\r\nxy\r\n0\r\n\r\n", 400, "bad_chunk_end"),
    ("0\r\nno trailer\r\n\r\n", 400, "bad_trailer"),
];

/// Text with `%` replaced by letters; `%2e` stays.
fn fill(text: &str, random: &mut Random) -> Vec<u8> {
    let letters: String = (0..=random.below(12)).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
    text.replace("%2", "\0").replace('%', &letters).replace('\0', "%2").into_bytes()
}

/// A kind whose fate is certain.
pub(super) fn certain(random: &mut Random) -> Kind {
    let refused = |name, bytes, status, reason| Kind {
        name,
        bytes,
        then: Then::Reads,
        fate: Fate::Refused(status, reason),
    };
    match random.below(16) {
        0..=7 => {
            let (text, status, reason) = HEADS[random.below(HEADS.len())];
            refused("broken head", fill(text, random), status, reason)
        }
        8 | 9 => {
            let (text, status, reason) = CHUNKS[random.below(CHUNKS.len())];
            let head = "POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            refused("broken chunks", format!("{head}{text}").into_bytes(), status, reason)
        }
        10 => {
            let mut bytes = CLIENT_HELLO.to_vec();
            let noise = random.below(200);
            bytes.extend(random.bytes(noise));
            refused("TLS hello", bytes, 400, "bad_method")
        }
        11 => {
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
            refused("HTTP/2 preface", preface, 505, "bad_version")
        }
        12 => oversized(random),
        13 => {
            let whole = "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
            let cut = 1 + random.below(whole.len() - 1);
            let then = if random.below(2) == 0 { Then::Closes } else { Then::Reads };
            let fate = match then {
                Then::Closes => Fate::Left("client_gone"),
                _ => Fate::Refused(408, "header_timeout"),
            };
            Kind { name: "half a head", bytes: whole.as_bytes()[..cut].to_vec(), then, fate }
        }
        14 => {
            let body = "x".repeat(random.below(99));
            let bytes =
                format!("POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{body}").into_bytes();
            refused("slow body", bytes, 408, "body_timeout")
        }
        _ => {
            let body = "x".repeat(random.below(99));
            let bytes =
                format!("POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{body}").into_bytes();
            Kind { name: "half a body", bytes, then: Then::Closes, fate: Fate::Left("truncated") }
        }
    }
}

/// Reasons that only show when the body is already under way to the node, since bodies are streamed: the head gets
/// there, a whole request never.
pub(super) const STREAMED: [&str; 2] = ["extensions_too_large", "trailers_too_large"];

/// More than any limit allows.
fn oversized(random: &mut Random) -> Kind {
    let many = |line: &str, count: usize| line.repeat(count);
    let chunked = "POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (text, status, reason) = match random.below(5) {
        0 => (
            format!("GET /mcp HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", many("y", 20_000)),
            431,
            "head_too_large",
        ),
        1 => (
            format!("GET /mcp HTTP/1.1\r\nHost: a\r\n{}\r\n", many("X: y\r\n", 200)),
            431,
            "too_many_headers",
        ),
        2 => (format!("GET /mcp/{} HTTP/1.1\r\nHost: a\r\n\r\n", many("y", 9_000)), 414, "target_too_long"),
        3 => (format!("{chunked}1;a={}\r\nx\r\n0\r\n\r\n", many("y", 20_000)), 400, "extensions_too_large"),
        _ => (format!("{chunked}0\r\n{}\r\n", many("X: y\r\n", 5_000)), 431, "trailers_too_large"),
    };
    Kind {
        name: "oversized",
        bytes: text.into_bytes(),
        then: Then::Reads,
        fate: Fate::Refused(status, reason),
    }
}

/// Noise, and clients that vanish in every way.
pub(super) fn uncertain(random: &mut Random) -> Kind {
    let (name, bytes) = match random.below(4) {
        0 => ("nothing", Vec::new()),
        1 => {
            let (text, ..) = HEADS[random.below(HEADS.len())];
            let mut bytes = fill(text, random);
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                // Printable bytes could mend a head; these never do.
                bytes[at] = random.below(32) as u8;
            }
            ("spoilt head", bytes)
        }
        _ => {
            let count = 1 + random.below(2000);
            let mut bytes = random.bytes(count);
            // No request begins with it, whatever follows.
            bytes[0] |= 0x80;
            ("random bytes", bytes)
        }
    };
    let then = match random.below(4) {
        0 => Then::Closes,
        1 => Then::Resets,
        _ => Then::Reads,
    };
    Kind { name, bytes, then, fate: Fate::Uncertain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_garbage_and_all_of_it() {
        let all = |seed| {
            let mut random = Random(seed);
            (0..3000).map(|_| certain(&mut random)).collect::<Vec<_>>()
        };
        let (one, other) = (all(1), all(1));
        assert!(one.iter().zip(&other).all(|(one, other)| one.bytes == other.bytes));
        let reasons: std::collections::BTreeSet<_> = one
            .iter()
            .filter_map(|kind| match kind.fate {
                Fate::Refused(_, reason) | Fate::Left(reason) => Some(reason),
                Fate::Uncertain => None,
            })
            .collect();
        for (_, _, reason) in HEADS.iter().chain(CHUNKS) {
            assert!(reasons.contains(reason), "{reason}");
        }
        for reason in STREAMED.iter().copied().chain([
            "header_timeout",
            "body_timeout",
            "client_gone",
            "head_too_large",
        ]) {
            assert!(reasons.contains(reason), "{reason}");
        }
    }
}
