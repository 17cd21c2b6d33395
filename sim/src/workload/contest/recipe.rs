//! The requests of etcd's recipes for locks and elections. A contender puts a key under the
//! contest's prefix, bound to its lease; who has the smallest create revision owns the contest, and
//! that create revision is the fencing token.

use detsim_reports::record::{
    Blob, Call, Compare, DeleteRange, Operator, Put, Range, SortOrder, SortTarget, Target, Txn,
    TxnOp, Watch,
};

use crate::workload::author::prefix_end;

/// Which recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recipe {
    /// The contender's key is empty; entering reads the owner at once.
    Lock,
    /// The contender's key holds what it proclaims.
    Election,
}

/// A contender's key, and since when it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub key: Blob,
    pub create_revision: i64,
}

/// The key of the contender with this lease.
pub(super) fn contender(name: &str, lease: i64) -> Blob {
    let sign = if lease < 0 { "-" } else { "" };
    Blob::text(&format!("{name}/{sign}{:x}", lease.unsigned_abs()))
}

/// All contenders, the owner first; only so many.
pub(super) fn contenders(name: &str, limit: i64) -> Range {
    let key = Blob::text(&format!("{name}/"));
    Range {
        range_end: prefix_end(&key),
        key,
        limit,
        sort_order: SortOrder::Ascend,
        sort_target: SortTarget::Create,
        ..Range::default()
    }
}

/// The one that came last of those who came before.
pub(super) fn predecessor(name: &str, token: &Token) -> Call {
    Call::Range(Range {
        sort_order: SortOrder::Descend,
        max_create_revision: token.create_revision - 1,
        ..contenders(name, 1)
    })
}

/// Takes one's place, or finds it taken by oneself.
pub(super) fn enter(recipe: Recipe, name: &str, lease: i64, value: Blob) -> Call {
    let key = contender(name, lease);
    let put = Put { key: key.clone(), value, lease, ..Put::default() };
    let mut success = vec![TxnOp::Put(put)];
    let mut failure = vec![TxnOp::Range(get(&key))];
    if recipe == Recipe::Lock {
        success.push(TxnOp::Range(contenders(name, 1)));
        failure.push(TxnOp::Range(contenders(name, 1)));
    }
    txn(created(&key, 0), success, failure)
}

/// A write that takes effect only while the token is valid.
pub(super) fn fenced(token: &Token, put: Put) -> Call {
    let failure = vec![TxnOp::Range(get(&token.key))];
    txn(created(&token.key, token.create_revision), vec![TxnOp::Put(put)], failure)
}

/// Gives the place up, if it is still one's own.
pub(super) fn leave(recipe: Recipe, token: &Token) -> Call {
    let delete = DeleteRange { key: token.key.clone(), ..DeleteRange::default() };
    match recipe {
        Recipe::Lock => Call::DeleteRange(delete),
        Recipe::Election => txn(
            created(&token.key, token.create_revision),
            vec![TxnOp::DeleteRange(delete)],
            Vec::new(),
        ),
    }
}

/// The next change of a key after a revision.
pub(super) fn await_change(key: &Blob, after: i64) -> Call {
    Call::Watch(Watch { key: key.clone(), start_revision: after + 1, ..Watch::default() })
}

/// A get of one key.
pub(super) fn get(key: &Blob) -> Range {
    Range { key: key.clone(), ..Range::default() }
}

fn created(key: &Blob, create_revision: i64) -> Compare {
    Compare {
        key: key.clone(),
        range_end: Blob::default(),
        operator: Operator::Equal,
        target: Target::Create(create_revision),
    }
}

fn txn(compare: Compare, success: Vec<TxnOp>, failure: Vec<TxnOp>) -> Call {
    Call::Txn(Box::new(Txn { compare: vec![compare], success, failure }))
}
