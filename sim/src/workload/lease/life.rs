//! The plan of one lease's life, drawn before it begins: what is done, and how long after what was
//! done before. What happens may cut it short.

use std::collections::VecDeque;

use detsim_reports::record::Blob;
use rand_chacha::ChaCha8Rng;

use crate::seed::Draw;
use crate::workload::pool::Pool;

/// How long a slot waits before a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// The pause between operations.
    Short,
    /// About a third of the time to live.
    Third,
    /// About the time to live, so that it is open whether the lease still exists.
    Brink,
    /// Until the lease should have expired, or a little longer.
    Over,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The lease begins.
    Grant {
        ttl_s: i64,
        is_automatic: bool,
    },
    /// A second one, to move keys to.
    GrantSecond {
        ttl_s: i64,
    },
    /// The same id again: refused while the lease exists.
    GrantAgain,
    Attach(Blob),
    /// In one transaction.
    AttachAll(Vec<Blob>),
    /// Puts the key without a lease.
    Detach(Blob),
    /// Puts the key with the second lease, or somebody's.
    Move(Blob),
    /// Puts the key with the lease that it has.
    Retain(Blob),
    Delete(Blob),
    Renew,
    Look {
        keys: bool,
    },
    List,
    /// Reads all keys of the slot.
    Read,
    Revoke,
    RevokeSecond,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// After this,
    pub pause: Pause,
    /// that.
    pub act: Act,
}

/// Draws a life, and what is done when it is over.
pub(super) fn draw(
    ttl_s: (u64, u64),
    renewals: u64,
    keys: &Pool,
    stream: &mut ChaCha8Rng,
) -> (VecDeque<Step>, VecDeque<Step>) {
    let mut life = Life { steps: VecDeque::new(), keys, ttl_s, stream };
    let has_second = life.begin();
    for _ in 0..life.stream.below(renewals + 1) {
        life.renew();
    }
    let pause = life.end();
    let steps = std::mem::take(&mut life.steps);
    life.look_back(pause, has_second);
    (steps, life.steps)
}

struct Life<'a> {
    steps: VecDeque<Step>,
    keys: &'a Pool,
    ttl_s: (u64, u64),
    stream: &'a mut ChaCha8Rng,
}

impl Life<'_> {
    fn then(&mut self, act: Act) {
        self.steps.push_back(Step { pause: Pause::Short, act });
    }

    fn later(&mut self, pause: Pause, act: Act) {
        self.steps.push_back(Step { pause, act });
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.stream.below(n) == 0
    }

    /// The shorter of two, so that a run sees many lives; sometimes less than a lease can have.
    fn ttl_s(&mut self) -> i64 {
        let (low, high) = self.ttl_s;
        let shorter = self.stream.within(low..=high).min(self.stream.within(low..=high));
        let is_too_short = self.one_in(12);
        if is_too_short { self.stream.below(2) as i64 } else { shorter as i64 }
    }

    /// Grants and attaches. Tells whether there is a second lease.
    fn begin(&mut self) -> bool {
        let (ttl_s, is_automatic) = (self.ttl_s(), self.one_in(5));
        self.then(Act::Grant { ttl_s, is_automatic });
        if self.one_in(16) {
            self.then(Act::GrantAgain);
        }
        let has_second = self.one_in(3);
        if has_second {
            let ttl_s = self.ttl_s();
            self.then(Act::GrantSecond { ttl_s });
        }
        let mut keys: Vec<Blob> = Vec::new();
        for _ in 0..1 + self.stream.below(self.keys.keys()) {
            let key = self.keys.key(self.stream);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if self.one_in(3) {
            self.then(Act::AttachAll(keys));
        } else {
            for key in keys {
                self.then(Act::Attach(key));
            }
        }
        has_second
    }

    /// Renews once, and then perhaps looks or changes something.
    fn renew(&mut self) {
        let pause = if self.one_in(10) { Pause::Brink } else { Pause::Third };
        self.later(pause, Act::Renew);
        if self.one_in(3) {
            let keys = !self.one_in(4);
            self.then(Act::Look { keys });
        }
        if self.one_in(6) {
            self.then(Act::List);
        }
        if self.one_in(4) {
            self.then(Act::Read);
        }
        if self.one_in(3) {
            let key = self.keys.key(self.stream);
            let act = match self.stream.below(8) {
                0 | 1 => Act::Detach(key),
                2..5 => Act::Move(key),
                5 => Act::Retain(key),
                6 => Act::Delete(key),
                _ => Act::Attach(key),
            };
            self.then(act);
        }
    }

    /// Revokes, lets expire, or forgets. Tells how long to wait then.
    fn end(&mut self) -> Pause {
        match self.stream.below(10) {
            0..4 => {
                self.then(Act::Revoke);
                Pause::Short
            }
            4..9 => Pause::Over,
            _ => Pause::Short,
        }
    }

    /// Reads what is left.
    fn look_back(&mut self, pause: Pause, has_second: bool) {
        self.later(pause, Act::Read);
        self.then(Act::Look { keys: true });
        if has_second && self.one_in(2) {
            self.then(Act::RevokeSecond);
            self.then(Act::Read);
        }
    }
}
