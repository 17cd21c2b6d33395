//! Workloads: deterministic state machines of clients that invoke operations, and are told how they
//! ended and when a timer rang.
//!
//! A workload has slots, numbered from 0: each is one client's session, which does one operation at
//! a time and has a stream of its own. After an unknown outcome the slot's logical client is
//! retired and its successor goes on in the same slot; workloads need not care. Nothing is retried
//! behind a workload's back: every attempt is an operation of the history.
//!
//! To add a workload: an `Entry` in `KINDS`, a constructor in `build`, a file beside this one.

mod author;
mod contest;
mod kubernetes;
mod lease;
mod mixed;
mod pool;
mod register;
mod seen;
mod set;
#[cfg(test)]
pub(crate) mod stage;
mod transactions;
mod watch;

use std::time::Duration;

use detsim_reports::record::{Call, Operation, Outcome, Time, WatchMessage};
use rand_chacha::ChaCha8Rng;

use crate::language::value::{Entry, Settings};
use crate::model::Refusal;
use crate::seed::Draw;
use crate::world::convert::is_read;

/// The workloads that scripts can name.
pub const KINDS: &[Entry] = &[
    transactions::APPEND,
    contest::ELECTION,
    kubernetes::ENTRY,
    lease::ENTRY,
    contest::LOCK,
    mixed::ENTRY,
    register::ENTRY,
    set::ENTRY,
    watch::ENTRY,
    transactions::WR,
];

/// What a workload can do, handed to each of its methods.
pub trait Clients {
    /// The time.
    fn now(&self) -> Time;
    /// How many members the cluster has; any of their places may be asked.
    fn members(&self) -> usize;
    /// The stream of a slot's own draws.
    fn stream(&mut self, slot: usize) -> &mut ChaCha8Rng;
    /// Asks a member. The slot is busy until `Workload::completed`.
    fn invoke(&mut self, slot: usize, member: usize, call: Call);
    /// Ends the slot's watch; `Workload::completed` follows.
    fn close(&mut self, slot: usize);
    /// Has `Workload::woken` called for the slot at this time. A slot has one timer; setting it
    /// again moves it.
    fn wake(&mut self, slot: usize, at: Time);
}

/// A workload.
pub trait Workload {
    /// How many slots it has.
    fn slots(&self) -> usize;
    /// Clients may begin.
    fn begin(&mut self, clients: &mut dyn Clients);
    /// A slot's timer rang.
    fn woken(&mut self, slot: usize, clients: &mut dyn Clients);
    /// A slot's operation ended.
    fn completed(
        &mut self,
        slot: usize,
        operation: &Operation,
        outcome: &Outcome,
        clients: &mut dyn Clients,
    );
    /// A message arrived on a slot's watch.
    fn watched(&mut self, _slot: usize, _message: &WatchMessage, _clients: &mut dyn Clients) {}
    /// The end is near: what is invoked from now on is ignored, and timers no longer ring. Open
    /// watches are closed by the runner once every other operation has ended and the watches have
    /// had time to deliver.
    fn settle(&mut self, _clients: &mut dyn Clients) {}
}

/// Makes the workload of an entry; every parameter of the entry is set.
pub fn build(kind: &str, settings: &Settings) -> Option<Box<dyn Workload>> {
    match kind {
        "append" => Some(Box::new(transactions::Transactions::append(settings))),
        "election" => Some(Box::new(contest::Contest::elections(settings))),
        "kubernetes" => Some(Box::new(kubernetes::Kubernetes::new(settings))),
        "lease" => Some(Box::new(lease::Leasing::new(settings))),
        "lock" => Some(Box::new(contest::Contest::locks(settings))),
        "mixed" => Some(Box::new(mixed::Mixed::new(settings))),
        "register" => Some(Box::new(register::Register::new(settings))),
        "set" => Some(Box::new(set::Sets::new(settings))),
        "watch" => Some(Box::new(watch::Watching::new(settings))),
        "wr" => Some(Box::new(transactions::Transactions::wr(settings))),
        _ => None,
    }
}

/// Whom a slot asks: every second slot stays with one member, the others ask any.
fn whom(slot: usize, clients: &mut dyn Clients) -> usize {
    let members = clients.members();
    let drawn = clients.stream(slot).below(members as u64) as usize;
    if slot.is_multiple_of(2) { slot / 2 % members } else { drawn }
}

/// Whether a refusal follows from the request and the state, so that nobody else would answer it
/// differently for long.
fn is_refusal(text: &str) -> bool {
    Refusal::from_text(text).is_some()
}

/// Whether asking once more does no harm, whatever became of the first time.
fn is_repeatable(call: &Call) -> bool {
    is_read(call) || matches!(call, Call::LeaseKeepAlive { .. })
}

/// The pace of one of several clients that together invoke so many operations per second: the time
/// between two operations is drawn between half and one and a half times the mean.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    mean: Duration,
}

impl Pace {
    /// For each of `clients` clients.
    pub fn new(per_second: u64, clients: usize) -> Pace {
        let nanos = 1_000_000_000 * clients.max(1) as u64 / per_second.max(1);
        Pace { mean: Duration::from_nanos(nanos.max(2)) }
    }

    /// Has the slot called when its next operation is due.
    pub fn rest(self, slot: usize, clients: &mut dyn Clients) {
        wake_within(slot, (self.mean / 2, self.mean * 3 / 2), clients);
    }
}

/// Has the slot called within the bounds, drawn from its stream.
fn wake_within(slot: usize, bounds: (Duration, Duration), clients: &mut dyn Clients) {
    let after = clients.stream(slot).duration(bounds.0, bounds.1);
    clients.wake(slot, clients.now().after(after));
}
