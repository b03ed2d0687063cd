//! The generator's own verdict on a run: VALID, DEGRADED or INVALID, with reasons. Pure: an outcome in, a certificate out.
