//! The trace: a hash over every input and output of every member, with times, and on request the
//! same as lines for a reader.
//!
//! Equal runs have equal hashes. The hash is meant to tell runs apart, not to resist an adversary;
//! it is a function of the binary, and means nothing to another one.

use std::hash::{Hash, Hasher};

use detcd::member::io::{Input, Note, Output};
use detcd::storage::database::SnapshotTask;
use detcd::storage::log::{LogWrite, Staged};

use crate::disk::Lines;

/// An odd constant with well spread bits.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A streaming hash of 64 bits. Every step is a bijection of the state, so a difference once hashed
/// is not lost by what follows alike.
#[derive(Clone, Copy, Debug)]
pub struct TraceHasher(u64);

impl Default for TraceHasher {
    fn default() -> TraceHasher {
        TraceHasher(0x243f_6a88_85a3_08d3)
    }
}

impl TraceHasher {
    #[inline]
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(MULTIPLIER);
    }
}

impl Hasher for TraceHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.add(u64::from_le_bytes(last));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.add(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }

    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(MULTIPLIER);
        mixed ^ (mixed >> 29)
    }
}

/// The trace of a run.
#[derive(Debug, Default)]
pub struct Trace {
    hash: TraceHasher,
    lines: Option<Lines>,
}

impl Trace {
    /// The hash so far.
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Keeps lines from now on.
    pub fn keep_lines(&mut self) {
        self.lines.get_or_insert_default();
    }

    /// Where lines are kept, if they are.
    pub fn lines(&self) -> Option<&Lines> {
        self.lines.as_ref()
    }

    /// A member's input.
    pub fn input(&mut self, time: u64, place: usize, input: &Input) {
        self.hash.add(time);
        self.hash.add((place as u64) << 1);
        hash_input(input, &mut self.hash);
        if let Some(lines) = &self.lines {
            lines.borrow_mut().push(format!("{} {place} < {}", seconds(time), input_line(input)));
        }
    }

    /// A member's output.
    pub fn output(&mut self, time: u64, place: usize, output: &Output) {
        self.hash.add(((place as u64) << 1) | 1);
        hash_output(output, &mut self.hash);
        if let Some(lines) = &self.lines {
            lines.borrow_mut().push(format!("{} {place} > {}", seconds(time), output_line(output)));
        }
    }

    /// Something else that decides the run: a fault, a start, a disk operation's time.
    pub fn fact(&mut self, time: u64, what: impl Hash + std::fmt::Debug) {
        self.hash.add(time);
        what.hash(&mut self.hash);
        if let Some(lines) = &self.lines {
            lines.borrow_mut().push(format!("{} * {what:?}", seconds(time)));
        }
    }
}

/// The first line in which two traces differ: its number from 1, and both lines, if there are both.
pub fn first_difference<'a>(
    one: &'a [String],
    other: &'a [String],
) -> Option<(usize, Option<&'a str>, Option<&'a str>)> {
    let longest = one.len().max(other.len());
    let at = (0..longest).find(|&at| one.get(at) != other.get(at))?;
    Some((at + 1, one.get(at).map(String::as_str), other.get(at).map(String::as_str)))
}

/// Seconds with nanoseconds.
fn seconds(time: u64) -> String {
    format!("{:4}.{:09}", time / 1_000_000_000, time % 1_000_000_000)
}

fn input_line(input: &Input) -> String {
    match input {
        Input::WorkDone(done) => format!("WorkDone({:?}, {:?})", done.id, done.result),
        other => format!("{other:?}"),
    }
}

fn output_line(output: &Output) -> String {
    match output {
        Output::Work(work) => format!("Work({:?}, {:?})", work.id, work.job),
        other => format!("{other:?}"),
    }
}

fn hash_input(input: &Input, h: &mut TraceHasher) {
    std::mem::discriminant(input).hash(h);
    match input {
        Input::Request { id, request, options } => (id, request, options).hash(h),
        Input::Cancel(id) => id.hash(h),
        Input::StreamOpen { id, kind, options, window_bytes } => {
            (id, kind, options, window_bytes).hash(h);
        }
        Input::StreamMessage { id, message } => (id, message).hash(h),
        Input::StreamWindow { id, bytes } => (id, bytes).hash(h),
        Input::StreamClose(id) => id.hash(h),
        // Some member put it out, and it was hashed in full then.
        Input::Raft { from, message } => {
            (from, message.kind() as i32, message.to(), message.term()).hash(h);
            (message.index(), message.commit(), message.is_reject()).hash(h);
        }
        Input::PeerDial { id, header } => (id, header).hash(h),
        Input::DialRefused { peer, refusal } => (peer, refusal).hash(h),
        Input::PeerActive(peer) | Input::PeerUnreachable(peer) => peer.hash(h),
        Input::SnapshotStatus { peer, delivered } => (peer, delivered).hash(h),
        Input::PeerCall { id, call } => (id, call).hash(h),
        Input::PeerCallDone { id, result } => (id, result).hash(h),
        Input::Resolved { id, result } => (id, result).hash(h),
        Input::LogDurable(durable) => durable.number().hash(h),
        Input::DatabaseDurable(receipt) => receipt.hash(h),
        Input::SnapshotDone(mark) => mark.hash(h),
        Input::DatabaseTaskDone { id, answer } => (id, answer).hash(h),
        Input::SnapshotPinned { pin, mark } => (pin, mark).hash(h),
        Input::SnapshotRead { pin, piece } => (pin, piece).hash(h),
        Input::SnapshotArrived { from, message, .. } => (from, message).hash(h),
        Input::WorkDone(done) => (done.id, &done.result).hash(h),
        Input::Deadline | Input::Shutdown => {}
    }
}

fn hash_output(output: &Output, h: &mut TraceHasher) {
    std::mem::discriminant(output).hash(h);
    match output {
        Output::Reply { id, result } => (id, result).hash(h),
        Output::StreamItem { id, item, bytes } => (id, item, bytes).hash(h),
        Output::StreamEnd { id, result } => (id, result).hash(h),
        Output::Send { to, message } => (to, message).hash(h),
        Output::Log(staged) => hash_log_write(staged, h),
        Output::Database(write) => write.hash(h),
        Output::DatabaseTask { id, task } => (id, task).hash(h),
        Output::Snapshot(task) => hash_snapshot_task(task, h),
        Output::Peers(change) => change.hash(h),
        Output::DialAnswer { id, result } => (id, result).hash(h),
        Output::PeerCall { id, url, call, timeout } => (id, url, call, timeout).hash(h),
        Output::Resolve { id, question, timeout } => (id, question, timeout).hash(h),
        Output::PeerAnswer { id, result } => (id, result).hash(h),
        Output::Work(work) => (work.id, &work.job).hash(h),
        Output::LogLine(line) => line.hash(h),
        Output::Ready => {}
        Output::Stop(stop) => stop.hash(h),
        Output::Note(Note::Applied { entry, revision, digest }) => {
            (entry.index, entry.term, revision, digest).hash(h);
        }
        Output::Note(note) => note.hash(h),
    }
}

/// Payloads are left to the disk, which hashes every byte that reaches it.
fn hash_log_write(staged: &Staged, h: &mut TraceHasher) {
    staged.number().hash(h);
    match staged.write() {
        LogWrite::Save { entries, hard_state, sync } => {
            (entries.len(), hard_state, sync).hash(h);
            for entry in entries {
                (entry.kind, entry.term, entry.index, entry.data.len()).hash(h);
            }
        }
        write => write.hash(h),
    }
}

fn hash_snapshot_task(task: &SnapshotTask, h: &mut TraceHasher) {
    std::mem::discriminant(task).hash(h);
    match task {
        SnapshotTask::Save(mark) => mark.hash(h),
        SnapshotTask::Pin(pin) | SnapshotTask::Read(pin) | SnapshotTask::Unpin(pin) => pin.hash(h),
        SnapshotTask::Send { to, message, pin } => (to, message, pin).hash(h),
        SnapshotTask::Purge => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use detcd::member::id::MemberId;

    fn hash_of(inputs: &[(u64, usize, Input)]) -> u64 {
        let mut trace = Trace::default();
        for (time, place, input) in inputs {
            trace.input(*time, *place, input);
        }
        trace.hash()
    }

    #[test]
    fn time_place_kind_and_content_are_hashed() {
        let base = hash_of(&[(1, 0, Input::PeerActive(MemberId(5)))]);
        assert_eq!(base, hash_of(&[(1, 0, Input::PeerActive(MemberId(5)))]));
        for other in [
            (2, 0, Input::PeerActive(MemberId(5))),
            (1, 1, Input::PeerActive(MemberId(5))),
            (1, 0, Input::PeerUnreachable(MemberId(5))),
            (1, 0, Input::PeerActive(MemberId(6))),
        ] {
            assert_ne!(base, hash_of(&[other]));
        }
    }

    #[test]
    fn bytes_of_any_length_are_hashed_to_their_end() {
        let of = |bytes: &[u8]| {
            let mut hasher = TraceHasher::default();
            bytes.hash(&mut hasher);
            hasher.finish()
        };
        assert_ne!(of(b"12345678a"), of(b"12345678b"));
        assert_ne!(of(b"a"), of(b"a\0"));
        assert_ne!(of(b""), of(b"\0"));
    }

    #[test]
    fn the_first_difference_is_found() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (one, other) = (lines("a b c"), lines("a x c d"));
        assert_eq!(first_difference(&one, &other), Some((2, Some("b"), Some("x"))));
        assert_eq!(first_difference(&one, &lines("a b")), Some((3, Some("c"), None)));
        assert_eq!(first_difference(&one, &one), None);
    }
}
