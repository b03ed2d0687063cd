//! The shipped folders through the public door.

use erlmcp_config::{Source, load};

#[test]
fn smoke() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster");
    let mut source = Source::dir(dir);
    source.env = std::sync::Arc::new(|name| Some(format!("value-of-{name}")));
    match load(&source) {
        Ok(loaded) => println!("{}\n{}", erlmcp_config::show(&loaded.config), loaded.report),
        Err(report) => panic!("{report}"),
    }
    load(&Source::default()).map_err(|r| r.to_string()).unwrap();
}
