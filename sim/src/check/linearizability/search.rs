//! Search for a linear order, after Wing, Gong and Lowe: depth first over the operations that real
//! time allows next, on a list of calls and returns from which placed operations are lifted, with
//! the reached states remembered.
//!
//! Three facts keep it short. An operation that fits and changes nothing can be placed at once. A
//! reply names the revision that it met, so that the state never has to pass a revision that an
//! unplaced operation still needs. And an operation of unknown outcome matters only where a
//! revision is missing, or where it changes a lease or the compaction that an operation at hand
//! objects to; what is likeliest is tried first.
//!
//! A set of placed operations and a state are told apart by 128-bit sums.

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::{Blob, Time};

use super::items::{Claim, Item, Items, puts, resource, touches};
use super::observed::Observed;
use crate::check::agreement::Disagreement;
use crate::model::{Mark, Model};

/// How a search ended.
pub(super) enum Found {
    /// An order: places in `required`, and from its length on in `optional`.
    Order(Vec<usize>),
    /// There is none. This is as far as any went.
    Nothing(Obstacle),
    /// The bound on steps was reached.
    OutOfSteps,
}

/// Where the best attempt ended.
#[derive(Clone, Debug)]
pub(super) struct Obstacle {
    /// How many operations it had placed.
    pub placed: usize,
    /// The operation that real time wanted next, a place in `required`; `None` when all were placed
    /// and something seen was still unexplained.
    pub item: Option<usize>,
    /// Why that could not be.
    pub objection: Disagreement,
    /// The operation that was placed last, if any.
    pub last: Option<usize>,
}

/// Searches for an order of the items that explains every reply, in at most `steps` steps.
pub(super) fn search(
    items: &Items<'_>,
    model: Model,
    observed: Option<&Observed>,
    steps: &mut u64,
) -> Found {
    Search::new(items, model, observed).run(steps)
}

/// The end of the list of calls and returns, which is also its beginning.
const END: usize = 0;

/// A call or a return in the list.
#[derive(Clone, Copy)]
struct Node {
    previous: usize,
    next: usize,
    item: usize,
    is_return: bool,
    at: Time,
}

/// A placed operation.
struct Step {
    item: usize,
    mark: Mark,
    /// The sums before it.
    sums: (u128, u128),
}

/// A state with several continuations.
struct Choice {
    /// How many steps lead to it.
    steps: usize,
    due: usize,
    /// What is still to be tried, the next one last.
    untried: Vec<usize>,
}

struct Search<'a> {
    items: &'a Items<'a>,
    observed: Option<&'a Observed>,
    model: Model,
    nodes: Vec<Node>,
    /// The nodes of each required item's call and return.
    ends: Vec<(usize, usize)>,
    /// Required items by the highest revision that they may meet, those that must go first first.
    by_due: Vec<usize>,
    /// All before this in `by_due` are placed.
    due: usize,
    is_placed: Vec<bool>,
    /// Optional items that may put a key.
    putters: BTreeMap<&'a Blob, Vec<usize>>,
    /// Required items not yet placed.
    left: usize,
    path: Vec<Step>,
    choices: Vec<Choice>,
    /// Sum over the placed operations, and over their effects.
    sums: (u128, u128),
    visited: BTreeSet<(u128, u128)>,
    obstacle: Option<Obstacle>,
}

impl<'a> Search<'a> {
    fn new(items: &'a Items<'a>, model: Model, observed: Option<&'a Observed>) -> Search<'a> {
        let count = items.required.len();
        let (nodes, ends) = calls_and_returns(&items.required);
        let mut by_due: Vec<usize> = (0..count).collect();
        by_due.sort_by_key(|&item| items.required[item].met.1);
        let mut putters: BTreeMap<&Blob, Vec<usize>> = BTreeMap::new();
        for (place, item) in items.optional.iter().enumerate() {
            puts(&item.call, &mut |key| putters.entry(key).or_default().push(count + place));
        }
        Search {
            items,
            observed,
            model,
            nodes,
            ends,
            by_due,
            due: 0,
            is_placed: vec![false; count + items.optional.len()],
            putters,
            left: count,
            path: Vec::with_capacity(count),
            choices: Vec::new(),
            sums: (0, 0),
            visited: BTreeSet::new(),
            obstacle: None,
        }
    }

    fn item(&self, item: usize) -> &'a Item<'a> {
        let count = self.items.required.len();
        match item.checked_sub(count) {
            Some(place) => &self.items.optional[place],
            None => &self.items.required[item],
        }
    }

    fn run(mut self, steps: &mut u64) -> Found {
        loop {
            let mut next = Vec::new();
            if self.is_alive() {
                self.place_all_without_effect(steps);
                if self.is_done() {
                    return Found::Order(self.path.into_iter().map(|step| step.item).collect());
                }
                if self.visited.insert(self.sums) {
                    next = self.continuations(steps);
                }
            }
            if *steps == 0 {
                return Found::OutOfSteps;
            }
            match next.pop() {
                Some(item) => {
                    if !next.is_empty() {
                        let (steps, due) = (self.path.len(), self.due);
                        self.choices.push(Choice { steps, due, untried: next });
                    }
                    self.place(item);
                }
                None => {
                    if !self.go_back() {
                        let obstacle = self.obstacle.expect("the first state has an obstacle");
                        return Found::Nothing(obstacle);
                    }
                }
            }
        }
    }

    /// No unplaced operation needs a revision that is past.
    fn is_alive(&mut self) -> bool {
        let alive = self.due_revision() >= self.model.revision();
        if !alive {
            let item = self.by_due[self.due];
            let text = format!(
                "it met revision {} at the latest, but revision {} comes first",
                self.due_revision(),
                self.model.revision()
            );
            self.note_obstacle(Some(item), Disagreement { rule: "stale-read", text });
        }
        alive
    }

    /// The state must not pass this revision yet.
    fn due_revision(&mut self) -> i64 {
        while self.due < self.by_due.len() && self.is_placed[self.by_due[self.due]] {
            self.due += 1;
        }
        self.by_due.get(self.due).map_or(i64::MAX, |&item| self.items.required[item].met.1)
    }

    fn is_done(&self) -> bool {
        let wanted = self.observed.map_or(i64::MIN, Observed::newest);
        self.left == 0 && self.model.revision() >= wanted
    }

    /// The required items that real time allows next, and the time by which one of them must go.
    fn callable(&self) -> (Vec<usize>, Time) {
        let mut items = Vec::new();
        let mut at = self.nodes[END].next;
        while at != END && !self.nodes[at].is_return {
            items.push(self.nodes[at].item);
            at = self.nodes[at].next;
        }
        (items, if at == END { Time::NEVER } else { self.nodes[at].at })
    }

    /// Places what fits and changes nothing, until nothing more does.
    fn place_all_without_effect(&mut self, steps: &mut u64) {
        loop {
            let mut progress = false;
            for item in self.callable().0 {
                if !self.may_meet(item) {
                    continue;
                }
                *steps = steps.saturating_sub(1);
                let mark = self.model.mark();
                let fits = self.try_apply(item).is_none();
                let is_idle = self.model.mark() == mark;
                if !is_idle {
                    self.model.take_back(mark);
                } else if fits {
                    self.lift(item, mark, false);
                    progress = true;
                }
            }
            if !progress {
                return;
            }
        }
    }

    fn may_meet(&self, item: usize) -> bool {
        let (low, high) = self.item(item).met;
        (low..=high).contains(&self.model.revision())
    }

    /// Applies an item and gives its objection to what that did.
    fn try_apply(&mut self, item: usize) -> Option<Disagreement> {
        let item = self.item(item);
        let result = self.model.apply(&item.call);
        item.objection(&self.model, &result)
    }

    /// What can be placed next and changes the state; the best is last.
    fn continuations(&mut self, steps: &mut u64) -> Vec<usize> {
        let (callable, until) = self.callable();
        let mut quiet = Vec::new();
        let mut loud = Vec::new();
        let mut objecting = Vec::new();
        for &item in &callable {
            if !self.may_meet(item) {
                continue;
            }
            *steps = steps.saturating_sub(1);
            match self.effect(item) {
                Effect::Objects => objecting.push(item),
                Effect::Nothing => {}
                Effect::Quiet => quiet.push(item),
                Effect::Revision => loud.push(item),
            }
        }
        if quiet.is_empty() && loud.is_empty() {
            self.note_stuck(&callable);
        }
        let by_return = |items: &mut Vec<usize>| {
            items.sort_by_key(|&item| std::cmp::Reverse(self.items.required[item].returned));
        };
        by_return(&mut loud);
        by_return(&mut quiet);
        let mut next = self.optional_continuations(&objecting, until, steps);
        next.append(&mut loud);
        next.append(&mut quiet);
        next
    }

    /// What placing an item would do. Leaves the state as it is.
    fn effect(&mut self, item: usize) -> Effect {
        let mark = self.model.mark();
        let objects = self.try_apply(item).is_some();
        let effect = if objects {
            Effect::Objects
        } else if self.model.mark() == mark {
            Effect::Nothing
        } else if self.model.revision() == mark.revision() {
            Effect::Quiet
        } else if self.observed.is_none_or(|observed| observed.agrees(&self.model)) {
            Effect::Revision
        } else {
            Effect::Objects
        };
        self.model.take_back(mark);
        effect
    }

    /// Operations of unknown outcome that can help: to a missing revision, or with what the
    /// objecting items object to. The likeliest is last.
    fn optional_continuations(
        &mut self,
        objecting: &[usize],
        until: Time,
        steps: &mut u64,
    ) -> Vec<usize> {
        let next_revision = self.model.revision() + 1;
        let limit = match self.left {
            0 => self.observed.map_or(i64::MIN, Observed::newest),
            _ => self.due_revision(),
        };
        let is_missing = next_revision <= limit;
        let mut wanting = objecting.to_vec();
        let mut loud = Vec::new();
        if is_missing {
            for item in self.may_take_revision(next_revision) {
                match self.optional_effect(item, until, steps) {
                    Effect::Objects => wanting.push(item),
                    Effect::Nothing | Effect::Quiet => {}
                    Effect::Revision => loud.push(item),
                }
            }
        }
        let mut next = self.quiet_helpers(&wanting, until, steps);
        loud.sort_by_key(|&item| self.likelihood(item, until));
        next.append(&mut loud);
        next
    }

    /// Optional items that may explain a missing revision. Where a put was seen there, only what
    /// can put that key.
    fn may_take_revision(&self, revision: i64) -> Vec<usize> {
        let count = self.items.required.len();
        match self.observed.and_then(|observed| observed.put_at(revision)) {
            Some(key) => self.putters.get(key).cloned().unwrap_or_default(),
            None => (count..count + self.items.optional.len()).collect(),
        }
    }

    /// Optional items that take no revision and change what the wanting items object to.
    fn quiet_helpers(&mut self, wanting: &[usize], until: Time, steps: &mut u64) -> Vec<usize> {
        if wanting.is_empty() {
            return Vec::new();
        }
        let count = self.items.required.len();
        let mut quiet = Vec::new();
        for item in count..count + self.items.optional.len() {
            let Some(resource) = resource(&self.item(item).call) else { continue };
            let is_wanted = wanting.iter().any(|&other| touches(&self.item(other).call, resource));
            if is_wanted && self.optional_effect(item, until, steps) == Effect::Quiet {
                quiet.push(item);
            }
        }
        quiet.sort_by_key(|&item| self.likelihood(item, until));
        quiet
    }

    /// The higher, the sooner an optional item is tried. Leases that are overdue end in the order
    /// in which they fell due; of the others, what was asked for last; leases that are not due end
    /// only where nothing else helps.
    fn likelihood(&self, item: usize, until: Time) -> (u8, u64) {
        let item = self.item(item);
        match item.operation {
            None if item.due <= until => (2, u64::MAX - item.due.0),
            None => (0, u64::MAX - item.due.0),
            Some(_) => (1, item.invoked.0),
        }
    }

    /// As `effect`; a refused operation objects, and one that cannot be placed now does nothing.
    fn optional_effect(&mut self, item: usize, until: Time, steps: &mut u64) -> Effect {
        if self.is_placed[item] || self.item(item).invoked > until {
            return Effect::Nothing;
        }
        *steps = steps.saturating_sub(1);
        if self.model.refusals(&self.item(item).call).is_empty() {
            self.effect(item)
        } else {
            Effect::Objects
        }
    }

    /// Places an item that changes the state.
    fn place(&mut self, item: usize) {
        let mark = self.model.mark();
        let objection = self.try_apply(item);
        assert!(objection.is_none(), "only what fits is placed");
        self.lift(item, mark, true);
    }

    /// Takes an item out of the list.
    fn lift(&mut self, item: usize, mark: Mark, has_effect: bool) {
        self.path.push(Step { item, mark, sums: self.sums });
        self.is_placed[item] = true;
        self.sums.0 = self.sums.0.wrapping_add(mix(item as u64, 0));
        if has_effect {
            let state = (self.model.revision() as u64) << 24 ^ self.model.lease_steps() as u64;
            self.sums.1 = self.sums.1.wrapping_add(mix(item as u64, state.wrapping_add(1)));
        }
        if let Some(&(call, return_)) = self.ends.get(item) {
            self.left -= 1;
            for at in [call, return_] {
                let Node { previous, next, .. } = self.nodes[at];
                self.nodes[previous].next = next;
                self.nodes[next].previous = previous;
            }
        }
    }

    /// Takes the last step back.
    fn unlift(&mut self) {
        let step = self.path.pop().expect("there is a step to take back");
        self.model.take_back(step.mark);
        self.is_placed[step.item] = false;
        self.sums = step.sums;
        if let Some(&(call, return_)) = self.ends.get(step.item) {
            self.left += 1;
            for at in [return_, call] {
                let Node { previous, next, .. } = self.nodes[at];
                self.nodes[previous].next = at;
                self.nodes[next].previous = at;
            }
        }
    }

    /// Goes back to the last choice and takes its next continuation. False when there is none.
    fn go_back(&mut self) -> bool {
        let Some(mut choice) = self.choices.pop() else { return false };
        while self.path.len() > choice.steps {
            self.unlift();
        }
        self.due = choice.due;
        let item = choice.untried.pop().expect("a choice is kept while it has continuations");
        if !choice.untried.is_empty() {
            self.choices.push(choice);
        }
        self.place(item);
        true
    }

    /// Nothing that is required can go next: the one that must is the obstacle.
    fn note_stuck(&mut self, callable: &[usize]) {
        let urgent = callable.iter().min_by_key(|&&item| self.items.required[item].returned);
        let Some(&item) = urgent else {
            let text = "a revision was seen that nothing explains".to_owned();
            self.note_obstacle(None, Disagreement { rule: "wrong-revision", text });
            return;
        };
        let revision = self.model.revision();
        let (low, high) = self.item(item).met;
        let objection = if high < revision {
            let text = format!("it met revision {high}, but revision {revision} came before it");
            Disagreement { rule: "stale-read", text }
        } else if low > revision {
            let text = format!(
                "it met revision {low}, but nothing that can have come before it explains \
                 revision {}",
                revision + 1
            );
            Disagreement { rule: "lost-write", text }
        } else {
            let mark = self.model.mark();
            let objection = self.try_apply(item);
            self.model.take_back(mark);
            objection.unwrap_or(Disagreement {
                rule: "wrong-reply",
                text: "it fits here, but nothing after it does".to_owned(),
            })
        };
        self.note_obstacle(Some(item), objection);
    }

    fn note_obstacle(&mut self, item: Option<usize>, objection: Disagreement) {
        let placed = self.path.len();
        if self.obstacle.as_ref().is_none_or(|known| known.placed < placed) {
            let last = self.path.last().map(|step| step.item);
            self.obstacle = Some(Obstacle { placed, item, objection, last });
        }
    }
}

/// What placing an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// It does not fit.
    Objects,
    Nothing,
    /// It changes leases or the compaction, and takes no revision.
    Quiet,
    /// It takes a revision.
    Revision,
}

/// The list in order of time; calls before returns, for intervals are closed.
fn calls_and_returns(items: &[Item<'_>]) -> (Vec<Node>, Vec<(usize, usize)>) {
    let mut events: Vec<(Time, bool, usize)> = Vec::with_capacity(items.len() * 2);
    for (place, item) in items.iter().enumerate() {
        debug_assert!(!matches!(item.claim, Claim::None));
        events.push((item.invoked, false, place));
        events.push((item.returned, true, place));
    }
    events.sort_unstable();
    let count = events.len() + 1;
    let mut nodes = Vec::with_capacity(count);
    nodes.push(Node {
        previous: count - 1,
        next: 1 % count,
        item: usize::MAX,
        is_return: true,
        at: Time::NEVER,
    });
    let mut ends = vec![(END, END); items.len()];
    for (place, &(at, is_return, item)) in events.iter().enumerate() {
        let here = place + 1;
        nodes.push(Node { previous: place, next: (here + 1) % count, item, is_return, at });
        let end = &mut ends[item];
        if is_return {
            end.1 = here;
        } else {
            end.0 = here;
        }
    }
    (nodes, ends)
}

/// Spreads two numbers over 128 bits.
fn mix(a: u64, b: u64) -> u128 {
    const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let mut x = (u128::from(a) << 64 | u128::from(b)).wrapping_add(SPREAD);
    for _ in 0..2 {
        x = (x ^ (x >> 61)).wrapping_mul(SPREAD | 1);
        x ^= x >> 67;
    }
    x
}
