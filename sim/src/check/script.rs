//! Histories written by hand, for tests: operations are invoked and end at given microseconds.

use detsim_reports::record::{
    Blob, Body, Call, ClientId, Command, Committed, Header, History, Incident, Internals, KeyValue,
    MemberName, OpId, Operation, Outcome, Put, Range, RangeReply, Reply, Restored, Time,
    WatchMessage, Watched,
};

/// A history, and the log beside it.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    pub history: History,
    pub internals: Internals,
}

/// Microseconds since the run began.
pub(super) fn us(at: u64) -> Time {
    Time(at * 1_000)
}

impl Script {
    /// With three members, `n1` to `n3`.
    pub fn new() -> Script {
        let mut script = Script::default();
        script.history.members =
            ["n1", "n2", "n3"].map(|name| MemberName(name.to_owned())).to_vec();
        script
    }

    /// A new client invokes a call through a member.
    pub fn invoke_at(&mut self, member: usize, at: u64, call: Call) -> OpId {
        let id = OpId(self.history.operations.len() as u32);
        self.history.operations.push(Operation {
            id,
            client: ClientId(id.0),
            member,
            invoked: us(at),
            call,
            completed: Time::NEVER,
            outcome: None,
        });
        self.history.ended = self.history.ended.max(us(at));
        id
    }

    /// A new client invokes a call through the first member.
    pub fn invoke(&mut self, at: u64, call: Call) -> OpId {
        self.invoke_at(0, at, call)
    }

    /// An operation ends.
    pub fn end(&mut self, op: OpId, at: u64, outcome: Outcome) {
        let operation = &mut self.history.operations[op.0 as usize];
        operation.completed = us(at);
        operation.outcome = Some(outcome);
        self.history.ended = self.history.ended.max(us(at));
    }

    /// An operation is answered.
    pub fn answer(&mut self, op: OpId, at: u64, revision: i64, body: Body) {
        let member_id = self.history.operations[op.0 as usize].member as u64 + 1;
        let header = Header { cluster_id: 1, member_id, revision, raft_term: 2 };
        self.end(op, at, Outcome::Ok(Reply { header, body }));
    }

    /// An operation fails for certain.
    pub fn fail(&mut self, op: OpId, at: u64, text: &str) {
        self.end(op, at, Outcome::Fail(text.to_owned()));
    }

    /// An operation's outcome stays unknown.
    pub fn unknown(&mut self, op: OpId, at: u64) {
        self.end(op, at, Outcome::Unknown("context deadline exceeded".to_owned()));
    }

    /// A call, invoked and answered.
    pub fn ok(&mut self, from: u64, to: u64, call: Call, revision: i64, body: Body) -> OpId {
        let op = self.invoke(from, call);
        self.answer(op, to, revision, body);
        op
    }

    /// An acknowledged put without previous value.
    pub fn put(&mut self, from: u64, to: u64, key: &str, value: &str, revision: i64) -> OpId {
        self.ok(from, to, put(key, value), revision, Body::Put { prev_kv: None })
    }

    /// An acknowledged get of one key.
    pub fn get(
        &mut self,
        from: u64,
        to: u64,
        key: &str,
        found: Option<KeyValue>,
        rev: i64,
    ) -> OpId {
        self.ok(from, to, get(key), rev, found_one(found))
    }

    /// The next log entry.
    pub fn entry(&mut self, at: u64, command: Command, op: Option<OpId>) {
        let index = self.internals.committed.len() as u64 + 1;
        let entry = Committed { at: us(at), cluster: 1, era: 0, index, term: 2, command, op };
        self.internals.committed.push(entry);
    }

    /// The operation's call as the next log entry.
    pub fn log(&mut self, at: u64, op: OpId) {
        let call = self.history.operations[op.0 as usize].call.clone();
        self.entry(at, Command::Client(call), Some(op));
    }

    /// A snapshot is saved that claims a revision and an index. Nobody says whose.
    pub fn save(&mut self, from: u64, to: u64, revision: i64, index: u64) -> OpId {
        let save = self.invoke(from, Call::Snapshot { into: "monday".to_owned() });
        let body = Body::Snapshot { size_bytes: 1, version: String::new(), revision, index };
        self.end(save, to, Outcome::Ok(Reply { header: Header::default(), body }));
        save
    }

    /// All members are restored from a snapshot.
    pub fn restore(&mut self, at: u64, saved: OpId, bumped: i64) {
        let entered = (0..self.history.members.len()).map(|member| (member, us(at))).collect();
        self.history.restored = vec![Restored { saved, bumped, founders: 1, entered }];
    }

    /// The next entry of the restored cluster's log.
    pub fn restored_entry(&mut self, at: u64, command: Command, op: Option<OpId>) {
        let committed = &mut self.internals.committed;
        let index = committed.iter().filter(|entry| entry.era == 1).count() as u64 + 1;
        committed.push(Committed { at: us(at), cluster: 1, era: 1, index, term: 1, command, op });
    }

    /// The first entry of the restored cluster's log: its only founder.
    pub fn founded(&mut self, at: u64) {
        let command = Command::ConfChange { what: "add 1".to_owned(), change: None };
        self.restored_entry(at, command, None);
    }

    /// A watch receives a message.
    pub fn watched(&mut self, op: OpId, at: u64, message: WatchMessage) {
        self.history.watched.push(Watched { op, at: us(at), message });
        self.history.ended = self.history.ended.max(us(at));
    }

    /// The harness did something.
    pub fn incident(&mut self, at: u64, member: usize, what: &str) {
        self.history.incidents.push(Incident::plain(us(at), vec![member], what));
    }
}

/// A put.
pub(super) fn put(key: &str, value: &str) -> Call {
    Call::Put(Put { key: Blob::text(key), value: Blob::text(value), ..Put::default() })
}

/// A get of one key.
pub(super) fn get(key: &str) -> Call {
    Call::Range(Range { key: Blob::text(key), ..Range::default() })
}

/// A range's body with at most one key.
pub(super) fn found_one(found: Option<KeyValue>) -> Body {
    let count = i64::from(found.is_some());
    Body::Range(RangeReply { kvs: found.into_iter().collect(), more: false, count })
}

/// A key with its counters.
pub(super) fn kv(key: &str, value: &str, create: i64, modified: i64, version: i64) -> KeyValue {
    KeyValue {
        key: Blob::text(key),
        value: Blob::text(value),
        create_revision: create,
        mod_revision: modified,
        version,
        lease: 0,
    }
}
