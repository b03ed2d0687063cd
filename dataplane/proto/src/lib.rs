//! Placeholder docs until the first file lands.
#![forbid(unsafe_code)]
