//! What a data directory is before anything in it is opened, with etcd's words for it
//! (contract-cluster.md, section 2.1).
//!
//! Nothing is changed here: a directory that is refused stays as it was found.

use std::io;

use super::disk::{Disk, Path};
use crate::config::CompatVersion;
use crate::member::io::{Level, LogLine, Stop};

/// The result of looking at a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// What the log tells of it.
    pub lines: Vec<LogLine>,
    /// Why no member starts on it.
    pub refusal: Option<Stop>,
}

/// Looks at the data directory at `path` of a disk; lines call it `data_dir`, as it was configured.
pub fn inspect(disk: &dyn Disk, path: &Path, data_dir: &str, compat: CompatVersion) -> Directory {
    let mut directory = Directory { lines: Vec::new(), refusal: None };
    let names = match disk.list(path) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            directory.fail(1, format!("failed to list data directory: {error}"));
            let line = LogLine::new(Level::Fatal, "failed to list data directory");
            directory.lines.push(line.with("dir", data_dir).with("error", error.to_string()));
            return directory;
        }
    };
    for name in names.iter().filter(|name| !matches!(&name[..], "member" | "proxy")) {
        directory.lines.push(
            LogLine::new(Level::Warn, "found invalid file under data directory")
                .with("filename", name)
                .with("data-dir", data_dir),
        );
    }
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    match (has("member"), has("proxy")) {
        (true, true) => {
            let text = "invalid datadir; both member and proxy directories exist";
            directory.lines.push(LogLine::new(Level::Fatal, text));
            directory.fail(1, text.to_owned());
        }
        (true, false) => {
            let text = match compat {
                CompatVersion::V3_5 => "server has been already initialized",
                _ => "server has already been initialized",
            };
            directory.tell(text, data_dir, "member");
        }
        (false, true) if compat == CompatVersion::V3_5 => {
            directory.tell("server has been already initialized", data_dir, "proxy");
            let text = "a v2 proxy is not supported by this server";
            directory.lines.push(LogLine::new(Level::Fatal, text).with("data-dir", data_dir));
            directory.fail(1, text.to_owned());
        }
        (false, true) => {
            directory.tell("server has already been initialized", data_dir, "proxy");
            let text = "v2 http proxy has already been deprecated in 3.6";
            directory.lines.push(LogLine::new(Level::Fatal, text).with("dir-type", "proxy"));
            directory.fail(2, text.to_owned());
        }
        (false, false) if compat == CompatVersion::V3_5 => {}
        (false, false) => directory.tell("Initialize and start etcd server", data_dir, "empty"),
    }
    directory
}

impl Directory {
    fn tell(&mut self, text: &str, data_dir: &str, kind: &str) {
        let line = LogLine::new(Level::Info, text);
        self.lines.push(line.with("data-dir", data_dir).with("dir-type", kind));
    }

    fn fail(&mut self, exit_code: u8, reason: String) {
        self.refusal = Some(Stop { exit_code, reason });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::MemoryDisk;

    fn look(names: &[&str], compat: CompatVersion) -> (Vec<String>, Option<(u8, String)>) {
        let disk = MemoryDisk::new();
        for name in names {
            disk.put(&format!("d/{name}"), "");
        }
        let directory = inspect(&disk, "d", "/d", compat);
        let text = |line: &LogLine| {
            let fields = line.fields.iter().map(|(name, value)| format!(" {name}={value}"));
            line.message.clone() + &fields.collect::<String>()
        };
        let refusal = directory.refusal.map(|stop| (stop.exit_code, stop.reason));
        (directory.lines.iter().map(text).collect(), refusal)
    }

    #[test]
    fn a_new_directory_is_told_of_since_3_6() {
        let told = "Initialize and start etcd server data-dir=/d dir-type=empty".to_owned();
        assert_eq!(look(&[], CompatVersion::V3_5), (vec![], None));
        assert_eq!(look(&[], CompatVersion::V3_6), (vec![told.clone()], None));
        let invalid = "found invalid file under data directory filename=junk data-dir=/d";
        let lines = vec![invalid.to_owned(), told];
        assert_eq!(look(&["junk"], CompatVersion::V3_7), (lines, None));
    }

    #[test]
    fn a_members_directory_is_told_of_in_each_versions_words() {
        let (old, _) = look(&["member/wal"], CompatVersion::V3_5);
        assert_eq!(old, ["server has been already initialized data-dir=/d dir-type=member"]);
        let (new, refusal) = look(&["member/wal"], CompatVersion::V3_6);
        assert_eq!(new, ["server has already been initialized data-dir=/d dir-type=member"]);
        assert_eq!(refusal, None);
    }

    #[test]
    fn a_proxys_directory_is_refused_alone_and_beside_a_members() {
        let both = "invalid datadir; both member and proxy directories exist".to_owned();
        let found = look(&["member/wal", "proxy/cluster"], CompatVersion::V3_6);
        assert_eq!(found, (vec![both.clone()], Some((1, both))));
        let (_, refusal) = look(&["proxy/cluster"], CompatVersion::V3_7);
        let deprecated = "v2 http proxy has already been deprecated in 3.6".to_owned();
        assert_eq!(refusal, Some((2, deprecated)));
        let (lines, refusal) = look(&["proxy/cluster"], CompatVersion::V3_5);
        assert_eq!(refusal.map(|(code, _)| code), Some(1));
        assert_eq!(lines.len(), 2);
    }
}
