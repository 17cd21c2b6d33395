//! Locks and elections by etcd's recipe: contenders put keys bound to leases under one prefix, and
//! who has the smallest create revision owns the contest. That create revision is the token.
//!
//! What is promised is promised of revisions: at each there is one owner, tokens grow, a token that
//! has ended never comes back, and a write that compares the token fails once it has ended. That
//! two clients believe at one moment that they own the same contest is not ruled out by leases and
//! clocks; it is counted, as information.
//!
//! Contests are recognised by their keys, `name/` and the lease in hexadecimal: those with empty
//! values are locks, the others elections. The verdict rests on revisions in replies and events.

mod beliefs;
mod facts;
#[cfg(test)]
mod tests;

use detsim_reports::record::{Blob, CheckReport, History, Operation, Time};

use self::facts::{Facts, Tenure, Vacancy};
use super::Checker;
use super::describe;
use super::fate::is_one_cluster;
use super::report::{Evidence, Report};

/// What contenders contend for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Contenders' keys are empty.
    Lock,
    /// Contenders' keys hold what they proclaim.
    Election,
}

/// A token that somebody was seen to have.
#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    /// The prefix of the contest.
    pub contest: Blob,
    /// Whose it is: a contender's key.
    pub key: Blob,
    pub create_revision: i64,
    pub shown_by: &'a Operation,
}

/// All tokens of contests of a kind that a history shows.
pub(super) fn tokens(history: &History, kind: Kind) -> Vec<Token<'_>> {
    Facts::of(history, kind).tenures.into_iter().filter_map(token).collect()
}

fn token(tenure: Tenure<'_>) -> Option<Token<'_>> {
    let shown_by = tenure.shown_by()?;
    let Tenure { prefix: contest, key, create_revision, .. } = tenure;
    Some(Token { contest, key, create_revision, shown_by })
}

/// The names of what can go wrong.
struct Rules {
    /// A write was let through by a token that had ended.
    stale: &'static str,
    /// Two are owners at one revision.
    two: &'static str,
    contest: &'static str,
}

impl Kind {
    fn rules(self) -> Rules {
        match self {
            Kind::Lock => {
                Rules { stale: "stale-fenced-write", two: "two-holders", contest: "lock" }
            }
            Kind::Election => {
                Rules { stale: "stale-proclaim", two: "two-leaders", contest: "election" }
            }
        }
    }
}

/// Checks every contest of a kind.
pub(super) fn check(history: &History, kind: Kind) -> CheckReport {
    let checker = match kind {
        Kind::Lock => Checker::Locks,
        Kind::Election => Checker::Elections,
    };
    let mut report = Report::new(checker);
    let rules = kind.rules();
    if !is_one_cluster(history) {
        report.not_checked("contests: several clusters answered, each with revisions of its own");
        return report.finish();
    }
    let facts = Facts::of(history, kind);
    for tenure in &facts.tenures {
        ended(tenure, &facts, &rules, &mut report);
        alone(tenure, &facts, &rules, &mut report);
    }
    shared(&facts, &rules, &mut report);
    grows(&facts, &rules, &mut report);
    let fenced: usize = facts.tenures.iter().map(|tenure| tenure.fenced.len()).sum();
    report.checked(facts.tenures.len(), &format!("tokens of {}s", rules.contest));
    report.checked(facts.vacancies.len(), "answers that nobody else came before");
    report.checked(fenced, "writes let through by a token");
    let seen = beliefs::count(history, &facts);
    if seen.overlaps + seen.unfenced > 0 {
        report.not_checked(format!(
            "{} times two clients believed to own one {}, and {} unfenced writes came after their \
             writer's token had ended: leases and clocks promise no better",
            seen.overlaps, rules.contest, seen.unfenced
        ));
    }
    report.finish()
}

/// What has ended does not come back, and lets nothing through.
fn ended(tenure: &Tenure<'_>, facts: &Facts<'_>, rules: &Rules, report: &mut Report) {
    let Some((end, shown_by)) = facts.end_of(tenure) else { return };
    let late = |(revision, _): &&(i64, &Operation)| *revision >= end;
    if let Some((revision, operation)) = tenure.fenced.iter().find(late) {
        let text = format!(
            "{} let a write through at revision {revision}, although its token {} had ended by \
             revision {end}: {}",
            describe::operation(operation),
            tenure.create_revision,
            describe::operation(shown_by)
        );
        report.safety(rules.stale, Evidence::of(&[shown_by, operation]), text);
    }
    if let Some((revision, operation)) = tenure.present.iter().find(late) {
        let text = format!(
            "{} shows {:?} with token {} at revision {revision}, although it had ended by \
             revision {end}: {}",
            describe::operation(operation),
            tenure.key,
            tenure.create_revision,
            describe::operation(shown_by)
        );
        report.safety("came-back", Evidence::of(&[shown_by, operation]), text);
    }
}

/// Who owns is alone: nobody with a smaller token is there then or later.
fn alone(tenure: &Tenure<'_>, facts: &Facts<'_>, rules: &Rules, report: &mut Report) {
    let create = tenure.create_revision;
    let excludes = |vacancy: &&Vacancy<'_>| {
        vacancy.prefix == tenure.prefix
            && vacancy.revision >= create
            && (vacancy.from..=vacancy.to).contains(&create)
    };
    let Some(vacancy) = facts.vacancies.iter().filter(excludes).min_by_key(|v| v.revision) else {
        return;
    };
    let evidence = |operation| Evidence::of(&[vacancy.operation, operation]);
    let late = |(revision, _): &&(i64, &Operation)| *revision >= vacancy.revision;
    if let Some((revision, operation)) = tenure.fenced.iter().find(late) {
        let text = format!(
            "{} let a write through at revision {revision} by token {create}, although the {} had \
             passed on by revision {}: {}",
            describe::operation(operation),
            rules.contest,
            vacancy.revision,
            describe::operation(vacancy.operation)
        );
        report.safety(rules.stale, evidence(operation), text);
    }
    if let Some((revision, operation)) = tenure.present.iter().find(late) {
        let text = format!(
            "{} saw nobody with a token from {} to {} at revision {}, yet {} shows {:?} with \
             token {create} at revision {revision}",
            describe::operation(vacancy.operation),
            vacancy.from,
            vacancy.to,
            vacancy.revision,
            describe::operation(operation),
            tenure.key
        );
        report.safety(rules.two, evidence(operation), text);
    }
}

/// No two contenders have one token.
fn shared(facts: &Facts<'_>, rules: &Rules, report: &mut Report) {
    let mut tenures: Vec<&Tenure<'_>> = facts.tenures.iter().collect();
    tenures.sort_by_key(|tenure| (&tenure.prefix, tenure.create_revision));
    for pair in tenures.windows(2) {
        let [one, other] = pair else { continue };
        if one.prefix == other.prefix && one.create_revision == other.create_revision {
            let operations: Vec<&Operation> =
                [one, other].into_iter().filter_map(|tenure| tenure.shown_by()).collect();
            let text = format!(
                "{:?} and {:?} contend for one {} with the same token {}",
                one.key, other.key, rules.contest, one.create_revision
            );
            report.safety("shared-token", Evidence::of(&operations), text);
        }
    }
}

/// Who enters after an answer gets a token above that answer's revision.
fn grows(facts: &Facts<'_>, rules: &Rules, report: &mut Report) {
    let mut seen: Vec<(Time, i64, &Operation)> = facts.seen.clone();
    seen.sort_by_key(|(completed, ..)| *completed);
    let mut newest: Option<(i64, &Operation)> = None;
    let mut seen = seen.into_iter().peekable();
    let mut entered: Vec<(&Operation, i64)> = facts.entered.clone();
    entered.sort_by_key(|(operation, _)| operation.invoked);
    for (operation, token) in entered {
        while let Some((_, revision, by)) =
            seen.next_if(|(completed, ..)| *completed < operation.invoked)
        {
            if newest.is_none_or(|(newest, _)| revision > newest) {
                newest = Some((revision, by));
            }
        }
        if let Some((revision, by)) = newest.filter(|(newest, _)| *newest >= token) {
            let text = format!(
                "{} entered a {} with token {token} after {} had been answered at revision \
                 {revision}",
                describe::operation(operation),
                rules.contest,
                describe::operation(by)
            );
            report.safety("token-went-back", Evidence::of(&[by, operation]), text);
        }
    }
}

/// A contender's key: the contest's prefix, if the key is one for this lease.
fn prefix_of(key: &Blob, lease: i64) -> Option<Blob> {
    if lease == 0 {
        return None;
    }
    let sign = if lease < 0 { "-" } else { "" };
    let end = format!("/{sign}{:x}", lease.unsigned_abs());
    let name = key.0.strip_suffix(end.as_bytes())?;
    Some(Blob(key.0.slice(..name.len() + 1)))
}
