//! A file's content with what has happened to it since it was last made durable.
//!
//! `pages` is what a process sees. The journal can take it back: to a moment in time, because the
//! storage code runs ahead of the device's clock, and to what a power loss may leave. Each sector
//! then holds one of its states since the last sync, never a mixture; the length follows its own
//! order; what follows a lost truncation, where it truncated, is lost with it.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;

use super::pages::{Pages, Taken};
use super::power::Survival;
use crate::seed::Draw;

pub(super) const SECTOR: u64 = 512;
const JOURNAL_MAX: usize = 4096;

/// One change of content or length.
#[derive(Clone, Debug)]
struct Change {
    /// When the device has done it.
    end: u64,
    len_before: u64,
    kind: ChangeKind,
}

#[derive(Clone, Debug)]
enum ChangeKind {
    /// The bytes there before are in `Inode::undo`; while undone, the bytes written are.
    Write { offset: u64, len: usize, undo: usize },
    /// `taken` is empty while undone.
    SetLen { len: u64, taken: Option<Taken> },
}

/// A sector that will be found to hold something else when the power has been off.
#[derive(Clone, Debug)]
struct Latent {
    end: u64,
    sector: u64,
    content: [u8; SECTOR as usize],
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pages: Pages,
    journal: Vec<Change>,
    undo: Vec<u8>,
    /// Syncs that may not have ended yet: when they end, and how much of the journal they cover.
    syncs: Vec<(u64, usize)>,
    latent: Vec<Latent>,
    /// The handle that holds the lock.
    pub(super) locked_by: Option<u64>,
    /// Open handles.
    pub(super) handles: u32,
}

/// What happens to a write on its way to the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Faithful,
    /// The medium keeps what it had.
    Lost,
    /// The medium keeps what it had, and this sector gets the data instead.
    Misdirected {
        to_sector: u64,
    },
}

fn sectors(offset: u64, len: usize) -> std::ops::Range<u64> {
    offset / SECTOR..(offset + len as u64).div_ceil(SECTOR)
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        self.pages.len()
    }

    /// Copies bytes out; returns how many lie before the end.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let size = buffer.len().min(self.len().saturating_sub(offset) as usize);
        self.pages.read(offset, &mut buffer[..size]);
        size
    }

    /// Forgets changes that a sync ended by `now` has made durable.
    fn prune(&mut self, now: u64) {
        let Some(&(end, covered)) = self.syncs.last() else { return };
        if end <= now && covered == self.journal.len() {
            self.journal.clear();
            self.undo.clear();
            self.syncs.clear();
        } else if self.journal.len() > JOURNAL_MAX {
            self.prune_part(now);
        }
    }

    fn prune_part(&mut self, now: u64) {
        let ended = self.syncs.iter().filter(|(end, _)| *end <= now);
        let Some(covered) = ended.map(|(_, covered)| *covered).max() else { return };
        self.journal.drain(..covered);
        self.syncs.retain(|(end, _)| *end > now);
        self.syncs.iter_mut().for_each(|(_, upto)| *upto -= covered);
        let first = self.journal.iter().find_map(|change| match change.kind {
            ChangeKind::Write { undo, .. } => Some(undo),
            ChangeKind::SetLen { .. } => None,
        });
        let first = first.unwrap_or(self.undo.len());
        self.undo.drain(..first);
        for change in &mut self.journal {
            if let ChangeKind::Write { undo, .. } = &mut change.kind {
                *undo -= first;
            }
        }
    }

    /// Writes at `offset`; the device has done it at `end`.
    pub(super) fn write(
        &mut self,
        offset: u64,
        data: &[u8],
        delivery: Delivery,
        now: u64,
        end: u64,
    ) {
        self.prune(now);
        let touched = sectors(offset, data.len());
        if !self.latent.is_empty() {
            self.latent.retain(|latent| !touched.contains(&latent.sector));
        }
        if delivery != Delivery::Faithful {
            touched.clone().for_each(|sector| self.keep_latent(sector, end));
        }
        let undo = self.undo.len();
        self.pages.append_to(offset, data.len(), &mut self.undo);
        let kind = ChangeKind::Write { offset, len: data.len(), undo };
        self.journal.push(Change { end, len_before: self.len(), kind });
        self.pages.write(offset, data);
        self.pages.grow(offset + data.len() as u64);
        if let Delivery::Misdirected { to_sector } = delivery {
            for (at, sector) in touched.enumerate() {
                let mut content = [0; SECTOR as usize];
                self.pages.read(sector * SECTOR, &mut content);
                self.latent.push(Latent { end, sector: to_sector + at as u64, content });
            }
        }
    }

    /// After a power loss, the sector will hold what it holds now.
    fn keep_latent(&mut self, sector: u64, end: u64) {
        let mut content = [0; SECTOR as usize];
        self.pages.read(sector * SECTOR, &mut content);
        self.latent.push(Latent { end, sector, content });
    }

    pub(super) fn set_len(&mut self, len: u64, now: u64, end: u64) {
        self.prune(now);
        let len_before = self.len();
        let taken = Some(self.pages.set_len(len));
        self.journal.push(Change { end, len_before, kind: ChangeKind::SetLen { len, taken } });
    }

    pub(super) fn sync(&mut self, now: u64, end: u64) {
        self.prune(now);
        if !self.journal.is_empty() {
            self.syncs.push((end, self.journal.len()));
        }
    }

    /// A sync that fails: the changes look durable from now on, and some of their sectors are not.
    pub(super) fn fail_sync(&mut self, now: u64, end: u64, rng: &mut ChaCha8Rng) {
        self.prune(now);
        let synced = self.syncs.last().map_or(0, |(_, covered)| *covered);
        for at in (synced..self.journal.len()).rev() {
            self.undo_change(at);
        }
        let writes = self.journal[synced..].iter().filter_map(|change| match change.kind {
            ChangeKind::Write { offset, len, .. } => Some(sectors(offset, len)),
            ChangeKind::SetLen { .. } => None,
        });
        let touched: BTreeSet<u64> = writes.flatten().collect();
        for sector in touched {
            if rng.below(2) == 0 {
                self.keep_latent(sector, end);
            }
        }
        for at in synced..self.journal.len() {
            self.redo_change(at);
        }
        self.sync(now, end);
    }

    fn undo_change(&mut self, at: usize) {
        let change = &mut self.journal[at];
        match &mut change.kind {
            ChangeKind::Write { offset, len, undo } => {
                self.pages.swap(*offset, &mut self.undo[*undo..*undo + *len]);
                self.pages.set_len(change.len_before);
            }
            ChangeKind::SetLen { taken, .. } => {
                let taken = taken.take().expect("a change is undone once");
                self.pages.restore(change.len_before, taken);
            }
        }
    }

    fn redo_change(&mut self, at: usize) {
        match &mut self.journal[at].kind {
            ChangeKind::Write { offset, len, undo } => {
                self.pages.swap(*offset, &mut self.undo[*undo..*undo + *len]);
                self.pages.grow(*offset + *len as u64);
            }
            ChangeKind::SetLen { len, taken } => *taken = Some(self.pages.set_len(*len)),
        }
    }

    /// Takes back what the device had not done at `at`.
    pub(super) fn roll_back(&mut self, at: u64) {
        while self.journal.last().is_some_and(|change| change.end > at) {
            self.undo_change(self.journal.len() - 1);
            self.journal.pop();
        }
        self.syncs.retain(|(end, _)| *end <= at);
        self.latent.retain(|latent| latent.end <= at);
    }

    /// The device stood still: what it had not done at `since` ends later.
    pub(super) fn delay(&mut self, since: u64, by: u64) {
        let ends = self.journal.iter_mut().map(|change| &mut change.end);
        let ends = ends.chain(self.syncs.iter_mut().map(|(end, _)| end));
        for end in ends.chain(self.latent.iter_mut().map(|latent| &mut latent.end)) {
            if *end > since {
                *end += by;
            }
        }
    }

    /// Leaves what a power loss at `at` may leave.
    pub(super) fn lose_power(&mut self, at: u64, survival: Survival, rng: &mut ChaCha8Rng) {
        self.roll_back(at);
        let durable = self.syncs.iter().map(|(_, covered)| *covered).max().unwrap_or(0);
        for change in (durable..self.journal.len()).rev() {
            self.undo_change(change);
        }
        self.journal.drain(..durable);
        if !self.journal.is_empty() {
            self.keep_subset(survival, rng);
        }
        for latent in std::mem::take(&mut self.latent) {
            let offset = latent.sector * SECTOR;
            let size = SECTOR.min(self.len().saturating_sub(offset)) as usize;
            self.pages.write(offset, &latent.content[..size]);
        }
        self.journal.clear();
        self.undo.clear();
        self.syncs.clear();
        self.locked_by = None;
        self.handles = 0;
    }

    /// Of the undone journal, does again what survives.
    fn keep_subset(&mut self, survival: Survival, rng: &mut ChaCha8Rng) {
        let fates: Vec<_> =
            self.journal.iter().map(|change| survival.of(change.end, rng)).collect();
        // The last surviving change of each sector: a sector written later holds the earlier, too.
        let mut kept: BTreeMap<u64, usize> = BTreeMap::new();
        for (at, change) in self.journal.iter().enumerate() {
            let ChangeKind::Write { offset, len, .. } = change.kind else { continue };
            for sector in sectors(offset, len) {
                if fates[at].reaches_medium(rng) {
                    kept.insert(sector, at);
                }
            }
        }
        let lengths = survival.lengths(&fates, rng);
        let mut journal = std::mem::take(&mut self.journal);
        let mut lost_from = u64::MAX;
        for (at, change) in journal.iter_mut().enumerate() {
            match &mut change.kind {
                ChangeKind::SetLen { len, .. } if at < lengths => {
                    self.pages.set_len(*len);
                }
                ChangeKind::SetLen { len, .. } => {
                    if *len < change.len_before {
                        lost_from = lost_from.min(*len);
                    }
                }
                ChangeKind::Write { offset, len, undo } => {
                    let data = &self.undo[*undo..*undo + *len];
                    for sector in sectors(*offset, *len) {
                        let from = (sector * SECTOR).max(*offset);
                        let to = ((sector + 1) * SECTOR).min(*offset + *len as u64);
                        let survives = kept.get(&sector).is_some_and(|last| at <= *last);
                        if survives && from < lost_from {
                            let part = (from - *offset) as usize..(to - *offset) as usize;
                            self.pages.write(from, &data[part]);
                        }
                    }
                    if at < lengths {
                        self.pages.grow(*offset + *len as u64);
                    }
                }
            }
        }
        // Sectors may have survived behind a length that did not.
        let len = self.len();
        self.pages.set_len(len);
    }

    /// Changes bytes of the medium and of what is cached of it.
    pub(super) fn overwrite(&mut self, offset: u64, data: &[u8]) {
        self.pages.write(offset, data);
    }

    /// When the changes were done that a power loss may take back.
    pub(super) fn volatile_ends(&self) -> impl Iterator<Item = u64> {
        let durable = self.syncs.iter().map(|(_, covered)| *covered).max().unwrap_or(0);
        self.journal[durable..].iter().map(|change| change.end)
    }

    /// Behind the last byte that is not zero.
    pub(super) fn used(&self) -> u64 {
        self.pages.used()
    }
}
