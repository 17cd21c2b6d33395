//! What the loop world costs: simulated seconds and operations per second of processor time, with
//! recording and checking on.
//!
//! Figures depend on the machine; the trace hash beside each does not, and says whether two figures
//! are of the same run.

use std::fmt::Write as _;
use std::time::Duration;

use detsim_reports::record::{
    Blob, Call, CheckReport, ClientId, History, Internals, OpId, Operation, Outcome, Put, Range,
    Time,
};

use crate::check::{self, Checker, Selection};
use crate::world::loop_world::{DatabaseKind, LoopWorld, Options};
use crate::world::{World, WorldEvent};

/// Members of the clusters measured.
const MEMBERS: usize = 3;

/// How long a cluster may take until it serves.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long clients wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// One measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Of what.
    pub name: String,
    /// Virtual time that passed.
    pub simulated: Duration,
    /// Client operations that ended well.
    pub operations: u64,
    /// Inputs that members took, and events.
    pub counts: (u64, u64),
    /// Processor time of the simulation.
    pub cpu: Duration,
    /// Processor time of the checkers.
    pub checking: Duration,
    /// The run's trace hash.
    pub hash: u64,
}

/// A cluster that nobody uses.
pub fn idle(seed: u64, simulated: Duration) -> Figure {
    let mut measured = Measured::begin("idle", seed, DatabaseKind::None);
    let until = measured.world.now().after(simulated);
    while measured.world.advance(until) != WorldEvent::Reached {}
    measured.finish()
}

/// A cluster with so many puts per second, one after another from a few clients.
pub fn paced(seed: u64, simulated: Duration, puts_per_s: u64, database: DatabaseKind) -> Figure {
    let name = match database {
        DatabaseKind::None => format!("{puts_per_s} puts/s"),
        DatabaseKind::Logical => format!("{puts_per_s} puts/s, logical"),
        DatabaseKind::Pages => format!("{puts_per_s} puts/s, pages"),
    };
    let mut measured = Measured::begin(&name, seed, database);
    let pause = Duration::from_nanos(1_000_000_000 / puts_per_s);
    let end = measured.world.now().after(simulated);
    let mut next = measured.world.now();
    while next < end {
        measured.invoke(next.0);
        next = next.after(pause);
        measured.pass(next.min(end));
    }
    measured.finish()
}

/// So many operations, half of them puts, from clients that each ask again once they are answered.
pub fn saturated(seed: u64, operations: u64, clients: u32) -> Figure {
    let name = format!("{clients} clients, closed loop");
    Measured::saturate(&name, seed, operations, clients).finish()
}

/// Linearizability of so many operations by witness of the log, one in twenty of unknown outcome.
/// What it took to get the history does not count.
pub fn witness(seed: u64, operations: u64) -> Figure {
    let mut measured = Measured::saturate("witness, 5 % unknown", seed, operations, 256);
    for operation in measured.history.operations.iter_mut().step_by(20) {
        operation.outcome = Some(Outcome::Unknown("nobody knows".to_owned()));
        operation.completed = Time::NEVER;
    }
    let Recorded { history, internals, mut figure } = measured.stop();
    figure.cpu = Duration::ZERO;
    let selection = Selection::of(&[Checker::Linearizability, Checker::Log]);
    figure.checked(&history, &internals, &selection);
    figure
}

/// Figures as a table.
pub fn table(figures: &[Figure]) -> String {
    let mut table = format!(
        "{:<24} {:>12} {:>12} {:>10} {:>10} {:>8} {:>18}\n",
        "three members", "sim s/CPU s", "op/CPU s", "ns/input", "check %", "CPU s", "trace hash"
    );
    for figure in figures {
        let total = figure.cpu + figure.checking;
        let per_cpu = |amount: u128| amount * 1_000_000_000 / total.as_nanos().max(1);
        let per_input = figure.cpu.as_nanos() / u128::from(figure.counts.0.max(1));
        let checking = figure.checking.as_nanos() * 100 / total.as_nanos().max(1);
        let _infallible = writeln!(
            table,
            "{:<24} {:>12} {:>12} {:>10} {:>10} {:>8.2} {:>18}",
            figure.name,
            per_cpu(u128::from(figure.simulated.as_secs())),
            per_cpu(u128::from(figure.operations)),
            per_input,
            checking,
            total.as_secs_f64(),
            format!("{:016x}", figure.hash),
        );
    }
    table
}

/// Processor time of this thread.
fn cpu_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A measurement under way.
struct Measured {
    name: String,
    world: LoopWorld,
    history: History,
    ended: u64,
    began: Time,
    counts: (u64, u64),
    cpu: Duration,
}

impl Measured {
    fn begin(name: &str, seed: u64, database: DatabaseKind) -> Measured {
        let options = Options { database, ..Options::new(seed) };
        let mut world = LoopWorld::cluster(options, MEMBERS);
        let limit = world.now().after(READY_WITHIN);
        while (0..MEMBERS).any(|place| !world.status(place).ready) && world.now() < limit {
            world.advance(world.now().after(Duration::from_millis(100)));
        }
        Measured {
            name: name.to_owned(),
            history: History { members: world.members().to_vec(), ..History::default() },
            ended: 0,
            began: world.now(),
            counts: world.counts(),
            world,
            cpu: cpu_time(),
        }
    }

    /// So many operations, each asked for once its client's last one is answered.
    fn saturate(name: &str, seed: u64, operations: u64, clients: u32) -> Measured {
        let mut measured = Measured::begin(name, seed, DatabaseKind::None);
        for client in 0..clients {
            measured.invoke(u64::from(client));
        }
        while measured.ended < operations {
            match measured.world.advance(Time::NEVER) {
                WorldEvent::Completed { op, outcome } => {
                    measured.complete(op, outcome);
                    measured.invoke(u64::from(op.0));
                }
                WorldEvent::Reached => break,
                _ => {}
            }
        }
        measured
    }

    /// Invokes the next operation of a client.
    fn invoke(&mut self, draw: u64) {
        let number = self.history.operations.len() as u32;
        let key = Blob::text(&format!("key-{}", (u64::from(number) * 7919 + draw) % 64));
        let call = if number.is_multiple_of(2) || self.name.contains("puts") {
            Call::Put(Put { key, value: Blob::text(&number.to_string()), ..Put::default() })
        } else {
            Call::Range(Range { key, ..Range::default() })
        };
        let (op, client, member) = (OpId(number), ClientId(number), number as usize % MEMBERS);
        self.world.invoke(op, client, member, &call, PATIENCE);
        self.history.operations.push(Operation {
            id: op,
            client,
            member,
            invoked: self.world.now(),
            call,
            completed: Time::NEVER,
            outcome: None,
        });
    }

    fn complete(&mut self, op: OpId, outcome: Outcome) {
        self.ended += u64::from(matches!(outcome, Outcome::Ok(_)));
        let operation = &mut self.history.operations[op.0 as usize];
        operation.completed = self.world.now();
        operation.outcome = Some(outcome);
    }

    fn pass(&mut self, until: Time) {
        loop {
            match self.world.advance(until) {
                WorldEvent::Completed { op, outcome } => self.complete(op, outcome),
                WorldEvent::Reached => return,
                _ => {}
            }
        }
    }

    /// Ends the run and checks it in full.
    fn finish(mut self) -> Figure {
        let Recorded { history, internals, mut figure } = self.stop();
        figure.checked(&history, &internals, &Selection::all());
        figure
    }

    /// Ends the run. The world stays as it is: to drop it first would make memory cold that the
    /// checkers use.
    fn stop(&mut self) -> Recorded {
        let (steps, events) = self.world.counts();
        let simulated = self.world.now().since(self.began);
        let hash = self.world.trace_hash().expect("the loop world has one");
        self.history.ended = self.world.now();
        let internals = self.world.internals();
        let figure = Figure {
            name: self.name.clone(),
            simulated,
            operations: self.ended,
            counts: (steps - self.counts.0, events - self.counts.1),
            cpu: cpu_time().saturating_sub(self.cpu),
            checking: Duration::ZERO,
            hash,
        };
        Recorded { history: std::mem::take(&mut self.history), internals, figure }
    }
}

/// A run that has ended, and what it cost.
struct Recorded {
    history: History,
    internals: Internals,
    figure: Figure,
}

impl Figure {
    /// Checks what was recorded, which has no findings.
    fn checked(&mut self, history: &History, internals: &Internals, selection: &Selection) {
        let before = cpu_time();
        let reports = check::all(history, Some(internals), selection);
        self.checking = cpu_time().saturating_sub(before);
        let findings = |report: &CheckReport| report.findings.first().cloned();
        let found = reports.iter().find_map(findings);
        assert!(found.is_none(), "a healthy run has no findings: {found:?}");
    }
}

/// The measures by name.
pub const MEASURES: [&str; 7] =
    ["idle", "paced", "logical", "pages", "saturated", "crowded", "witness"];

/// Takes the named measures, or all when none is named. `scale` is 1 for a test and 100 for figures
/// worth comparing.
pub fn measure(names: &[String], scale: u64) -> Vec<Figure> {
    let is_asked = |measure: &&str| names.is_empty() || names.iter().any(|name| name == measure);
    let take = |measure: &str| match measure {
        "idle" => idle(1, Duration::from_secs(200 * scale)),
        "paced" => paced(1, Duration::from_secs(10 * scale), 100, DatabaseKind::None),
        "logical" => paced(1, Duration::from_secs(10 * scale), 100, DatabaseKind::Logical),
        "pages" => paced(1, Duration::from_secs(10 * scale), 100, DatabaseKind::Pages),
        "saturated" => saturated(1, 1_000 * scale, 32),
        "crowded" => saturated(1, 1_000 * scale, 256),
        _ => witness(1, 10_000 * scale),
    };
    MEASURES.into_iter().filter(is_asked).map(take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_runs_repeat_and_every_operation_is_checked() {
        let one = saturated(1, 200, 8);
        let other = saturated(1, 200, 8);
        assert_eq!((one.hash, one.operations), (other.hash, other.operations));
        for database in [DatabaseKind::None, DatabaseKind::Logical, DatabaseKind::Pages] {
            assert_eq!(paced(1, Duration::from_secs(1), 100, database).operations, 100);
        }
        let idle = idle(1, Duration::from_secs(10));
        assert!((500..1_200).contains(&idle.counts.1), "{idle:?}");
        let witness = witness(1, 400);
        assert!(witness.operations >= 400 && !witness.checking.is_zero(), "{witness:?}");
        assert_eq!(table(&[one, idle, witness]).lines().count(), 4);
    }
}
