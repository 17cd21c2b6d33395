//! A world of one shared map and members that only look alive: enough to see what the runner asks
//! for, when, and in what order. Everything asked for goes into the trace.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use detsim_reports::record::{
    Blob, Body, Call, ClientId, Header, KeyValue, MemberEntry, MemberName, OpId, Outcome,
    RangeReply, Reply, Time, TxnReply,
};

use crate::language::ast::{Action, Statement};
use crate::seed::Streams;
use crate::world::{
    ClockFault, DiskFault, End, Exit, Launch, MemberStatus, MessageClass, NetworkFault, World,
    WorldError, WorldEvent,
};

/// A member that only looks alive.
#[derive(Default)]
struct Puppet {
    running: bool,
    paused: bool,
    term: u64,
    flags: Vec<(String, String)>,
    log: Vec<String>,
}

/// The world.
#[derive(Default)]
pub struct FakeWorld {
    now: Time,
    names: Vec<MemberName>,
    puppets: Vec<Puppet>,
    cuts: Vec<(End, End)>,
    data: BTreeMap<Blob, KeyValue>,
    revision: i64,
    pending: VecDeque<(Time, WorldEvent)>,
    trace: Vec<String>,
    latency: Duration,
    /// Members whose process ends with this when it starts.
    pub dies: Option<(usize, Exit)>,
    /// No member ever leads.
    pub is_leaderless: bool,
    /// Links cannot be cut.
    pub has_no_network: bool,
}

impl FakeWorld {
    /// For a seed.
    pub fn new(seed: u64) -> FakeWorld {
        let mut stream = Streams::new(seed).stream("network");
        let latency = crate::seed::Draw::within(&mut stream, 1_000_000..=3_000_000);
        FakeWorld { latency: Duration::from_nanos(latency), revision: 1, ..FakeWorld::default() }
    }

    fn note(&mut self, what: String) {
        let line = format!("{} {what}", self.now.0);
        self.trace.push(line);
    }

    fn leader(&self) -> Option<usize> {
        if self.is_leaderless {
            return None;
        }
        let hears_most = |place: &usize| {
            let cut = |other: usize| {
                self.cuts.contains(&(End::Member(*place), End::Member(other)))
                    || self.cuts.contains(&(End::Member(other), End::Member(*place)))
            };
            let heard = (0..self.puppets.len())
                .filter(|other| self.puppets[*other].running && !cut(*other));
            heard.count() > self.puppets.len() / 2
        };
        let fine = |place: &usize| self.puppets[*place].running && !self.puppets[*place].paused;
        (0..self.puppets.len()).find(|place| fine(place) && hears_most(place))
    }

    fn answer(&mut self, member: usize, call: &Call) -> Outcome {
        if !self.puppets[member].running {
            return Outcome::Fail("connection refused".to_owned());
        }
        if self.leader().is_none() || self.puppets[member].paused {
            return Outcome::Unknown("timed out".to_owned());
        }
        let body = match call {
            Call::Put(put) => {
                self.revision += 1;
                let kv = KeyValue {
                    key: put.key.clone(),
                    value: put.value.clone(),
                    mod_revision: self.revision,
                    ..KeyValue::default()
                };
                Body::Put { prev_kv: self.data.insert(put.key.clone(), kv) }
            }
            Call::Range(range) => {
                let kvs: Vec<KeyValue> = match range.range_end.is_empty() {
                    true => self.data.get(&range.key).into_iter().cloned().collect(),
                    false => self.data.values().cloned().collect(),
                };
                let count = kvs.len() as i64;
                Body::Range(RangeReply { kvs, more: false, count })
            }
            Call::Txn(_) => Body::Txn(TxnReply::default()),
            Call::DeleteRange(delete) => {
                let gone: Vec<KeyValue> = self.data.remove(&delete.key).into_iter().collect();
                Body::DeleteRange { deleted: gone.len() as i64, prev_kvs: gone }
            }
            Call::MemberList { .. } | Call::MemberAdd { .. } => {
                let entry = |(place, name): (usize, &MemberName)| MemberEntry {
                    id: place as u64 + 100,
                    name: name.0.clone(),
                    peer_urls: vec![self.peer_url(place)],
                    ..MemberEntry::default()
                };
                let members = self.names.iter().enumerate().map(entry).collect();
                Body::Members { added: None, members }
            }
            _ => Body::Compact,
        };
        let header = Header { cluster_id: 7, revision: self.revision, ..Header::default() };
        Outcome::Ok(Reply { header, body })
    }
}

impl World for FakeWorld {
    fn name(&self) -> &'static str {
        "loop"
    }

    fn now(&self) -> Time {
        self.now
    }

    fn members(&self) -> &[MemberName] {
        &self.names
    }

    fn add_member(&mut self, name: &MemberName) -> Result<usize, WorldError> {
        self.names.push(name.clone());
        self.puppets.push(Puppet::default());
        Ok(self.puppets.len() - 1)
    }

    fn start(&mut self, member: usize, launch: &Launch) -> Result<(), WorldError> {
        self.note(format!("start {member} {launch:?}"));
        let puppet = &mut self.puppets[member];
        assert!(!puppet.running);
        puppet.running = true;
        puppet.paused = false;
        puppet.term += 1;
        puppet.flags.clone_from(&launch.flags);
        puppet.log = vec![format!("started {}", launch.flags.len())];
        if let Some((_, exit)) = self.dies.clone().filter(|(place, _)| *place == member) {
            let at = self.now.after(Duration::from_millis(5));
            self.pending.push_back((at, WorldEvent::Exited { member, exit }));
        }
        Ok(())
    }

    fn kill(&mut self, member: usize) -> Result<(), WorldError> {
        self.note(format!("kill {member}"));
        assert!(self.puppets[member].running);
        self.puppets[member].running = false;
        Ok(())
    }

    fn power_loss(&mut self, members: &[usize]) -> Result<(), WorldError> {
        self.note(format!("power-loss {members:?}"));
        for member in members {
            self.puppets[*member].running = false;
        }
        Ok(())
    }

    fn stop(&mut self, member: usize) -> Result<(), WorldError> {
        self.note(format!("stop {member}"));
        let exit = Exit { code: 0, reason: "stopped".to_owned() };
        let at = self.now.after(Duration::from_millis(30));
        self.pending.push_back((at, WorldEvent::Exited { member, exit }));
        Ok(())
    }

    fn pause(&mut self, member: usize) -> Result<(), WorldError> {
        self.note(format!("pause {member}"));
        self.puppets[member].paused = true;
        Ok(())
    }

    fn resume(&mut self, member: usize) -> Result<(), WorldError> {
        self.note(format!("resume {member}"));
        self.puppets[member].paused = false;
        Ok(())
    }

    fn cannot_express(&self, statement: &Statement) -> Option<&'static str> {
        let is_cut = matches!(statement, Statement::At(_, Action::Cut(..)));
        (self.has_no_network && is_cut).then_some("break links")
    }

    fn network(&mut self, fault: &NetworkFault) -> Result<(), WorldError> {
        if self.has_no_network {
            let what = "break links".to_owned();
            return Err(WorldError::Unsupported { world: "loop", what });
        }
        self.note(format!("{fault:?}"));
        match fault {
            NetworkFault::Cut { from, to, class: MessageClass::All } => {
                self.cuts.push((*from, *to));
            }
            NetworkFault::Heal { from, to } => self.cuts.retain(|cut| *cut != (*from, *to)),
            NetworkFault::HealAll => self.cuts.clear(),
            _ => {}
        }
        Ok(())
    }

    fn disk(&mut self, member: usize, fault: &DiskFault) -> Result<(), WorldError> {
        self.note(format!("disk {member} {fault:?}"));
        Ok(())
    }

    fn clock(&mut self, member: usize, fault: ClockFault) -> Result<(), WorldError> {
        self.note(format!("clock {member} {fault:?}"));
        Ok(())
    }

    fn status(&mut self, member: usize) -> MemberStatus {
        let leader = self.leader();
        let puppet = &self.puppets[member];
        let ready = puppet.running && !puppet.paused && leader.is_some();
        MemberStatus {
            running: puppet.running,
            ready,
            leader: leader.filter(|_| ready),
            term: puppet.term,
            applied: self.revision as u64,
            revision: self.revision,
            exit: None,
        }
    }

    fn log_contains(&mut self, member: usize, text: &str) -> bool {
        self.puppets[member].log.iter().any(|line| line.contains(text))
    }

    fn invoke(
        &mut self,
        op: OpId,
        client: ClientId,
        member: usize,
        call: &Call,
        timeout: Duration,
    ) {
        self.note(format!("invoke {op:?} {client:?} {member} {call:?}"));
        let outcome = self.answer(member, call);
        let after = match outcome {
            Outcome::Unknown(_) => timeout,
            _ => self.latency,
        };
        self.pending.push_back((self.now.after(after), WorldEvent::Completed { op, outcome }));
    }

    fn close(&mut self, _op: OpId) {}

    fn advance(&mut self, until: Time) -> WorldEvent {
        let first = self.pending.iter().enumerate().min_by_key(|(place, (at, _))| (*at, *place));
        let due = first.filter(|(_, (at, _))| *at <= until).map(|(place, _)| place);
        let Some((at, event)) = due.and_then(|place| self.pending.remove(place)) else {
            self.now = until;
            return WorldEvent::Reached;
        };
        self.now = self.now.max(at);
        if let WorldEvent::Exited { member, exit } = &event {
            self.puppets[*member].running = false;
            let line = exit.reason.clone();
            self.puppets[*member].log.push(line);
        }
        self.note(format!("{event:?}"));
        event
    }

    fn trace_hash(&self) -> Option<u64> {
        let text = self.trace.join("\n");
        Some(text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    fn trace(&self) -> Vec<String> {
        self.trace.clone()
    }
}
