//! A contender: it opens a session, takes its place, waits until those before it are gone, makes
//! use of what it won, and leaves.
//!
//! The session's lease is kept alive by the keeper beside it, unless the contender is careless:
//! then nobody keeps it, the contender rests long enough to lose it, and goes on writing until a
//! fence stops it. What fails for want of a leader is tried again, as an operation of its own.

use std::time::Duration;

use detsim_reports::record::{
    Blob, Body, Call, KeyValue, Operation, Outcome, Put, TxnOpReply, TxnReply, WatchMessage,
};
use rand_chacha::ChaCha8Rng;

use super::recipe::{self, Recipe, Token};
use crate::seed::Draw;
use crate::workload::author::Author;
use crate::workload::lease::{Held, granted, is_missing};
use crate::workload::{Clients, wake_within, whom};

/// How often an operation is tried again before the contender gives its session up.
const REPEATS_MAX: u32 = 5;
/// Between a failure and the next try.
const AFTER_FAILURE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// How much longer than its lease a careless contender rests.
const TOO_LONG: Duration = Duration::from_secs(2);

/// What contenders have in common.
#[derive(Clone, Debug)]
pub(super) struct Habits {
    pub recipe: Recipe,
    pub prefix: String,
    /// How many contests there are.
    pub contests: u64,
    pub ttl_s: (u64, u64),
    pub pause: (Duration, Duration),
    /// How long one waits for its turn.
    pub patience: (Duration, Duration),
    /// How often one writes at most before it leaves.
    pub writes: u64,
    pub careless_per_10k: u32,
}

/// Where a contender is; each is what it does next, or is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Opens a session.
    Grant,
    /// Takes its place.
    Enter,
    /// Looks for the one before it.
    Look,
    /// Waits for that one to go: by a watch, or by looking again.
    Wait { revision: i64, watches: bool },
    /// Sees whether its own place is still there.
    Confirm,
    /// Makes use of what it won, so many times more.
    Hold { left: u64 },
    /// Gives its place up.
    Leave,
    /// Ends its session.
    Revoke,
}

/// A contender. Its session is seen by its keeper too.
pub(super) struct Contender {
    author: Author,
    stage: Stage,
    /// The contest's name.
    name: String,
    /// What the contender's key was put with.
    value: Blob,
    token: Option<Token>,
    /// The one to wait for.
    before: Option<Blob>,
    lease: Option<Held>,
    is_careless: bool,
    /// The keeper was told that the lease is gone.
    is_lost: bool,
    has_watch: bool,
    has_patience: bool,
    repeats: u32,
}

impl Contender {
    /// One that has not begun.
    pub fn new(habits: &Habits, slot: usize) -> Contender {
        Contender {
            author: Author::new(&habits.prefix, slot),
            stage: Stage::Grant,
            name: String::new(),
            value: Blob::default(),
            token: None,
            before: None,
            lease: None,
            is_careless: false,
            is_lost: false,
            has_watch: false,
            has_patience: true,
            repeats: 0,
        }
    }

    /// The lease that the keeper is to renew.
    pub fn kept(&self) -> Option<Held> {
        self.lease.filter(|_| !self.is_careless && !self.is_lost)
    }

    /// The keeper heard that the lease is gone.
    pub fn lose(&mut self, lease: i64) {
        self.is_lost |= self.lease.is_some_and(|held| held.id == lease);
    }

    /// The timer rang.
    pub fn woken(&mut self, slot: usize, habits: &Habits, clients: &mut dyn Clients) {
        if self.has_watch {
            self.has_patience = false;
            clients.close(slot);
            return;
        }
        let call = self.call(habits, clients.stream(slot));
        let member = whom(slot, clients);
        if matches!(call, Call::Watch(_)) {
            self.has_watch = true;
            wake_within(slot, habits.patience, clients);
        }
        clients.invoke(slot, member, call);
    }

    /// The watch received something: when the one before is gone, it has served.
    pub fn watched(&mut self, slot: usize, message: &WatchMessage, clients: &mut dyn Clients) {
        if message.events.iter().any(|event| event.is_delete) {
            clients.close(slot);
        }
    }

    /// An operation ended. The next one follows.
    pub fn completed(
        &mut self,
        slot: usize,
        operation: &Operation,
        outcome: &Outcome,
        habits: &Habits,
        clients: &mut dyn Clients,
    ) {
        self.has_watch = false;
        let is_settled = self.learn(&operation.call, outcome, habits, clients.stream(slot));
        if is_settled {
            self.repeats = 0;
        } else {
            self.repeats += 1;
            if self.repeats > REPEATS_MAX {
                self.begin_again();
            }
        }
        let is_watching = matches!(self.stage, Stage::Wait { watches: true, .. });
        let (low, high) = match self.lease {
            _ if !is_settled => AFTER_FAILURE,
            Some(held) if self.is_careless && matches!(self.stage, Stage::Hold { left: 1 }) => {
                let ttl = Duration::from_secs(held.ttl_s as u64);
                (ttl, ttl + TOO_LONG)
            }
            _ if is_watching => (Duration::ZERO, Duration::from_millis(1)),
            _ => habits.pause,
        };
        wake_within(slot, (low, high), clients);
    }

    fn begin_again(&mut self) {
        self.stage = Stage::Grant;
        (self.token, self.lease, self.is_lost) = (None, None, false);
        (self.repeats, self.has_patience) = (0, true);
    }

    fn call(&mut self, habits: &Habits, stream: &mut ChaCha8Rng) -> Call {
        let lease = self.lease.map_or(0, |held| held.id);
        match (self.stage, &self.token) {
            (Stage::Enter, _) => {
                recipe::enter(habits.recipe, &self.name, lease, self.value.clone())
            }
            (Stage::Look, Some(token)) => recipe::predecessor(&self.name, token),
            (Stage::Wait { revision, watches }, Some(token)) => match &self.before {
                Some(key) if watches => recipe::await_change(key, revision),
                _ => recipe::predecessor(&self.name, token),
            },
            (Stage::Confirm, Some(token)) => Call::Range(recipe::get(&token.key)),
            (Stage::Hold { .. }, Some(token)) => {
                let token = token.clone();
                self.write(&token, lease, habits.recipe, stream)
            }
            (Stage::Leave, Some(token)) => recipe::leave(habits.recipe, token),
            (Stage::Revoke, _) => Call::LeaseRevoke { id: lease },
            _ => self.grant(habits, stream),
        }
    }

    fn grant(&mut self, habits: &Habits, stream: &mut ChaCha8Rng) -> Call {
        self.begin_again();
        self.name = format!("{}{}", habits.prefix, stream.below(habits.contests.max(1)));
        self.is_careless = stream.chance_per_10k(habits.careless_per_10k);
        self.value = match habits.recipe {
            Recipe::Lock => Blob::default(),
            Recipe::Election => self.author.value(0),
        };
        let ttl_s = stream.within(habits.ttl_s.0..=habits.ttl_s.1) as i64;
        Call::LeaseGrant { id: self.author.lease(), ttl_s }
    }

    /// What is done with what was won.
    fn write(
        &mut self,
        token: &Token,
        lease: i64,
        recipe: Recipe,
        stream: &mut ChaCha8Rng,
    ) -> Call {
        let value = self.author.value(0);
        let shared = |what: &str| Blob::text(&format!("{}-{what}", self.name));
        match recipe {
            Recipe::Election => {
                let put = Put { key: token.key.clone(), value, lease, ..Put::default() };
                recipe::fenced(token, put)
            }
            Recipe::Lock => match stream.below(10) {
                0..6 => {
                    let put = Put { key: shared("guarded"), value, ..Put::default() };
                    recipe::fenced(token, put)
                }
                6..8 => Call::Put(Put { key: shared("open"), value, ..Put::default() }),
                _ => Call::Range(recipe::get(&shared("guarded"))),
            },
        }
    }

    /// Takes in how an operation ended. Whether that settled it: if not, it is tried again.
    fn learn(
        &mut self,
        call: &Call,
        outcome: &Outcome,
        habits: &Habits,
        stream: &mut ChaCha8Rng,
    ) -> bool {
        if is_missing(outcome) || (self.is_lost && !self.is_careless) {
            self.begin_again();
            return true;
        }
        let body = match outcome {
            Outcome::Ok(reply) => Some((&reply.body, reply.header.revision)),
            _ => None,
        };
        match (self.stage, body) {
            (Stage::Grant, _) => {
                self.lease = granted(call, outcome).filter(|_| body.is_some());
                if self.lease.is_some() {
                    self.stage = Stage::Enter;
                }
                return self.lease.is_some();
            }
            (Stage::Enter, Some((Body::Txn(reply), revision))) => {
                self.entered(reply, revision, habits, stream);
            }
            (Stage::Look | Stage::Wait { .. }, _) if !self.has_patience => {
                self.stage = Stage::Leave;
            }
            (Stage::Look | Stage::Wait { .. }, Some((Body::Range(reply), revision))) => {
                self.met(reply.kvs.first(), revision, habits, stream);
            }
            (Stage::Wait { watches: true, .. }, _) => self.stage = Stage::Look,
            (Stage::Confirm, Some((Body::Range(reply), _))) => {
                let own = self.token.as_ref().map(|token| token.create_revision);
                if reply.kvs.first().map(|kv| kv.create_revision) == own {
                    self.stage = Stage::Hold { left: 1 + stream.below(habits.writes.max(1)) };
                } else {
                    self.begin_again();
                }
            }
            (Stage::Hold { left }, _) => {
                let is_stopped = matches!(body, Some((Body::Txn(reply), _)) if !reply.succeeded);
                match left {
                    _ if is_stopped => self.begin_again(),
                    0 | 1 => self.stage = Stage::Leave,
                    left => self.stage = Stage::Hold { left: left - 1 },
                }
            }
            (Stage::Leave, Some(_)) => {
                (self.token, self.has_patience) = (None, true);
                let stays = stream.below(2) == 0 && !self.is_careless;
                self.stage = if stays { Stage::Enter } else { Stage::Revoke };
            }
            (Stage::Revoke, Some(_)) => self.begin_again(),
            _ => return false,
        }
        true
    }

    /// The place is taken, now or before; a lock tells at once whether nobody is before it.
    fn entered(
        &mut self,
        reply: &TxnReply,
        revision: i64,
        habits: &Habits,
        stream: &mut ChaCha8Rng,
    ) {
        let key = recipe::contender(&self.name, self.lease.map_or(0, |held| held.id));
        let first = |place: usize| match reply.responses.get(place) {
            Some(TxnOpReply::Range { reply, .. }) => reply.kvs.first(),
            _ => None,
        };
        let create_revision = first(0).map_or(revision, |kv| kv.create_revision);
        let owns = first(1).is_some_and(|kv| kv.key == key);
        (self.token, self.before) = (Some(Token { key, create_revision }), None);
        self.stage = Stage::Look;
        if owns {
            self.met(None, revision, habits, stream);
        }
    }

    /// Who came before is known: either one's turn has come, or one waits.
    fn met(
        &mut self,
        before: Option<&KeyValue>,
        revision: i64,
        habits: &Habits,
        stream: &mut ChaCha8Rng,
    ) {
        self.stage = match before {
            Some(kv) => {
                self.before = Some(kv.key.clone());
                Stage::Wait { revision, watches: stream.below(3) != 0 }
            }
            None if self.before.is_some() && habits.recipe == Recipe::Lock => Stage::Confirm,
            None => Stage::Hold { left: 1 + stream.below(habits.writes.max(1)) },
        };
    }
}
