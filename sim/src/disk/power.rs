//! What survives of unsynced changes when the power goes: a style is drawn for the whole disk, so
//! that some power losses look like an ordered device and others like the worst lawful one.

use rand_chacha::ChaCha8Rng;

use crate::seed::Draw;

/// The style of one power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Survival {
    /// No unsynced change.
    Nothing,
    /// All that the device had been given.
    Everything,
    /// All that was done before this moment; what was being done then is torn.
    Until(u64),
    /// Each change or not.
    Changes,
    /// Each sector in any of its states since the last sync.
    Sectors,
}

/// What becomes of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// All of it survives.
    Kept,
    /// None of it.
    Lost,
    /// Some of its sectors.
    Torn,
}

impl Survival {
    /// Draws a style. `ends` are the moments at which the changes in question were done.
    pub(super) fn draw(ends: &[u64], rng: &mut ChaCha8Rng) -> Survival {
        let style = rng.below(8);
        let moment = rng.below(ends.len().max(1) as u64) as usize;
        match style {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            2 | 3 => ends.get(moment).map_or(Survival::Nothing, |end| Survival::Until(*end)),
            4 | 5 => Survival::Changes,
            _ => Survival::Sectors,
        }
    }

    /// The fate of a change that was done at `end`.
    pub(super) fn of(self, end: u64, rng: &mut ChaCha8Rng) -> Fate {
        match self {
            Survival::Nothing => Fate::Lost,
            Survival::Everything => Fate::Kept,
            Survival::Until(moment) if end < moment => Fate::Kept,
            Survival::Until(moment) if end == moment => Fate::Torn,
            Survival::Until(_) => Fate::Lost,
            Survival::Changes if rng.below(2) == 0 => Fate::Kept,
            Survival::Changes => Fate::Lost,
            Survival::Sectors => Fate::Torn,
        }
    }

    /// How many changes of a file's length survive: they are never reordered among themselves.
    pub(super) fn lengths(self, fates: &[Fate], rng: &mut ChaCha8Rng) -> usize {
        let ordered = fates.iter().take_while(|fate| **fate == Fate::Kept).count();
        match self {
            Survival::Nothing | Survival::Everything => ordered,
            Survival::Until(_) => (ordered + rng.below(2) as usize).min(fates.len()),
            Survival::Changes | Survival::Sectors => rng.below(fates.len() as u64 + 1) as usize,
        }
    }
}

impl Fate {
    /// Whether a part of the change survives.
    pub(super) fn reaches_medium(self, rng: &mut ChaCha8Rng) -> bool {
        match self {
            Fate::Kept => true,
            Fate::Lost => false,
            Fate::Torn => rng.below(2) == 0,
        }
    }
}
