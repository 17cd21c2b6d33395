//! What is known of time: how far clocks may be wrong while a lease lives, and by when it is gone.
//!
//! Leases are timed by the leader's monotonic clock. One that runs fast ends them early, so of the
//! history's incidents only those count that make a monotonic clock fast, on whichever member, for
//! each may come to lead; and only while they last. What happens to wall clocks moves no lease.

use std::time::Duration;

use detsim_reports::record::{Call, History, Incident, Time};

/// What every reading of a clock may be off by.
const GRAIN: Duration = Duration::from_millis(1);
/// Between the end of a lease and the revision that removes it: the leader looks twice a second,
/// proposes, and commits.
const REMOVAL: Duration = Duration::from_secs(3);
/// How many leases a leader removes in a second.
const REMOVED_PER_S: u64 = 1_000;

/// What is known of time.
pub(super) struct Clocks {
    fast: Vec<Fast>,
    /// From when on a leader can serve undisturbed.
    pub steady: Option<Time>,
    /// How much a change of leaders may add to a lease: less than this.
    pub extension: Duration,
    removal: Duration,
}

/// A monotonic clock runs fast.
struct Fast {
    from: Time,
    to: Time,
    ppm: u64,
}

impl Clocks {
    pub fn of(history: &History) -> Clocks {
        let granted =
            history.operations.iter().filter(|op| matches!(op.call, Call::LeaseGrant { .. }));
        Clocks {
            fast: fast(history),
            steady: steady(history),
            extension: Duration::from_secs(history.settings.lease_ttl_min_s.max(0) as u64),
            removal: REMOVAL + Duration::from_secs(granted.count() as u64 / REMOVED_PER_S),
        }
    }

    /// How long a lease lives at least that was renewed at `from` and is looked at by `to`, by
    /// anybody's clock.
    pub fn at_least(&self, ttl: Duration, from: Time, to: Time) -> Duration {
        let meanwhile = self.fast.iter().filter(|fast| fast.from <= to && from <= fast.to);
        let ppm = meanwhile.map(|fast| fast.ppm).max().unwrap_or(0);
        let early = ttl.as_nanos() * u128::from(ppm) / 1_000_000;
        ttl.saturating_sub(Duration::from_nanos(early as u64) + GRAIN)
    }

    /// When a lease that may have been renewed then must be gone.
    pub fn gone_by(&self, renewed: Time, ttl: Duration) -> Option<Time> {
        let from = renewed.max(self.steady?);
        Some(from.after(ttl + GRAIN + self.extension + self.removal))
    }
}

/// When clocks ran fast. Each is until the next thing that happens to the same member's, or the end
/// of all faults.
fn fast(history: &History) -> Vec<Fast> {
    let mut all: Vec<Fast> = Vec::new();
    let mut running: Vec<Option<usize>> = vec![None; history.members.len()];
    for incident in &history.incidents {
        let Some(ppm) = monotonic_ppm(&incident.what) else { continue };
        let is_everybody = incident.members.is_empty();
        for (member, now) in running.iter_mut().enumerate() {
            if !is_everybody && !incident.members.contains(&member) {
                continue;
            }
            if let Some(at) = now.take() {
                all[at].to = incident.at;
            }
            if let Ok(ppm @ 1..) = u64::try_from(ppm) {
                *now = Some(all.len());
                all.push(Fast { from: incident.at, to: Time::NEVER, ppm });
            }
        }
    }
    all
}

/// How much faster an incident makes monotonic clocks run; `None` if it does nothing to them.
fn monotonic_ppm(what: &str) -> Option<i64> {
    let mut words = what.split_whitespace();
    match (words.next()?, words.next()) {
        ("heal", None) => Some(0),
        ("clock", Some(_)) => words.find_map(|word| match word.strip_prefix("drift=") {
            Some(rate) => rate.strip_suffix("ppm")?.parse().ok(),
            None => (word == "freeze").then_some(0),
        }),
        _ => None,
    }
}

/// From when on nothing disturbs the leader any more.
fn steady(history: &History) -> Option<Time> {
    let is_start = |incident: &Incident| incident.what.starts_with("start");
    let begun = match history.healed {
        Some(healed) => (!history.survivors.is_empty()).then_some(healed)?,
        None if history.incidents.iter().all(is_start) => {
            history.incidents.last().map_or(Time::ZERO, |last| last.at)
        }
        None => return None,
    };
    let moves = history.operations.iter().filter(|operation| is_disturbing(&operation.call));
    let last = moves.map(|operation| operation.completed).fold(begun, Time::max);
    let bound = Duration::from_millis(history.settings.recovery_within_ms);
    (last != Time::NEVER).then(|| last.after(bound))
}

/// Whether the request may change the leader.
fn is_disturbing(call: &Call) -> bool {
    matches!(
        call,
        Call::MoveLeader { .. }
            | Call::MemberAdd { .. }
            | Call::MemberRemove { .. }
            | Call::MemberUpdate { .. }
            | Call::MemberPromote { .. }
    )
}
