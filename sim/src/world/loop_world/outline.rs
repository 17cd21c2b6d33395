//! Outlines of members' logs: where each term begins, how far the log goes and where it changes
//! the configuration, both as handed to the disk and as the disk's receipts vouch for it.
//!
//! Two logs that hold the same entry hold the same before it, so outlines stand for logs. A write
//! costs a look at its entries' terms, and memory only where a term begins.

use std::collections::VecDeque;

use detcd::storage::log::{
    EntryKind, LogEntry, LogImage, LogNumber, LogWrite, SnapshotMark, Staged,
};

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// First index and term of the entries of one term, in order.
    runs: Vec<(u64, u64)>,
    /// The last index.
    last: u64,
    /// Indices of configuration changes.
    changes: Vec<u64>,
}

impl Outline {
    /// The term of the entry at an index, 0 if there is none.
    pub fn term(&self, index: u64) -> u64 {
        if index > self.last {
            return 0;
        }
        let run = self.runs.iter().rev().find(|(first, _)| *first <= index);
        run.map_or(0, |(_, term)| *term)
    }

    /// The part before a term's own entries: its runs and its last index.
    pub fn before_term(&self, term: u64) -> (Vec<(u64, u64)>, u64) {
        let own = self.runs.iter().position(|run| run.1 >= term);
        let runs = &self.runs[..own.unwrap_or(self.runs.len())];
        (runs.to_vec(), own.map_or(self.last, |own| self.runs[own].0 - 1))
    }

    /// How far two logs are the same.
    pub fn common(&self, other: &Outline) -> u64 {
        let end = |outline: &Outline, at: usize| {
            outline.runs.get(at + 1).map_or(outline.last, |next| next.0 - 1)
        };
        let mut common = 0;
        for (at, (one, two)) in self.runs.iter().zip(&other.runs).enumerate() {
            if one != two {
                break;
            }
            let (ends, others) = (end(self, at), end(other, at));
            common = ends.min(others);
            if ends != others {
                break;
            }
        }
        common
    }

    fn truncate(&mut self, first: u64) {
        if first > self.last {
            return;
        }
        self.last = first - 1;
        while self.runs.pop_if(|run| run.0 >= first).is_some() {}
        while self.changes.pop_if(|index| *index >= first).is_some() {}
    }

    /// The last index.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Whether it holds the entry that a snapshot stands at.
    pub fn holds(&self, mark: &SnapshotMark) -> bool {
        mark.index > 0 && self.term(mark.index) == mark.term
    }

    /// The part up to a snapshot.
    pub fn up_to(&self, mark: &SnapshotMark) -> Outline {
        let mut outline = self.clone();
        outline.truncate(mark.index + 1);
        outline
    }

    /// A log of which only a snapshot is known.
    fn bare(mark: &SnapshotMark) -> Outline {
        let runs = if mark.index == 0 { Vec::new() } else { vec![(mark.index, mark.term)] };
        Outline { runs, last: mark.index, changes: Vec::new() }
    }

    fn append(&mut self, piece: &Piece) {
        if let Some(installed) = &piece.installed {
            self.clone_from(installed);
        }
        if piece.last == 0 {
            return;
        }
        self.truncate(piece.first);
        self.begin(piece.first, piece.term);
        for &(first, term) in &piece.later {
            self.begin(first, term);
        }
        self.changes.extend(&piece.changes);
        self.last = piece.last;
    }

    fn begin(&mut self, first: u64, term: u64) {
        if self.runs.last().is_none_or(|run| run.1 != term) {
            self.runs.push((first, term));
        }
    }
}

/// A write on its way to the disk.
#[derive(Debug, Default)]
struct Piece {
    number: u64,
    first: u64,
    /// 0 if it holds no entries.
    last: u64,
    /// The term of its first entry.
    term: u64,
    /// Where further terms begin in it.
    later: Vec<(u64, u64)>,
    changes: Vec<u64>,
    /// Term and vote.
    vote: Option<(u64, u64)>,
    /// What the log is instead, up to a snapshot that was installed.
    installed: Option<Outline>,
}

impl Piece {
    fn of(number: LogNumber, entries: &[LogEntry]) -> Piece {
        let mut piece = Piece { number: number.0, ..Piece::default() };
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return piece };
        (piece.first, piece.term, piece.last) = (first.index, first.term, last.index);
        let mut term = first.term;
        for entry in entries {
            if entry.term != term {
                term = entry.term;
                piece.later.push((entry.index, term));
            }
            if entry.kind == EntryKind::ConfChange {
                piece.changes.push(entry.index);
            }
        }
        piece
    }
}

/// What a write did to a log, until it is told who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Entries of another term begin.
    Run {
        /// Where.
        first: u64,
        /// Their term.
        term: u64,
        /// The term before.
        before: u64,
    },
    /// Entries were replaced by some of `term`.
    Replaced {
        /// From here.
        first: u64,
        /// To here.
        last: u64,
        /// The term of what stands there since.
        term: u64,
    },
    /// A configuration change was appended.
    Change {
        /// Where.
        index: u64,
        /// In which term.
        term: u64,
        /// The change before it.
        before: u64,
        /// How far the log had been applied.
        applied: u64,
    },
}

/// A member's log, as a process has handed it to its disk, and as the disk holds it.
#[derive(Debug, Default)]
pub struct WatchedLog {
    staged: Outline,
    durable: Outline,
    /// What is not durable yet, in order.
    pending: VecDeque<Piece>,
    /// Term and vote, as last staged and as durable.
    staged_vote: (u64, u64),
    durable_vote: (u64, u64),
    /// The last index that was applied.
    pub applied: u64,
    /// Term and index last acknowledged.
    pub acknowledged: (u64, u64),
    /// What is still to be told.
    pub untold: Vec<Written>,
}

impl WatchedLog {
    /// What a process found on its disk, if it found anything. `before` is what the log holds up to
    /// the snapshot that it follows, where that is known.
    pub fn found(image: Option<&LogImage>, before: Option<Outline>) -> WatchedLog {
        let mut log = WatchedLog::default();
        let Some(image) = image else { return log };
        let mut piece = Piece::of(LogNumber(0), &image.entries);
        piece.installed = Some(before.unwrap_or_else(|| Outline::bare(&image.snapshot)));
        log.durable.append(&piece);
        log.staged = log.durable.clone();
        log.durable_vote = (image.hard_state.term, image.hard_state.vote);
        log.staged_vote = log.durable_vote;
        log.tell_runs(0);
        log
    }

    /// Something was handed to the disk. `before` is what the log holds up to a snapshot that takes
    /// its place, where that is known.
    pub fn stage(&mut self, staged: &Staged, before: Option<Outline>) {
        match staged.write() {
            LogWrite::Snapshot(mark) => self.install(staged.number(), mark, before),
            // A commit index is no part of what is told here.
            write if write.is_commit() => {}
            write => self.write(staged.number(), write),
        }
    }

    fn install(&mut self, number: LogNumber, mark: &SnapshotMark, before: Option<Outline>) {
        let before = before.unwrap_or_else(|| Outline::bare(mark));
        let (same, last) = (self.staged.common(&before), self.staged.last);
        if same < last {
            self.untold.push(Written::Replaced { first: same + 1, last, term: mark.term });
        }
        let mut kept = self.staged.runs.iter().zip(&before.runs);
        let known = kept.position(|(one, two)| one != two);
        let known = known.unwrap_or(self.staged.runs.len().min(before.runs.len()));
        self.staged = before.clone();
        self.tell_runs(known);
        let piece = Piece { number: number.0, installed: Some(before), ..Piece::default() };
        self.pending.push_back(piece);
    }

    fn write(&mut self, number: LogNumber, write: &LogWrite) {
        let (entries, hard_state) = write.content();
        let mut piece = Piece::of(number, entries);
        piece.vote = hard_state.map(|state| (state.term, state.vote));
        self.staged_vote = piece.vote.unwrap_or(self.staged_vote);
        if piece.last != 0 {
            let last = self.staged.last;
            if piece.first <= last {
                let (first, term) = (piece.first, piece.term);
                self.untold.push(Written::Replaced { first, last, term });
            }
            self.staged.truncate(piece.first);
            let (runs, changes) = (self.staged.runs.len(), self.staged.changes.len());
            self.staged.append(&piece);
            self.tell_runs(runs);
            for at in changes..self.staged.changes.len() {
                let index = self.staged.changes[at];
                let before = if at == 0 { 0 } else { self.staged.changes[at - 1] };
                let (term, applied) = (self.staged.term(index), self.applied);
                self.untold.push(Written::Change { index, term, before, applied });
            }
        }
        self.pending.push_back(piece);
    }

    fn tell_runs(&mut self, from: usize) {
        for at in from..self.staged.runs.len() {
            let (first, term) = self.staged.runs[at];
            let before = if at == 0 { 0 } else { self.staged.runs[at - 1].1 };
            self.untold.push(Written::Run { first, term, before });
        }
    }

    /// Everything up to a number is durable.
    pub fn durable_up_to(&mut self, number: LogNumber) {
        while self.pending.front().is_some_and(|piece| piece.number <= number.0) {
            let piece = self.pending.pop_front().expect("checked above");
            self.durable.append(&piece);
            self.durable_vote = piece.vote.unwrap_or(self.durable_vote);
        }
    }

    /// The log, as it was handed to the disk.
    pub fn staged(&self) -> &Outline {
        &self.staged
    }

    /// Term and vote, as the disk holds them.
    pub fn durable_vote(&self) -> (u64, u64) {
        self.durable_vote
    }

    /// The term that the member has told its disk.
    pub fn staged_term(&self) -> u64 {
        self.staged_vote.0
    }

    /// Index and term of the last entry that the disk vouches for and nothing later replaces.
    pub fn vouched(&self) -> (u64, u64) {
        let index = self.durable();
        (index, self.durable.term(index))
    }

    /// How far the disk holds the log.
    pub fn durable(&self) -> u64 {
        if self.pending.is_empty() {
            return self.durable.last;
        }
        self.durable.common(&self.staged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use detcd::storage::log::HardState;

    fn save(entries: &[(u64, u64)], vote: Option<(u64, u64)>) -> LogWrite {
        let entry = |&(index, term)| LogEntry {
            kind: if index == 3 { EntryKind::ConfChange } else { EntryKind::Normal },
            term,
            index,
            data: bytes::Bytes::new(),
        };
        LogWrite::Save {
            entries: entries.iter().map(entry).collect(),
            hard_state: vote.map(|(term, vote)| HardState { term, vote, commit: 0 }),
            sync: true,
        }
    }

    #[test]
    fn the_disk_holds_what_its_receipts_cover() {
        let mut log = WatchedLog::default();
        log.write(LogNumber(1), &save(&[(1, 1), (2, 1)], Some((1, 7))));
        log.write(LogNumber(2), &save(&[(3, 2)], Some((2, 8))));
        assert_eq!((log.durable(), log.durable_vote(), log.staged_term()), (0, (0, 0), 2));
        log.durable_up_to(LogNumber(1));
        assert_eq!((log.durable(), log.durable_vote()), (2, (1, 7)));
        log.durable_up_to(LogNumber(2));
        assert_eq!((log.durable(), log.durable_vote()), (3, (2, 8)));
    }

    #[test]
    fn what_is_to_be_replaced_counts_for_nothing() {
        let mut log = WatchedLog::default();
        log.write(LogNumber(1), &save(&[(1, 1), (2, 1), (3, 2), (4, 2)], None));
        log.durable_up_to(LogNumber(1));
        log.untold.clear();
        log.write(LogNumber(2), &save(&[(3, 3), (4, 3)], None));
        assert_eq!(log.durable(), 2);
        assert_eq!(
            log.untold,
            [
                Written::Replaced { first: 3, last: 4, term: 3 },
                Written::Run { first: 3, term: 3, before: 1 },
                Written::Change { index: 3, term: 3, before: 0, applied: 0 },
            ]
        );
        log.durable_up_to(LogNumber(2));
        assert_eq!(log.durable(), 4);
        assert_eq!([2, 3, 4, 5].map(|index| log.staged().term(index)), [1, 3, 3, 0]);
        assert_eq!(log.staged().before_term(3), (vec![(1, 1)], 2));
        assert_eq!(log.staged().before_term(4), (vec![(1, 1), (3, 3)], 4));
    }

    #[test]
    fn logs_are_the_same_as_far_as_their_terms_are() {
        let outline = |entries: &[(u64, u64)]| {
            let mut log = WatchedLog::default();
            log.write(LogNumber(1), &save(entries, None));
            log.staged.clone()
        };
        let one = outline(&[(1, 1), (2, 1), (3, 2), (4, 2)]);
        assert_eq!(one.common(&one), 4);
        assert_eq!(one.common(&outline(&[(1, 1), (2, 1), (3, 2)])), 3);
        assert_eq!(one.common(&outline(&[(1, 1), (2, 2)])), 1);
        assert_eq!(one.common(&outline(&[(1, 1), (2, 1), (3, 3)])), 2);
        assert_eq!(one.common(&outline(&[(1, 2)])), 0);
    }
}
