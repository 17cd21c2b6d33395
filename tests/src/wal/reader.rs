//! What etcd's own package reads in logs that we wrote.

use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use detcd::shell::disk::OsDisk;
use detcd::storage::log::{EntryKind, LogImage, LogNumber, SnapshotMark};
use detcd::storage::wal::{LogWriter, WalSettings, snapshots};
use serde_json::{Map, Value, json};

use super::script::script;
use crate::{hex, peers};

const DIR: &str = "member/wal";

fn read(walcheck: &Path, dir: &Path) -> Vec<Value> {
    let output = Command::new(walcheck).arg(dir).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "etcd refuses the log: {complaint}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A line as `walcheck` prints it: what is zero or empty is left out.
fn line(kind: &str, fields: Value) -> Value {
    let mut line = Map::from_iter([("kind".to_owned(), kind.into())]);
    let Value::Object(fields) = fields else { unreachable!("fields are an object") };
    let empty = [json!(0), json!(""), json!([])];
    line.extend(fields.into_iter().filter(|(_, value)| !empty.contains(value)));
    Value::Object(line)
}

fn expected(image: &LogImage, marks: &[SnapshotMark]) -> Vec<Value> {
    let mut lines = vec![line("metadata", json!({"data": hex::encode(&image.metadata)}))];
    for mark in marks {
        let voters = mark.conf_state.as_ref().map(|conf| conf.voters.clone()).unwrap_or_default();
        let fields = json!({"index": mark.index, "term": mark.term, "voters": voters});
        lines.push(line("snapshot", fields));
    }
    let state = image.hard_state;
    let fields = json!({"term": state.term, "vote": state.vote, "commit": state.commit});
    lines.push(line("state", fields));
    for entry in &image.entries {
        let kind = u8::from(entry.kind == EntryKind::ConfChange);
        let data = hex::encode(&entry.data);
        let fields = json!({"index": entry.index, "term": entry.term, "type": kind, "data": data});
        lines.push(line("entry", fields));
    }
    lines
}

#[test]
fn etcd_reads_in_our_logs_what_we_wrote() {
    let test = "etcd_reads_in_our_logs_what_we_wrote";
    let Some(walcheck) = peers::go_program(test, "walcheck") else { return };
    for (seed, segment_bytes) in [(1, 2_000), (2, 5_000), (3, 64_000_000), (4, 9_000)] {
        let root = std::env::temp_dir().join(format!("detcd-wal-{seed}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        let disk = OsDisk::new(&root);
        let settings = WalSettings { segment_bytes, ..WalSettings::ETCD };
        let script = script(seed, 40);
        let (mut writer, ..) = LogWriter::open(Rc::new(disk.clone()), DIR, settings).unwrap();
        for (write, number) in script.writes.iter().zip(1..) {
            writer.append(LogNumber(number), write).unwrap();
            if number % 3 == 0 {
                writer.commit().unwrap();
            }
        }
        writer.close().unwrap();
        let image = script.image(script.records.len());
        let marks = snapshots(&disk, DIR).unwrap();
        assert_eq!(read(&walcheck, &root.join(DIR)), expected(&image, &marks), "seed {seed}");
        // etcd had it open for writing: it is still ours to continue.
        let (_, again, _) = LogWriter::open(Rc::new(disk), DIR, settings).unwrap();
        assert_eq!(again.unwrap(), image, "seed {seed}");
        std::fs::remove_dir_all(&root).unwrap();
    }
}
