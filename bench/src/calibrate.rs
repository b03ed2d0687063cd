//! Floor and ceiling of the generator on this machine, against a null server of its own.
