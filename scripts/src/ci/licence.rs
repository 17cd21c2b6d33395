//! The licences of all dependencies, from `cargo metadata`: each must offer one that may be linked
//! into an Apache-2.0 work without further duties than naming it.

use serde_json::Value;

/// Licences that are fine. MPL-2.0 is: its files stay as published.
const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages whose licence is not fine, with what they say.
pub fn refused(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let refused = packages.iter().filter_map(|package| {
        let licence = package["license"].as_str().unwrap_or("no licence");
        let (name, version) = (package["name"].as_str()?, package["version"].as_str()?);
        (!is_allowed(licence)).then(|| format!("{name} {version}: {licence}"))
    });
    refused.collect()
}

/// Whether one of the choices that an SPDX expression offers is fine.
fn is_allowed(expression: &str) -> bool {
    let spaced =
        expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ").replace('+', " ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words };
    parser.any_of() && parser.words.is_empty()
}

struct Parser<'a> {
    words: &'a [&'a str],
}

impl Parser<'_> {
    fn any_of(&mut self) -> bool {
        let mut is_fine = self.all_of();
        while self.take("OR") {
            is_fine |= self.all_of();
        }
        is_fine
    }

    fn all_of(&mut self) -> bool {
        let mut is_fine = self.one();
        while self.take("AND") {
            is_fine &= self.one();
        }
        is_fine
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let is_fine = self.any_of();
            return self.take(")") && is_fine;
        }
        let Some((licence, rest)) = self.words.split_first() else { return false };
        self.words = rest;
        // An exception only adds permissions.
        if self.take("WITH") && !self.words.is_empty() {
            self.words = &self.words[1..];
        }
        ALLOWED.contains(licence)
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.words.first() == Some(&word);
        if is_next {
            self.words = &self.words[1..];
        }
        is_next
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_fine_choice_is_enough_and_every_part_is_needed() {
        for fine in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR X",
            "MPL-2.0+",
        ] {
            assert!(is_allowed(fine), "{fine}");
        }
        for refused in ["GPL-3.0", "MIT AND GPL-3.0", "", "(MIT", "MIT GPL-3.0", "no licence"] {
            assert!(!is_allowed(refused), "{refused}");
        }
    }

    #[test]
    fn a_package_without_a_licence_is_refused_by_name() {
        let metadata = json!({"packages": [
            {"name": "a", "version": "1.0.0", "license": "MIT"},
            {"name": "b", "version": "2.0.0", "license": null}
        ]});
        assert_eq!(refused(&metadata), ["b 2.0.0: no licence"]);
    }
}
