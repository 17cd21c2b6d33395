//! The repository is tidy. Each line printed says what to do instead.

use std::path::Path;

use scripts::tidy::{self, Tree};

#[test]
fn the_repository_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let findings = tidy::check(&Tree::read(root).unwrap());
    let said: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    assert!(findings.is_empty(), "{} findings\n{said}", findings.len());
}
