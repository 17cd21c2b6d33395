//! Names that code must not say, each with the places that may and with what to say instead.

use super::{Finding, Tree};

/// A name that is banned.
struct Ban {
    rule: &'static str,
    /// What must not stand in code. A letter or digit at an end stands for a whole word there.
    words: &'static [&'static str],
    /// Where it is banned: beginnings of paths.
    within: &'static [&'static str],
    /// Where it is allowed all the same.
    except: &'static [&'static str],
    instead: &'static str,
}

const EVERYWHERE: &[&str] = &[""];

/// Where real time passes: the production shell, real processes, the command line's progress, the
/// scripts, and the tests of all those.
const REAL: &[&str] = &[
    "server/src/shell/",
    "server/src/bin/",
    "sim/src/world/process/",
    "sim/src/cli/",
    "scripts/",
    "tests/",
];

const BANS: &[Ban] = &[
    Ban {
        rule: "clock",
        words: &["Instant", "SystemTime"],
        within: EVERYWHERE,
        except: REAL,
        instead: "time is a parameter: take `Now`, or the world's `now()`",
    },
    Ban {
        rule: "thread",
        words: &["std::thread", "thread::spawn", "thread::sleep", "thread::scope"],
        within: EVERYWHERE,
        except: REAL,
        instead: "the member and the loop world are single-threaded: schedule an event, or ask for \
                  `Output::Work`",
    },
    Ban {
        rule: "hash-order",
        words: &["HashMap", "HashSet", "RandomState"],
        within: EVERYWHERE,
        except: &[],
        instead: "iteration order differs between runs: use BTreeMap, BTreeSet, Vec or imbl::OrdMap",
    },
    Ban {
        rule: "entropy",
        words: &["thread_rng", "rand::rng", "rand::random", "OsRng", "getrandom", "from_entropy"],
        within: EVERYWHERE,
        except: &["server/src/shell/", "server/src/bin/", "sim/src/cli/"],
        instead: "entropy is a seed: derive a ChaCha stream by name from the run's seed",
    },
    Ban {
        rule: "float",
        words: &["f32", "f64"],
        within: &["sim/src/run/nemesis/"],
        except: &[],
        instead: "rates are integers per 10,000: floats differ between machines",
    },
    Ban {
        rule: "unfinished",
        words: &["todo!", "unimplemented!"],
        within: EVERYWHERE,
        except: &[],
        instead: "finish it, or return an error that says what cannot be done",
    },
    Ban {
        rule: "ignored-test",
        words: &["#[ignore", "ignore ="],
        within: EVERYWHERE,
        except: &[],
        instead: "an ignored test rots: assert what holds today, or delete it",
    },
    Ban {
        rule: "should-panic",
        words: &["should_panic"],
        within: EVERYWHERE,
        except: &[],
        instead: "return an error and compare it; a panic of ours is a finding",
    },
    Ban {
        rule: "independence",
        words: &["detcd"],
        within: &["sim/src/model/", "sim/src/check/", "reports/src/"],
        except: &[],
        instead: "what judges the server shares no code with it: use `detsim_reports::record` types",
    },
    Ban {
        rule: "direction",
        words: &["detsim", "detsim_reports"],
        within: &["server/"],
        except: &[],
        instead: "the server does not know its simulator: move the code to sim/",
    },
];

/// Dependencies that a crate must not name in its manifest.
const MANIFESTS: &[(&str, &[&str])] = &[
    ("server/Cargo.toml", &["detsim", "detsim-reports"]),
    ("reports/Cargo.toml", &["detcd", "detsim"]),
];

/// Looks for banned names.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, source) in tree.ending(".rs") {
        for (at, line) in source.code.lines().enumerate() {
            let bans = BANS.iter().filter(|ban| ban.applies(path));
            findings.extend(bans.filter_map(|ban| {
                let word = ban.words.iter().find(|word| has_word(line, word))?;
                Some(finding(path, at + 1, ban.rule, format!("`{word}`: {}", ban.instead)))
            }));
        }
    }
    for (path, banned) in MANIFESTS {
        let Some(manifest) = tree.texts.get(*path) else { continue };
        for (at, line) in manifest.text.lines().enumerate() {
            let named = line.split(['=', '.', ' ']).next().unwrap_or_default();
            if banned.contains(&named) {
                let message =
                    format!("`{named}`: dependencies point one way, server to sim to tests");
                findings.push(finding(path, at + 1, "direction", message));
            }
        }
    }
}

impl Ban {
    fn applies(&self, path: &str) -> bool {
        let begins = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
        begins(self.within) && !begins(self.except)
    }
}

fn finding(path: &str, line: usize, rule: &'static str, message: String) -> Finding {
    Finding { path: path.to_owned(), line, rule, message }
}

/// Whether the word stands in the line with no letter, digit or underscore around it.
fn has_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open = !word.starts_with(is_name) || !before.is_some_and(is_name);
        let closed = !word.ends_with(is_name) || !after.is_some_and(is_name);
        open && closed
    })
}
