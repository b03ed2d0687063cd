//! The data plane between real sockets. One binary, so that what the tests share is compiled and used once.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where its set-up fails")]

mod clients;
mod common;
mod keys;
mod line;
mod messages;
mod nodes;
