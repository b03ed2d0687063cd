//! Replays every committed fuzz input through the properties of `fuzz/harness.rs`, without a fuzzer.

#[path = "../fuzz/harness.rs"]
mod harness;

use std::fs;
use std::path::Path;

#[test]
fn every_corpus_file_holds_its_properties() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in harness::TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(corpus.join(name)).expect("the target's corpus") {
            let path = entry.expect("an entry").path();
            let input = fs::read(&path).expect("a readable input");
            println!("{}", path.display());
            target(&input);
            count += 1;
        }
        assert!(count >= 10, "corpus of {name} has only {count} inputs");
    }
}
