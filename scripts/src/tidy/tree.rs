//! The files that the rules look at: what git tracks or would add, as on disk.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Command;

use super::mask::mask;

/// A file's content, and what of it is code.
#[derive(Clone, Debug)]
pub struct Source {
    /// The text.
    pub text: String,
    /// The text with comments and the insides of literals masked, for Rust; otherwise empty.
    pub code: String,
}

/// The repository's files by path from its root.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Text files.
    pub texts: BTreeMap<String, Source>,
    /// Every file's size in bytes.
    pub sizes: BTreeMap<String, u64>,
}

impl Tree {
    /// Reads the repository at `root`.
    pub fn read(root: &Path) -> io::Result<Tree> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()?;
        if !listed.status.success() {
            let said = String::from_utf8_lossy(&listed.stderr).trim().to_owned();
            return Err(io::Error::other(format!("git ls-files: {said}")));
        }
        let mut tree = Tree::default();
        for path in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
            match std::fs::read(root.join(path)) {
                Ok(bytes) => tree.add(path, bytes),
                // Removed on disk and not yet in the index.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(tree)
    }

    /// Adds a file.
    pub fn add(&mut self, path: &str, bytes: Vec<u8>) {
        self.sizes.insert(path.to_owned(), bytes.len() as u64);
        if let Ok(text) = String::from_utf8(bytes) {
            let code = if path.ends_with(".rs") { mask(&text) } else { String::new() };
            self.texts.insert(path.to_owned(), Source { text, code });
        }
    }

    /// Text files whose name ends so.
    pub fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = (&'a str, &'a Source)> {
        self.texts
            .iter()
            .filter(move |(path, _)| path.ends_with(end))
            .map(|(path, source)| (path.as_str(), source))
    }
}
