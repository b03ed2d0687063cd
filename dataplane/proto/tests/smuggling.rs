//! Request smuggling, as a table: each head that two readers could frame or route differently, and the reason it is
//! refused for. The cases follow http-garden, PortSwigger's desync research and RFC 9112 sections 2.2, 5, 6 and 11.2.

use erlmcp_proto::http1::{
    BodyDecoder, BodyError, Framing, HeadLimits, HeaderSlots, Method, RequestError as Q, ResponseError as S,
    parse_request, parse_response,
};

fn refusal(head: &[u8]) -> Option<Q> {
    let mut slots = HeaderSlots::new();
    let parsed = parse_request(head, &mut slots, &HeadLimits::default());
    assert!(!matches!(parsed, Ok(None)), "{} is taken for unfinished", head.escape_ascii());
    parsed.err()
}

/// A POST to a valid host with `fields`, each line as given.
fn post(fields: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

#[test]
fn framing_that_readers_could_differ_on_is_refused() {
    let table: &[(&str, Q)] = &[
        ("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", Q::LengthAndChunked),
        ("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", Q::LengthAndChunked),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", Q::LengthAndChunked),
        ("Transfer-Encoding: xchunked\r\nContent-Length: 6\r\n", Q::LengthAndChunked),
        ("TRANSFER-ENCODING: CHUNKED\r\ncontent-length: 6\r\n", Q::LengthAndChunked),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", Q::ConflictingLengths),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Q::RepeatedLength),
        ("Content-Length: 5, 5\r\n", Q::RepeatedLength),
        ("Content-Length: 5, 6\r\n", Q::ConflictingLengths),
        ("Content-Length: 5,\r\n", Q::RepeatedLength),
        ("Content-Length: ,5\r\n", Q::RepeatedLength),
        ("Content-Length: 5, x\r\n", Q::BadLength),
        ("Content-Length: 5\r\nContent-Length: x\r\n", Q::BadLength),
        ("Content-Length: +5\r\n", Q::BadLength),
        ("Content-Length: -5\r\n", Q::BadLength),
        ("Content-Length: -0\r\n", Q::BadLength),
        ("Content-Length: 0x5\r\n", Q::BadLength),
        ("Content-Length: 5 5\r\n", Q::BadLength),
        ("Content-Length: 5_0\r\n", Q::BadLength),
        ("Content-Length: 5.0\r\n", Q::BadLength),
        ("Content-Length: 1e2\r\n", Q::BadLength),
        ("Content-Length: \"5\"\r\n", Q::BadLength),
        ("Content-Length: 5;q=1\r\n", Q::BadLength),
        ("Content-Length:\r\n", Q::BadLength),
        ("Content-Length: \r\n", Q::BadLength),
        ("Content-Length: \u{661}\r\n", Q::BadLength),
        ("Content-Length: 18446744073709551616\r\n", Q::BadLength),
        ("Content-Length: 18446744073709551621\r\n", Q::BadLength),
        ("Content-Length: 0000000000000000000000000000005\r\n", Q::BadLength),
        ("Transfer-Encoding: identity\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: chunked, identity\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: identity, chunked\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: chunked, chunked\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: chunked,\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: ,chunked\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: chunked;q=1\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: \"chunked\"\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: xchunked\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: chunkedx\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: chun\u{212A}ed\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: gzip\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: chunked, gzip\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding:\r\n", Q::BadTransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", Q::UnsupportedCoding),
        ("Transfer-Encoding: \u{b}chunked\r\n", Q::BadHeaderValue),
        ("Transfer-Encoding: chunked\0\r\n", Q::BadHeaderValue),
        ("Transfer-Encoding : chunked\r\n", Q::BadHeaderName),
        ("Transfer-Encoding\t: chunked\r\n", Q::BadHeaderName),
        ("Transfer\0Encoding: chunked\r\n", Q::BadHeaderName),
        ("Transfer-Encoding\u{a0}: chunked\r\n", Q::BadHeaderName),
        (": chunked\r\n", Q::BadHeaderName),
        ("NoColon\r\n", Q::BadHeaderName),
        ("X: a\r\n Transfer-Encoding: chunked\r\n", Q::ObsFold),
        ("Transfer-Encoding:\r\n chunked\r\n", Q::ObsFold),
        ("X: a\r\n\t b\r\n", Q::ObsFold),
        ("X: a\nTransfer-Encoding: chunked\r\n", Q::BareLf),
        ("X: a\r\n\n", Q::BareLf),
        ("X: a\rTransfer-Encoding: chunked\r\n", Q::BareCr),
        ("X: a\r\r\n", Q::BareCr),
        ("\rX: a\r\n", Q::BareCr),
        ("Connection: Content-Length\r\nContent-Length: 5\r\n", Q::BadConnection),
        ("Connection: close, transfer-encoding\r\n", Q::BadConnection),
        ("Connection: Host\r\n", Q::BadConnection),
        ("Connection: a b\r\n", Q::BadConnection),
        ("Connection: a,b,c,d,e,f,g,h,i\r\n", Q::TooManyConnectionTokens),
        ("Host: a\r\n", Q::RepeatedHost),
        ("host: b\r\n", Q::RepeatedHost),
        ("Expect: 100-continue, x\r\n", Q::BadExpect),
        ("Expect: 200-ok\r\n", Q::BadExpect),
    ];
    for (fields, expected) in table {
        assert_eq!(refusal(&post(fields)), Some(*expected), "{fields:?}");
    }
}

#[test]
fn request_lines_and_hosts_are_refused() {
    let table: &[(&[u8], Q)] = &[
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Q::BadTransferEncoding),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", Q::LengthAndChunked),
        (b"GET / HTTP/1.1\r\n\r\n", Q::MissingHost),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", Q::MissingHost),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", Q::BadHost),
        (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Q::BadHost),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Q::BadHost),
        (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Q::BadHost),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Q::BadHost),
        (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", Q::BadHost),
        (b"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", Q::BadHost),
        (b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", Q::BadHost),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", Q::BadHost),
        (b"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", Q::BadHost),
        (b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", Q::BadHost),
        (b"GET / HTTP/1.1\r\nHost: a\xff\r\n\r\n", Q::BadHost),
        (b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadTarget),
        (b"GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadTarget),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadTarget),
        (b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadTarget),
        (b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadTarget),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadTarget),
        (b"GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadTarget),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadTarget),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadTarget),
        (b"GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadTarget),
        (b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadTarget),
        (b"GET /\r\nHost: a\r\n\r\n", Q::BadTarget),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadTarget),
        (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadVersion),
        (b"GET / b HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadVersion),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", Q::BadVersion),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", Q::BadVersion),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", Q::BadVersion),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", Q::BadVersion),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Q::BadVersion),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", Q::ObsFold),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", Q::BareLf),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Q::BareLf),
        (b"G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadMethod),
        (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadMethod),
        (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadMethod),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ / HTTP/1.1\r\nHost: a\r\n\r\n", Q::BadMethod),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Q::BadMethod),
        (b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", Q::UnsupportedMethod),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Q::UnsupportedMethod),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Q::UnsupportedMethod),
    ];
    for (head, expected) in table {
        assert_eq!(refusal(head), Some(*expected), "{}", head.escape_ascii());
    }
}

/// Well-formed heads next to the refused ones: strictness must not cost real clients.
#[test]
fn what_the_rfc_allows_is_accepted() {
    let table: &[(&str, Framing, bool)] = &[
        ("", Framing::None, true),
        ("Content-Length: 0\r\n", Framing::Length(0), true),
        ("Content-Length:5\r\n", Framing::Length(5), true),
        ("Content-Length: \t5 \t\r\n", Framing::Length(5), true),
        ("content-length: 007\r\n", Framing::Length(7), true),
        ("Content-Length: 999999999999999999\r\n", Framing::Length(999_999_999_999_999_999), true),
        ("Transfer-Encoding: CHUNKED\r\n", Framing::Chunked, true),
        ("Transfer-Encoding:\tchunked\r\n", Framing::Chunked, true),
        ("Connection: close\r\n", Framing::None, false),
        ("Connection: Keep-Alive, CLOSE\r\n", Framing::None, false),
        ("Connection: , keep-alive ,,\r\n", Framing::None, true),
        ("Connection: x, close\r\nConnection: y\r\n", Framing::None, false),
        ("X-Content-Length: x\r\nContent-Length-: 2\r\n", Framing::None, true),
        ("X: \u{e9}\r\n", Framing::None, true),
        ("Expect: 100-Continue\r\n", Framing::None, true),
    ];
    for (fields, framing, keep_alive) in table {
        let head = post(fields);
        let mut slots = HeaderSlots::new();
        let request = parse_request(&head, &mut slots, &HeadLimits::default()).unwrap().unwrap();
        assert_eq!((request.framing, request.keep_alive), (*framing, *keep_alive), "{fields:?}");
        assert_eq!(request.expect_continue, fields.starts_with("Expect"));
    }
}

#[test]
fn limits_have_their_own_answers() {
    let limits = HeadLimits { head_bytes_max: 200, headers_max: 3, target_bytes_max: 50 };
    let parse = |head: &str| {
        let mut slots = HeaderSlots::new();
        parse_request(head.as_bytes(), &mut slots, &limits)
            .map(|request| request.map(|request| request.head_len))
    };
    let at_limit = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(49));
    assert_eq!(parse(&at_limit), Ok(Some(at_limit.len())));
    assert_eq!(parse(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(50))), Err(Q::TargetTooLong));
    assert_eq!(parse(&format!("GET /{}", "x".repeat(50))), Err(Q::TargetTooLong), "before it ends");
    assert_eq!(
        parse(&format!("\r\n\r\nGET /{}", "x".repeat(50))),
        Err(Q::TargetTooLong),
        "after empty lines"
    );
    assert_eq!(parse(&format!("GET /{}", "x".repeat(49))), Ok(None));
    let filler = |len: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(len));
    let overhead = filler(0).len();
    assert_eq!(parse(&filler(200 - overhead)), Ok(Some(200)));
    assert_eq!(parse(&filler(201 - overhead)), Err(Q::HeadTooLarge));
    assert_eq!(parse(&filler(300)[..201]), Err(Q::HeadTooLarge), "before it ends");
    assert_eq!(parse(&filler(300)[..200]), Ok(None));
    assert_eq!(parse(&"\r\n".repeat(101)), Err(Q::HeadTooLarge), "empty lines count");
    assert!(matches!(parse("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n"), Ok(Some(_))));
    assert_eq!(parse("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"), Err(Q::TooManyHeaders));
    for error in Q::ALL {
        let expected: &[u16] = match error {
            Q::TargetTooLong => &[414],
            Q::HeadTooLarge | Q::TooManyHeaders => &[431],
            Q::UnsupportedMethod | Q::UnsupportedCoding => &[501],
            _ => &[400, 417, 505],
        };
        assert!(expected.contains(&error.status()), "{error}");
    }
    let labels: std::collections::BTreeSet<_> = Q::ALL.iter().map(|error| error.reason()).collect();
    assert_eq!(labels.len(), Q::ALL.len(), "labels differ");
}

#[test]
fn responses_follow_the_request_and_the_status() {
    let head = |status: &str, fields: &str| format!("HTTP/1.1 {status}\r\n{fields}\r\n").into_bytes();
    let parse = |head: &[u8], method| {
        let mut slots = HeaderSlots::new();
        let response = parse_response(head, &mut slots, &HeadLimits::default(), method);
        response.map(|response| response.map(|response| (response.framing, response.keep_alive)))
    };
    let chunked = "Transfer-Encoding: chunked\r\n";
    let accepted: &[(&str, &str, Method, Framing, bool)] = &[
        ("200 OK", "Content-Length: 3\r\n", Method::Get, Framing::Length(3), true),
        ("200 OK", "Content-Length: 3\r\n", Method::Head, Framing::None, true),
        ("200 OK", chunked, Method::Get, Framing::Chunked, true),
        ("200 OK", chunked, Method::Head, Framing::None, true),
        ("200 OK", "", Method::Get, Framing::UntilClose, false),
        ("200 OK", "", Method::Head, Framing::None, true),
        ("204 No Content", "Content-Length: 0\r\n", Method::Get, Framing::None, true),
        ("304 Not Modified", "Content-Length: 9\r\n", Method::Get, Framing::None, true),
        ("304 Not Modified", chunked, Method::Get, Framing::None, true),
        ("100 Continue", "", Method::Post, Framing::None, true),
        (
            "101 Switching Protocols",
            "Connection: upgrade\r\nUpgrade: x\r\n",
            Method::Get,
            Framing::None,
            false,
        ),
        ("200 OK", "Connection: close\r\nContent-Length: 3\r\n", Method::Get, Framing::Length(3), false),
    ];
    for (status, fields, method, framing, keep_alive) in accepted {
        let parsed = parse(&head(status, fields), *method);
        assert_eq!(parsed, Ok(Some((*framing, *keep_alive))), "{status} {fields:?} {method:?}");
    }
    let refused: &[(&str, &str, S)] = &[
        ("200 OK", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", S::LengthAndChunked),
        ("200 OK", "Content-Length: 3\r\nContent-Length: 3\r\n", S::RepeatedLength),
        ("200 OK", "Content-Length: 3, 4\r\n", S::ConflictingLengths),
        ("200 OK", "Content-Length: +3\r\n", S::BadLength),
        ("200 OK", "Transfer-Encoding: gzip, chunked\r\n", S::BadTransferEncoding),
        ("204 No Content", "Content-Length: 3\r\n", S::BadLength),
        ("204 No Content", chunked, S::BadTransferEncoding),
        ("100 Continue", "Content-Length: 3\r\n", S::BadLength),
        ("200 OK", "X: a\r\n b\r\n", S::ObsFold),
        ("200 OK", "X : a\r\n", S::BadHeaderName),
        ("200 OK", "X: a\nY: b\r\n", S::BareLf),
        ("200 OK", "X: a\rY: b\r\n", S::BareCr),
        ("200 OK", "X: a\0\r\n", S::BadHeaderValue),
        ("099 Low", "", S::BadStatus),
        ("20 Short", "", S::BadStatus),
        ("2000 Long", "", S::BadStatus),
        ("200\0OK", "", S::BadStatus),
        ("200 OK", "Connection: Content-Length\r\n", S::BadConnection),
    ];
    for (status, fields, error) in refused {
        assert_eq!(parse(&head(status, fields), Method::Get), Err(*error), "{status} {fields:?}");
    }
    assert_eq!(
        parse(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Method::Get),
        Err(S::BadTransferEncoding)
    );
    assert_eq!(
        parse(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", Method::Get),
        Ok(Some((Framing::Length(1), false)))
    );
    assert_eq!(
        parse(b"\r\nHTTP/1.1 200 OK\r\n\r\n", Method::Get),
        Err(S::BadVersion),
        "left over from before"
    );
    assert_eq!(parse(b"HTTP/2 200\r\n\r\n", Method::Get), Err(S::BadVersion));
}

#[test]
fn chunk_framing_that_readers_could_differ_on_is_refused() {
    let table: &[(&[u8], BodyError)] = &[
        (b"fffffffffffffffff\r\n", BodyError::ChunkTooLarge),
        (b"10000000000000005\r\nhello\r\n0\r\n\r\n", BodyError::ChunkTooLarge),
        (b"0000000000000005\r\n", BodyError::ChunkTooLarge),
        (b"\r\n", BodyError::BadChunkSize),
        (b";x\r\n", BodyError::BadChunkSize),
        (b" 5\r\n", BodyError::BadChunkSize),
        (b"+5\r\n", BodyError::BadChunkSize),
        (b"-5\r\n", BodyError::BadChunkSize),
        (b"0x5\r\n", BodyError::BadChunkSize),
        (b"5_\r\n", BodyError::BadChunkSize),
        (b"5 \r\n", BodyError::BadChunkSize),
        (b"5 5\r\n", BodyError::BadChunkSize),
        (b"5\0\r\n", BodyError::BadChunkSize),
        (b"5\n", BodyError::BareLf),
        (b"5;x\n", BodyError::BareLf),
        (b"5\rX", BodyError::BadChunkEnd),
        (b"5;a\r;b\r\n", BodyError::BadChunkEnd),
        (b"5;\0\r\n", BodyError::BadExtension),
        (b"5;a=\x7f\r\n", BodyError::BadExtension),
        (b"1\r\na\n0\r\n\r\n", BodyError::BareLf),
        (b"1\r\na0\r\n\r\n", BodyError::BadChunkEnd),
        (b"1\r\nabc\r\n", BodyError::BadChunkEnd),
        (b"1\r\na\rX", BodyError::BadChunkEnd),
        (b"0\r\n\n", BodyError::BareLf),
        (b"0\r\n\rX", BodyError::BadTrailer),
        (b"0\r\nGET / HTTP/1.1\r\n", BodyError::BadTrailer),
        (b"0\r\nX : a\r\n", BodyError::BadTrailer),
        (b"0\r\nX: a\r\n b\r\n", BodyError::BadTrailer),
        (b"0\r\nX: a\n\r\n", BodyError::BareLf),
        (b"0\r\nX: \0\r\n", BodyError::BadTrailer),
        (b"0\r\n: a\r\n", BodyError::BadTrailer),
    ];
    for (body, expected) in table {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let mut rest = *body;
        let error = loop {
            match decoder.decode(rest) {
                Ok(decoded) => {
                    assert!(!decoded.done && decoded.consumed > 0, "{} passed", body.escape_ascii());
                    rest = &rest[decoded.consumed..];
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error, *expected, "{}", body.escape_ascii());
    }
}

#[test]
fn chunk_extensions_and_trailers_are_bounded_per_message() {
    let decode_all = |input: &[u8]| -> Result<bool, BodyError> {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let mut rest = input;
        while !rest.is_empty() && !decoder.is_done() {
            let decoded = decoder.decode(rest)?;
            rest = &rest[decoded.consumed..];
        }
        Ok(decoder.is_done())
    };
    // 63 bytes of extension with the semicolon in each of 65 chunks: 4095, then one more.
    let chunks = format!("1;{}\r\na\r\n", "e".repeat(62)).repeat(65);
    assert_eq!(decode_all(format!("{chunks}0;\r\n\r\n").as_bytes()), Ok(true));
    assert_eq!(decode_all(format!("{chunks}0;e\r\n\r\n").as_bytes()), Err(BodyError::ExtensionsTooLarge));
    // A field of 8190 bytes and the empty line of two reach the bound exactly.
    let trailers = |len: usize| format!("0\r\nX: {}\r\n\r\n", "t".repeat(len));
    assert_eq!(decode_all(trailers(8192 - 7).as_bytes()), Ok(true));
    assert_eq!(decode_all(trailers(8192 - 6).as_bytes()), Err(BodyError::TrailersTooLarge));
}

#[test]
fn an_end_of_the_connection_completes_only_what_ends_with_it() {
    for (framing, input, expected) in [
        (Framing::Length(5), b"hell".as_slice(), Err(BodyError::Truncated)),
        (Framing::Length(4), b"hell", Ok(())),
        (Framing::Chunked, b"4\r\nhell\r\n", Err(BodyError::Truncated)),
        (Framing::Chunked, b"0\r\n\r", Err(BodyError::Truncated)),
        (Framing::UntilClose, b"hell", Ok(())),
        (Framing::None, b"", Ok(())),
    ] {
        let mut decoder = BodyDecoder::new(framing);
        decoder.decode(input).unwrap();
        assert_eq!(decoder.finish(), expected, "{framing:?}");
        assert_eq!(decoder.is_done(), expected.is_ok());
    }
}
