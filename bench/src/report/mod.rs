//! An outcome written down: text, JSON, NDJSON, `.hgrm`, `.hlog` and one HTML page.
