//! Snapshots on their way to clients: `Maintenance.Snapshot` (contract-cluster.md, section 7.1).
//!
//! A state of the database is held, which holds everything applied before, and read piece by piece,
//! the next one when the client has room for it. It is held until the client has it or is gone; the
//! log need not wait for it.

use std::collections::BTreeMap;

use super::id::StreamId;
use super::io::{Level, LogLine, Output, Outputs, StreamItem};
use super::running::Running;
use crate::api::CallError;
use crate::config::CompatVersion;
use crate::planted::Defect;
use crate::proto::etcdserverpb::SnapshotResponse;
use crate::storage::database::{PinId, SnapshotTask};

/// A snapshot for a client.
#[derive(Debug)]
struct Export {
    stream: StreamId,
    /// How many bytes the client takes before it makes more room.
    room: i64,
    /// The state is held.
    is_held: bool,
    /// A piece is being read.
    is_reading: bool,
    /// The database's size, and how much of it is not sent; unknown before the first piece.
    bytes: Option<(u64, u64)>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Exports(BTreeMap<PinId, Export>);

impl Exports {
    fn of(&mut self, stream: StreamId) -> Option<PinId> {
        self.0.iter().find(|(_, export)| export.stream == stream).map(|(pin, _)| *pin)
    }
}

impl Running {
    /// A client asks for a snapshot.
    pub(super) fn export_open(&mut self, stream: StreamId, window_bytes: u64, out: &mut Outputs) {
        let pin = match self.config.defect().is(Defect::BackupStaleSave) {
            true => self.pin_written(out),
            false => self.hold(out),
        };
        let room = i64::try_from(window_bytes).unwrap_or(i64::MAX);
        let export = Export { stream, room, is_held: false, is_reading: false, bytes: None };
        self.snapshots.exports.0.insert(pin, export);
    }

    /// The client has taken some of it.
    pub(super) fn export_window(&mut self, stream: StreamId, bytes: u64, out: &mut Outputs) {
        if let Some(pin) = self.snapshots.exports.of(stream)
            && let Some(export) = self.snapshots.exports.0.get_mut(&pin)
        {
            export.room = export.room.saturating_add_unsigned(bytes);
            self.read_on(pin, out);
        }
    }

    /// The state is held, if it is one for a client.
    pub(super) fn export_held(&mut self, pin: PinId, out: &mut Outputs) {
        if let Some(export) = self.snapshots.exports.0.get_mut(&pin) {
            export.is_held = true;
            self.read_on(pin, out);
        }
    }

    fn read_on(&mut self, pin: PinId, out: &mut Outputs) {
        let Some(export) = self.snapshots.exports.0.get_mut(&pin) else { return };
        if export.is_held && !export.is_reading && export.room > 0 {
            export.is_reading = true;
            out.push(Output::Snapshot(SnapshotTask::Read(pin)));
        }
    }

    /// The next piece is read, or cannot be.
    pub(super) fn export_read(
        &mut self,
        pin: PinId,
        piece: Result<SnapshotResponse, String>,
        out: &mut Outputs,
    ) {
        let Some(export) = self.snapshots.exports.0.get_mut(&pin) else { return };
        export.is_reading = false;
        let stream = export.stream;
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                let line = LogLine::new(Level::Warn, "failed to send database snapshot to client");
                out.push(Output::LogLine(line.with("error", &*error)));
                self.stream_close(stream, out);
                let result = Err(CallError::Disk(error));
                return out.push(Output::StreamEnd { id: stream, result });
            }
        };
        let bytes = piece.blob.len() as u64;
        let total = export.bytes.map_or(bytes + piece.remaining_bytes, |(total, _)| total);
        let is_hash = export.bytes.is_some_and(|(_, left)| left == 0);
        let told =
            |text: &str| LogLine::new(Level::Info, text).with("total-bytes", total.to_string());
        let versioned = |line: LogLine| match self.config.compat {
            CompatVersion::V3_5 => line,
            _ => line.with("storage-version", &*piece.version),
        };
        if export.bytes.is_none() {
            let line = versioned(told("sending database snapshot to client"));
            out.push(Output::LogLine(line));
        } else if is_hash {
            let line = told("sending database sha256 checksum to client");
            out.push(Output::LogLine(line.with("checksum-size", bytes.to_string())));
            out.push(Output::LogLine(versioned(told(
                "successfully sent database snapshot to client",
            ))));
        }
        export.bytes = Some((total, piece.remaining_bytes));
        export.room = export.room.saturating_sub_unsigned(bytes);
        let item = Box::new(StreamItem::Snapshot(piece));
        out.push(Output::StreamItem { id: stream, item, bytes });
        if is_hash {
            self.stream_close(stream, out);
            out.push(Output::StreamEnd { id: stream, result: Ok(()) });
        } else {
            self.read_on(pin, out);
        }
    }

    /// The stream is over: the state need not be held any longer.
    pub(super) fn export_close(&mut self, stream: StreamId, out: &mut Outputs) {
        if let Some(pin) = self.snapshots.exports.of(stream) {
            self.snapshots.exports.0.remove(&pin);
            out.push(Output::Snapshot(SnapshotTask::Unpin(pin)));
        }
    }
}
