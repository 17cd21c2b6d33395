//! Between the clients and the world: numbers operations, records them, keeps timers, retires
//! logical clients whose last operation has an unknown outcome, and tells workloads what happened.
//!
//! Nothing is retried here: an operation that failed or timed out is over, and its record says what
//! the client knows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use detsim_reports::record::{
    Call, ClientId, History, OpId, Operation, Outcome, Time, WatchMessage, Watched,
};
use rand_chacha::ChaCha8Rng;

use crate::seed::Streams;
use crate::workload::{Clients, Workload};
use crate::world::World;

/// Who waits for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The script itself.
    Script,
    /// A fault, which does not wait.
    Fault,
    /// A workload's slot.
    Slot { workload: usize, slot: usize },
}

/// The clients of a run.
pub struct Traffic {
    timeout: Duration,
    workloads: Vec<Active>,
    desk: Desk,
    script: ClientId,
    is_settling: bool,
}

struct Active {
    workload: Box<dyn Workload>,
    slots: Vec<Slot>,
}

struct Slot {
    stream: ChaCha8Rng,
    client: ClientId,
    timer: Option<Time>,
    watch: Option<OpId>,
}

/// What all clients share.
#[derive(Default)]
struct Desk {
    clients: u32,
    pending: BTreeMap<OpId, Owner>,
    timers: BTreeSet<(Time, usize, usize)>,
}

impl Desk {
    fn new_client(&mut self) -> ClientId {
        self.clients += 1;
        ClientId(self.clients - 1)
    }
}

/// What operations pass through on their way.
pub struct Way<'a> {
    /// Where they go.
    pub world: &'a mut dyn World,
    /// Where they are recorded.
    pub history: &'a mut History,
    /// How many members workloads may ask.
    pub members: usize,
}

impl Traffic {
    /// No clients but the script's.
    pub fn new(timeout: Duration) -> Traffic {
        let mut desk = Desk::default();
        let script = desk.new_client();
        Traffic { timeout, workloads: Vec::new(), desk, script, is_settling: false }
    }

    /// Adds a workload, which begins at once. `name` names its streams.
    pub fn add(
        &mut self,
        name: &str,
        workload: Box<dyn Workload>,
        streams: Streams,
        way: &mut Way<'_>,
    ) {
        let index = self.workloads.len();
        let slots = (0..workload.slots()).map(|slot| Slot {
            stream: streams.stream(&format!("workload/{index}/{name}/{slot}")),
            client: self.desk.new_client(),
            timer: None,
            watch: None,
        });
        let slots = slots.collect();
        self.workloads.push(Active { workload, slots });
        self.is_settling = false;
        self.tell(index, way, |workload, clients| workload.begin(clients));
    }

    /// Asks a member on the script's behalf.
    pub fn invoke(
        &mut self,
        member: usize,
        call: Call,
        timeout: Option<Duration>,
        way: &mut Way<'_>,
    ) -> OpId {
        let timeout = timeout.unwrap_or(self.timeout);
        invoke(&mut self.desk, way, Owner::Script, self.script, member, call, timeout)
    }

    /// Asks a member on behalf of a client of its own.
    pub fn invoke_apart(
        &mut self,
        member: usize,
        call: Call,
        timeout: Option<Duration>,
        way: &mut Way<'_>,
    ) -> OpId {
        let (client, timeout) = (self.desk.new_client(), timeout.unwrap_or(self.timeout));
        invoke(&mut self.desk, way, Owner::Fault, client, member, call, timeout)
    }

    /// Who asks on the script's behalf from now on is somebody else.
    pub fn renew_script(&mut self) {
        self.script = self.desk.new_client();
    }

    /// How long clients wait when nothing else is said.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When the next timer rings.
    pub fn next_timer(&self) -> Time {
        self.desk.timers.first().map_or(Time::NEVER, |(at, ..)| *at)
    }

    /// Rings what is due.
    pub fn ring(&mut self, way: &mut Way<'_>) {
        let now = way.world.now();
        while let Some(&(at, workload, slot)) = self.desk.timers.first() {
            if at > now {
                return;
            }
            self.desk.timers.pop_first();
            self.workloads[workload].slots[slot].timer = None;
            self.tell(workload, way, |workload, clients| workload.woken(slot, clients));
        }
    }

    /// An operation ended.
    pub fn completed(&mut self, op: OpId, outcome: Outcome, way: &mut Way<'_>) {
        let now = way.world.now();
        let record = &mut way.history.operations[op.0 as usize];
        assert!(record.outcome.is_none(), "operation {} ended twice", op.0);
        record.completed = now;
        record.outcome = Some(outcome.clone());
        let record = record.clone();
        let owner = self.desk.pending.remove(&op).expect("an operation that ends was invoked");
        let is_unknown = matches!(outcome, Outcome::Unknown(_));
        match owner {
            Owner::Script if is_unknown => self.script = self.desk.new_client(),
            Owner::Script | Owner::Fault => {}
            Owner::Slot { workload, slot } => {
                let busy = &mut self.workloads[workload].slots[slot];
                busy.watch = None;
                if is_unknown {
                    busy.client = self.desk.new_client();
                }
                self.tell(workload, way, |workload, clients| {
                    workload.completed(slot, &record, &outcome, clients);
                });
            }
        }
    }

    /// A message arrived on a watch.
    pub fn watched(&mut self, op: OpId, message: WatchMessage, way: &mut Way<'_>) {
        let at = way.world.now();
        way.history.watched.push(Watched { op, at, message: message.clone() });
        if let Some(&Owner::Slot { workload, slot }) = self.desk.pending.get(&op) {
            self.tell(workload, way, |workload, clients| {
                workload.watched(slot, &message, clients);
            });
        }
    }

    /// No more operations.
    pub fn settle(&mut self, way: &mut Way<'_>) {
        if self.is_settling {
            return;
        }
        for index in 0..self.workloads.len() {
            self.tell(index, way, |workload, clients| workload.settle(clients));
        }
        self.is_settling = true;
        self.desk.timers.clear();
    }

    /// Whether no operation is outstanding, watches aside.
    pub fn is_quiet(&self) -> bool {
        self.desk.pending.len() == self.watches().count()
    }

    /// Whether a watch is open.
    pub fn has_watches(&self) -> bool {
        self.watches().next().is_some()
    }

    /// Ends all watches.
    pub fn close_watches(&self, world: &mut dyn World) {
        for op in self.watches() {
            world.close(op);
        }
    }

    fn watches(&self) -> impl Iterator<Item = OpId> {
        self.workloads.iter().flat_map(|active| active.slots.iter().filter_map(|slot| slot.watch))
    }

    fn tell(
        &mut self,
        index: usize,
        way: &mut Way<'_>,
        what: impl FnOnce(&mut dyn Workload, &mut dyn Clients),
    ) {
        let Active { workload, slots } = &mut self.workloads[index];
        let mut session = Session {
            index,
            slots,
            desk: &mut self.desk,
            way,
            timeout: self.timeout,
            is_settling: self.is_settling,
        };
        what(workload.as_mut(), &mut session);
    }
}

fn invoke(
    desk: &mut Desk,
    way: &mut Way<'_>,
    owner: Owner,
    client: ClientId,
    member: usize,
    call: Call,
    timeout: Duration,
) -> OpId {
    let id = OpId(u32::try_from(way.history.operations.len()).expect("fewer than four billion"));
    desk.pending.insert(id, owner);
    way.history.operations.push(Operation {
        id,
        client,
        member,
        invoked: way.world.now(),
        call: call.clone(),
        completed: Time::NEVER,
        outcome: None,
    });
    way.world.invoke(id, client, member, &call, timeout);
    id
}

/// What a workload sees.
struct Session<'a, 'w> {
    index: usize,
    slots: &'a mut Vec<Slot>,
    desk: &'a mut Desk,
    way: &'a mut Way<'w>,
    timeout: Duration,
    is_settling: bool,
}

impl Clients for Session<'_, '_> {
    fn now(&self) -> Time {
        self.way.world.now()
    }

    fn members(&self) -> usize {
        self.way.members
    }

    fn stream(&mut self, slot: usize) -> &mut ChaCha8Rng {
        &mut self.slots[slot].stream
    }

    fn invoke(&mut self, slot: usize, member: usize, call: Call) {
        if self.is_settling {
            return;
        }
        let owner = Owner::Slot { workload: self.index, slot };
        assert!(
            !self.desk.pending.values().any(|busy| *busy == owner),
            "a slot does one operation at a time"
        );
        let is_watch = matches!(call, Call::Watch(_));
        let client = self.slots[slot].client;
        let op = invoke(self.desk, self.way, owner, client, member, call, self.timeout);
        if is_watch {
            self.slots[slot].watch = Some(op);
        }
    }

    fn close(&mut self, slot: usize) {
        if let Some(op) = self.slots[slot].watch {
            self.way.world.close(op);
        }
    }

    fn wake(&mut self, slot: usize, at: Time) {
        if self.is_settling {
            return;
        }
        if let Some(old) = self.slots[slot].timer.replace(at) {
            self.desk.timers.remove(&(old, self.index, slot));
        }
        self.desk.timers.insert((at, self.index, slot));
    }
}
