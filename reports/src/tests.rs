//! Records written by hand, for tests: a healthy run, and one with a stale read while members fail.

use crate::record::{
    Applied, Blob, Body, Call, CheckReport, ClientId, Command, Committed, DeleteRange, Effect,
    Fault, FaultKind, Finding, Header, Incident, Internals, KeyValue, Mark, MemberName, OpId,
    Operation, Outcome, Put, RaftRole, RaftState, Range, RangeReply, Reply, RunRecord, Severity,
    Time, Verdict,
};

/// Milliseconds since the run began.
pub fn ms(at: u64) -> Time {
    Time(at * 1_000_000)
}

/// A record whose history grows call by call; times are milliseconds.
pub struct History {
    /// What is there so far.
    pub run: RunRecord,
}

impl History {
    /// An empty run of members `n1`, `n2` and so on.
    pub fn new(members: usize) -> History {
        let members = (1..=members).map(|place| MemberName(format!("n{place}"))).collect();
        let history = crate::record::History { members, ..Default::default() };
        let run = RunRecord {
            scenario: "operations/quiet".to_owned(),
            seed: 1,
            world: "loop".to_owned(),
            verdict: Verdict::Passed,
            signature: String::new(),
            findings: Vec::new(),
            expected: Vec::new(),
            reason: String::new(),
            trace_hash: Some(0xdead_beef),
            simulated_ns: 0,
            cpu_ns: 0,
            operations: 0,
            checked: Vec::new(),
            not_checked: Vec::new(),
            plan: String::new(),
            checks: Vec::new(),
            history,
            internals: Internals::default(),
        };
        History { run }
    }

    pub fn invoke(&mut self, client: u32, member: usize, at: u64, call: Call) -> OpId {
        let id = OpId(self.run.history.operations.len() as u32);
        self.run.history.operations.push(Operation {
            id,
            client: ClientId(client),
            member,
            invoked: ms(at),
            call,
            completed: Time::NEVER,
            outcome: None,
        });
        self.reach(at);
        id
    }

    fn reach(&mut self, at: u64) {
        self.run.history.ended = self.run.history.ended.max(ms(at));
        self.run.simulated_ns = self.run.history.ended.0;
        self.run.operations = self.run.history.operations.len() as u64;
    }

    pub fn put(&mut self, client: u32, at: u64, key: &str, value: &str) -> OpId {
        let put = Put { key: Blob::text(key), value: Blob::text(value), ..Put::default() };
        let member = client as usize % self.run.history.members.len();
        self.invoke(client, member, at, Call::Put(put))
    }

    pub fn get(&mut self, client: u32, at: u64, key: &str) -> OpId {
        let range = Range { key: Blob::text(key), ..Range::default() };
        let member = client as usize % self.run.history.members.len();
        self.invoke(client, member, at, Call::Range(range))
    }

    pub fn delete(&mut self, client: u32, at: u64, key: &str, end: &str) -> OpId {
        let (key, range_end) = (Blob::text(key), Blob::text(end));
        let member = client as usize % self.run.history.members.len();
        let call = Call::DeleteRange(DeleteRange { key, range_end, prev_kv: false });
        self.invoke(client, member, at, call)
    }

    pub fn end(&mut self, op: OpId, at: u64, outcome: Outcome) {
        let operation = &mut self.run.history.operations[op.0 as usize];
        operation.completed = ms(at);
        operation.outcome = Some(outcome);
        self.reach(at);
    }

    pub fn answer(&mut self, op: OpId, at: u64, revision: i64, body: Body) {
        let header = Header { cluster_id: 9, member_id: 1, revision, raft_term: 2 };
        self.end(op, at, Outcome::Ok(Reply { header, body }));
    }

    pub fn wrote(&mut self, op: OpId, at: u64, revision: i64) {
        self.answer(op, at, revision, Body::Put { prev_kv: None });
    }

    pub fn deleted(&mut self, op: OpId, at: u64, revision: i64, deleted: i64) {
        self.answer(op, at, revision, Body::DeleteRange { deleted, prev_kvs: Vec::new() });
    }

    pub fn unknown(&mut self, op: OpId, at: u64) {
        self.end(op, at, Outcome::Unknown("context deadline exceeded".to_owned()));
    }

    /// A read that saw a value and the revision that wrote it, or nothing.
    pub fn read(&mut self, op: OpId, at: u64, revision: i64, key: &str, saw: Option<(&str, i64)>) {
        let kv = |(value, mod_revision): (&str, i64)| KeyValue {
            key: Blob::text(key),
            value: Blob::text(value),
            create_revision: 2,
            mod_revision,
            version: mod_revision - 1,
            lease: 0,
        };
        let kvs: Vec<KeyValue> = saw.map(kv).into_iter().collect();
        let count = kvs.len() as i64;
        self.answer(op, at, revision, Body::Range(RangeReply { kvs, more: false, count }));
    }

    pub fn incident(&mut self, at: u64, members: &[usize], what: &str) {
        self.marked(at, members, what, Vec::new());
    }

    pub fn marked(&mut self, at: u64, members: &[usize], what: &str, marks: Vec<Mark>) {
        let incident = Incident { marks, ..Incident::plain(ms(at), members.to_vec(), what) };
        self.run.history.incidents.push(incident);
        self.reach(at);
    }

    pub fn starts(&mut self, at: u64, members: &[usize], what: &str) {
        let marks = members.iter().map(|place| Mark::Started(*place)).collect();
        self.marked(at, members, what, marks);
    }

    pub fn stops(&mut self, at: u64, members: &[usize], what: &str) {
        let marks = members.iter().map(|place| Mark::Ended(*place)).collect();
        self.marked(at, members, what, marks);
    }

    pub fn begins(&mut self, at: u64, (id, kind): (u32, FaultKind), on: &[usize], what: &str) {
        let fault = Fault { id, kind, members: on.to_vec(), links: Vec::new() };
        self.marked(at, on, what, vec![Mark::Begins(fault)]);
    }

    pub fn ends(&mut self, at: u64, faults: &[u32], what: &str) {
        let end = |fault: &u32| Mark::Ends { fault: *fault, effect: Effect::new() };
        self.marked(at, &[], what, faults.iter().map(end).collect());
    }

    pub fn raft(&mut self, at: u64, member: usize, role: RaftRole, term: u64, leader: u64) {
        self.raft_again(at, member, 0, role, term, leader);
    }

    pub fn raft_again(
        &mut self,
        at: u64,
        member: usize,
        incarnation: u32,
        role: RaftRole,
        term: u64,
        leader: u64,
    ) {
        let identity = member as u64 + 1;
        self.run.internals.raft.push(RaftState {
            at: ms(at),
            cluster: 9,
            member,
            identity,
            incarnation,
            term,
            vote: 0,
            role,
            leader,
            commit: 1,
            last_index: 1,
        });
    }

    /// An entry that was committed and took the store to a revision.
    pub fn entry(&mut self, at: u64, index: u64, term: u64, revision: i64, op: Option<OpId>) {
        let call = op.map(|op| self.run.history.operations[op.0 as usize].call.clone());
        let command = call.map_or(Command::TermStart, Command::Client);
        let (at, cluster) = (ms(at), 9);
        self.run.internals.committed.push(Committed {
            at,
            cluster,
            era: 0,
            index,
            term,
            command,
            op,
        });
        self.run.internals.applied.push(Applied {
            at,
            cluster,
            member: 0,
            incarnation: 0,
            index,
            term,
            revision,
            digest: 0,
        });
    }
}

/// A write and a read, and nothing wrong.
pub fn healthy() -> RunRecord {
    let mut history = History::new(1);
    history.starts(0, &[0], "start n1");
    let put = history.put(0, 1_000, "k", "v");
    history.wrote(put, 1_010, 2);
    let get = history.get(0, 1_020, "k");
    history.read(get, 1_025, 2, "k", Some(("v", 2)));
    history.run.history.ended = ms(10_000);
    history.run.simulated_ns = ms(10_000).0;
    history.run.checked = vec!["linearizability: 2 operations by witness".to_owned()];
    history.run
}

/// Three members; the leader is cut off, another one is killed and comes back; the old leader
/// answers a read with what was overwritten meanwhile.
pub fn stale_read() -> RunRecord {
    use RaftRole::{Candidate, Follower, Leader};
    let mut history = History::new(3);
    history.starts(0, &[0, 1, 2], "start n1 n2 n3");
    for member in 0..3 {
        history.raft(10, member, Follower, 1, 0);
    }
    history.raft(1_000, 0, Candidate, 2, 0);
    history.raft(1_100, 0, Leader, 2, 1);
    history.raft(1_110, 1, Follower, 2, 1);
    history.raft(1_110, 2, Follower, 2, 1);
    let first = history.put(0, 2_000, "x", "1");
    history.wrote(first, 2_020, 2);
    let before = history.get(3, 2_500, "x");
    history.read(before, 2_510, 2, "x", Some(("1", 2)));
    history.begins(3_000, (0, FaultKind::Cut), &[0, 1, 2], "cut n1 | n2 n3");
    history.raft(4_200, 1, Candidate, 3, 0);
    history.raft(4_230, 1, Leader, 3, 2);
    history.raft(4_240, 2, Follower, 3, 2);
    let second = history.put(1, 5_000, "x", "2");
    history.wrote(second, 5_030, 3);
    let fresh = history.get(1, 5_100, "x");
    history.read(fresh, 5_110, 3, "x", Some(("2", 3)));
    let stale = history.get(3, 6_000, "x");
    history.read(stale, 6_004, 2, "x", Some(("1", 2)));
    let lost = history.put(6, 6_100, "x", "3");
    history.unknown(lost, 11_100);
    history.stops(7_000, &[2], "kill n3");
    history.starts(8_000, &[2], "start n3");
    history.raft_again(8_050, 2, 1, Follower, 3, 2);
    history.ends(9_000, &[0], "heal n1 | n2 n3");
    history.raft(9_100, 0, Follower, 3, 2);
    history.incident(12_000, &[], "heal");
    history.entry(1_120, 2, 2, 1, None);
    history.entry(2_015, 3, 2, 2, Some(first));
    history.entry(5_025, 4, 3, 3, Some(second));
    let mut run = history.run;
    run.history.healed = Some(ms(9_000));
    run.scenario = "partition/leader-isolated".to_owned();
    run.seed = 7;
    run.cpu_ns = 250_000_000;
    run.verdict = Verdict::Safety;
    run.signature = "linearizability/stale-read".to_owned();
    run.findings = vec![Finding {
        checker: "linearizability".to_owned(),
        rule: "stale-read".to_owned(),
        severity: Severity::Safety,
        explanation: "op 4 (get \"x\") saw revision 2, though op 2 (put \"x\"=\"2\") was \
                      acknowledged at revision 3 before it began"
            .to_owned(),
        operations: vec![second, stale],
        members: vec![0],
        at: ms(6_004),
    }];
    run.checked = vec!["linearizability: 6 operations by search".to_owned()];
    run.not_checked = vec!["watch: the history holds no watch".to_owned()];
    run.checks = vec![CheckReport { checker: "linearizability".to_owned(), ..Default::default() }];
    run.plan = "seed 7\ncluster n1 n2 n3\nstart all\n".to_owned();
    run
}
