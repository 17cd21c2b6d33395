//! Requests that a script asks the mix to avoid: what a server is known to answer wrongly hides
//! everything else that a run could show. Applied to what was drawn, so that it shifts no draw.

use detsim_reports::record::{Call, Range, Txn, TxnOp};

use crate::model::is_read_only;

/// Words for them.
pub(super) const WORDS: &[&str] = &["nothing", "past-in-txn", "keys-only"];

/// What to avoid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Avoid {
    /// Reads at given revisions in transactions that write.
    past_in_txn: bool,
    /// Reads of keys without their values.
    keys_only: bool,
}

impl Avoid {
    /// What the words say.
    pub(super) fn of(words: &[String]) -> Avoid {
        let has = |word: &str| words.iter().any(|said| said == word);
        Avoid { past_in_txn: has("past-in-txn"), keys_only: has("keys-only") }
    }

    /// The call without what is to be avoided.
    pub(super) fn cleanse(self, mut call: Call) -> Call {
        match &mut call {
            Call::Range(range) => self.range(range, false),
            Call::Txn(txn) => {
                let is_writing = !is_read_only(txn);
                self.txn(txn, is_writing);
            }
            _ => {}
        }
        call
    }

    fn txn(self, txn: &mut Txn, is_writing: bool) {
        for op in txn.success.iter_mut().chain(&mut txn.failure) {
            match op {
                TxnOp::Range(range) => self.range(range, is_writing),
                TxnOp::Txn(inner) => self.txn(inner, is_writing),
                TxnOp::Put(_) | TxnOp::DeleteRange(_) => {}
            }
        }
    }

    fn range(self, range: &mut Range, is_beside_writes: bool) {
        range.keys_only &= !self.keys_only;
        if self.past_in_txn && is_beside_writes {
            range.revision = 0;
        }
    }
}
