//! The quick proof that nothing is wrong: an order of operations in which whatever must come before
//! something does. Operations are ordered by the revision that each wrote, or from which it was
//! answered. Where every dependency goes forward there is no cycle; where one does not, cycles are
//! searched for.

use detsim_reports::record::{Call, Outcome, Time};

use super::Dependencies;
use super::nodes::Node;

/// How operations stand in the order that is tried.
pub(super) struct Order {
    dependencies: usize,
    unclear: usize,
    is_kept: bool,
}

impl Order {
    /// Tries the order of revisions.
    pub fn of(dependencies: &Dependencies<'_, '_>) -> Order {
        let ranks = ranks(dependencies.nodes);
        let mut order = Order { dependencies: 0, unclear: 0, is_kept: true };
        order.unclear = dependencies.each(|from, to, _| {
            if from != to {
                order.dependencies += 1;
                order.is_kept &= ranks[from] < ranks[to];
            }
        });
        order.is_kept &= keeps_real_time(&ranks, dependencies);
        order
    }

    /// Whether every dependency goes forward, those of real time included.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// How many reads of absent keys say nothing.
    pub fn unclear(&self) -> usize {
        self.unclear
    }

    /// How many there are besides those of real time.
    pub fn dependencies(&self) -> usize {
        self.dependencies
    }
}

/// The place of each operation: by revision, the write first, then by invocation.
fn ranks(nodes: &[Node<'_>]) -> Vec<usize> {
    let mut order: Vec<(i64, bool, Time, usize)> = nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.is_known())
        .map(|(place, node)| {
            let revision = revision(node);
            (revision, node.writes.is_empty(), node.operation.invoked, place)
        })
        .collect();
    order.sort_unstable();
    let mut ranks = vec![0; nodes.len()];
    for (rank, (.., place)) in order.into_iter().enumerate() {
        ranks[place] = rank;
    }
    ranks
}

/// The revision that an operation wrote, or else saw.
fn revision(node: &Node<'_>) -> i64 {
    if let Some(write) = node.writes.first() {
        return write.version;
    }
    match (&node.operation.call, &node.operation.outcome) {
        (Call::Range(range), _) if range.revision != 0 => range.revision,
        (_, Some(Outcome::Ok(reply))) => reply.header.revision,
        _ => 0,
    }
}

/// Whether everybody stands behind all who had returned when it was invoked.
fn keeps_real_time(ranks: &[usize], dependencies: &Dependencies<'_, '_>) -> bool {
    let (mut returned, mut invoked) = (dependencies.returned(), dependencies.invoked());
    returned.sort_unstable();
    invoked.sort_unstable();
    let mut over = returned.into_iter().peekable();
    let mut last = None;
    invoked.into_iter().all(|(at, place)| {
        while let Some((_, earlier)) = over.next_if(|(completed, _)| *completed < at) {
            last = last.max(Some(ranks[earlier]));
        }
        last < Some(ranks[place])
    })
}
