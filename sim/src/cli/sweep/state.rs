//! The file of a sweep: a line of JSON for what was asked, then one for each seed that is done,
//! appended as it ends. What is there can be taken up again, also after a crash in mid-line.

use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use detsim_reports::sweep::swarm::Swept;
use serde::{Deserialize, Serialize};

use super::super::Usage;
use super::super::library::shown;
use crate::world::loop_world::TraceHasher;

/// The file's name in the sweep's folder.
const NAME: &str = "sweep.jsonl";
/// Of the file's form.
const FORMAT: u32 = 1;

/// What was asked, as far as it decides what a seed means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    format: u32,
    /// Digest of the program: another one draws and finds something else.
    binary: String,
    /// Simulated time with faults.
    pub faults: String,
    /// Share of seeds that run twice.
    pub check_determinism: String,
}

impl Head {
    /// Of this program.
    pub fn new(faults: String, check_determinism: String) -> io::Result<Head> {
        let program = std::fs::read(std::env::current_exe()?)?;
        let mut hasher = TraceHasher::default();
        hasher.write(&program);
        let binary = format!("{:016x}", hasher.finish());
        Ok(Head { format: FORMAT, binary, faults, check_determinism })
    }

    /// What differs, in words.
    fn difference(&self, now: &Head) -> Option<String> {
        if self.format != now.format || self.binary != now.binary {
            return Some("it was begun by another build of this program".to_owned());
        }
        let options = [
            ("--faults", &self.faults, &now.faults),
            ("--check-determinism", &self.check_determinism, &now.check_determinism),
        ];
        let other = options.into_iter().find(|(_, then, now)| then != now);
        other.map(|(option, then, now)| format!("it was begun with {option} {then}, not {now}"))
    }
}

/// The file, open for more.
#[derive(Debug)]
pub struct State {
    file: File,
    path: PathBuf,
}

impl State {
    /// Begins anew.
    pub fn begin(folder: &Path, head: &Head) -> Result<State, Usage> {
        let path = folder.join(NAME);
        let begin = || {
            std::fs::create_dir_all(folder)?;
            let mut file = File::create(&path)?;
            file.write_all(line(head)?.as_bytes())?;
            Ok(file)
        };
        let file = begin().map_err(|error: io::Error| broken(&path, &error))?;
        Ok(State { file, path })
    }

    /// Goes on where a sweep of the same kind ended; tells what it has done.
    pub fn resume(folder: &Path, head: &Head) -> Result<(State, Vec<Swept>), Usage> {
        let path = folder.join(NAME);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Usage(format!("--resume: {}: {error}", shown(&path))))?;
        let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let first = lines.next().unwrap_or_default();
        let then: Head = serde_json::from_str(first).map_err(|error| {
            Usage(format!("--resume: {} is no sweep's file: {error}", shown(&path)))
        })?;
        if let Some(difference) = then.difference(head) {
            let path = shown(&path);
            return Err(Usage(format!("--resume: {path} cannot be continued: {difference}")));
        }
        let mut done = Vec::new();
        let mut end = first.len();
        for line in lines {
            // A line that is torn ends what can be relied on.
            let Ok(swept) = serde_json::from_str(line) else { break };
            done.push(swept);
            end += line.len();
        }
        let open = || {
            let file = OpenOptions::new().append(true).open(&path)?;
            file.set_len(end as u64)?;
            Ok(file)
        };
        let file = open().map_err(|error: io::Error| broken(&path, &error))?;
        Ok((State { file, path }, done))
    }

    /// A seed is done.
    pub fn add(&mut self, swept: &Swept) -> io::Result<()> {
        self.file.write_all(line(swept)?.as_bytes())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn line(of: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(of)? + "\n")
}

fn broken(path: &Path, error: &io::Error) -> Usage {
    Usage(format!("{}: {error}", shown(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head::new("60s".to_owned(), "0%".to_owned()).expect("this program can be read")
    }

    fn swept(seed: u64) -> Swept {
        super::super::sweep_seed(seed, &super::super::tests::brief(), "detsim").0
    }

    /// A folder of a test's own.
    fn folder(name: &str) -> PathBuf {
        let process = std::process::id();
        let folder = std::env::temp_dir().join(format!("detsim-sweep-{process}-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn a_sweep_goes_on_after_its_last_whole_line() {
        let folder = folder("torn");
        let mut state = State::begin(&folder, &head()).unwrap();
        let done = [swept(1), swept(2)];
        for swept in &done {
            state.add(swept).unwrap();
        }
        let path = state.path().to_owned();
        let whole = std::fs::read(&path).unwrap();
        let mut torn = whole.clone();
        torn.extend_from_slice(b"{\"seed\":3,\"scen");
        std::fs::write(&path, torn).unwrap();
        let (mut state, found) = State::resume(&folder, &head()).unwrap();
        assert_eq!(found, done);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        let third = swept(3);
        state.add(&third).unwrap();
        let (_, found) = State::resume(&folder, &head()).unwrap();
        assert_eq!(found.last(), Some(&third));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn another_build_or_other_options_are_refused() {
        let folder = folder("refused");
        let refusal = |head: &Head| State::resume(&folder, head).unwrap_err().0;
        assert!(refusal(&head()).contains("sweep.jsonl"));
        State::begin(&folder, &head()).unwrap();
        let other = Head { binary: "0".to_owned(), ..head() };
        assert!(refusal(&other).ends_with("it was begun by another build of this program"));
        let other = Head { faults: "10s".to_owned(), ..head() };
        assert!(refusal(&other).ends_with("it was begun with --faults 60s, not 10s"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
