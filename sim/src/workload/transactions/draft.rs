//! What a transaction's reads and writes become: requests, with the conditions that make them one
//! transaction.

use std::collections::BTreeSet;

use detsim_reports::record::{Blob, Call, Put, Txn, TxnOp};

use super::{Form, Micro, Written};
use crate::workload::seen::{Seen, get};

/// What is asked first.
pub(super) enum Step {
    /// The whole transaction.
    Last(Call),
    /// What it depends on; then follows `Draft::guarded`.
    Read(Call),
}

/// A slot at its desk.
pub(super) struct Draft<'a> {
    pub written: Written,
    pub prefix: &'a str,
    pub seen: &'a Seen,
}

impl Draft<'_> {
    /// The first request of a transaction. One that only reads has no second.
    pub fn first(&self, micros: &[Micro], form: Form, serializable: bool) -> Step {
        let is_read_only = micros.iter().all(|micro| matches!(micro, Micro::Read(_)));
        match (micros, form, self.written) {
            (micros, ..) if is_read_only => Step::Last(read(micros, serializable)),
            (_, Form::TwoPhase, _) => Step::Read(read(&reads_of_all(micros), false)),
            ([Micro::Write(key, numbers)], Form::Native, Written::Registers) => {
                Step::Last(Call::Put(self.put(key, numbers)))
            }
            (_, Form::Native, Written::Registers) => {
                let success = self.ops(micros);
                Step::Last(Call::Txn(Box::new(Txn { success, ..Txn::default() })))
            }
            (_, Form::Native, Written::Lists) => Step::Last(self.guarded(micros)),
        }
    }

    /// Everything, if all its keys are as they were seen last, else another look at them.
    pub fn guarded(&self, micros: &[Micro]) -> Call {
        let keys = keys(micros);
        Call::Txn(Box::new(Txn {
            compare: keys.iter().map(|key| self.seen.guard(key)).collect(),
            success: self.ops(micros),
            failure: keys.iter().map(|key| TxnOp::Range(get(key, false))).collect(),
        }))
    }

    fn ops(&self, micros: &[Micro]) -> Vec<TxnOp> {
        let op = |micro: &Micro| match micro {
            Micro::Read(key) => TxnOp::Range(get(key, false)),
            Micro::Write(key, numbers) => TxnOp::Put(self.put(key, numbers)),
        };
        micros.iter().map(op).collect()
    }

    fn put(&self, key: &Blob, numbers: &[u64]) -> Put {
        let value = match self.written {
            Written::Lists => self.seen.extended(key, numbers),
            Written::Registers => {
                let number = numbers.first().expect("a write of a register has a number");
                Blob::text(&format!("{}-{number}", self.prefix))
            }
        };
        Put { key: key.clone(), value, ..Put::default() }
    }
}

fn keys(micros: &[Micro]) -> BTreeSet<Blob> {
    let key = |micro: &Micro| match micro {
        Micro::Read(key) | Micro::Write(key, _) => key.clone(),
    };
    micros.iter().map(key).collect()
}

fn reads_of_all(micros: &[Micro]) -> Vec<Micro> {
    keys(micros).into_iter().map(Micro::Read).collect()
}

/// Reads, all at one revision.
fn read(micros: &[Micro], serializable: bool) -> Call {
    let range = |micro: &Micro| match micro {
        Micro::Read(key) | Micro::Write(key, _) => get(key, serializable),
    };
    if let [micro] = micros {
        return Call::Range(range(micro));
    }
    let success = micros.iter().map(|micro| TxnOp::Range(range(micro))).collect();
    Call::Txn(Box::new(Txn { success, ..Txn::default() }))
}
