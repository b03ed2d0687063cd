//! The data plane between real sockets. One binary, so that what the tests share is compiled and used once.

mod clients;
mod common;
mod keys;
mod messages;
mod nodes;
