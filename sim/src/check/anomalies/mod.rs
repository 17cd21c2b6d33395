//! Transactional anomalies: cycles in what must come before what, and reads of what was never
//! committed.
//!
//! Every operation on keys is a transaction. etcd names the versions of a key by revisions, so that
//! who wrote after whom (ww), who read what (wr) and who wrote what another did not see yet (rw) is
//! known and not guessed. Together with the order of each client and of real time they must have
//! no cycle. Of each knot of operations the shortest cycle is reported, under the name of its kind.
//!
//! Not seen: versions that nobody read and nobody was told of; the absence of keys that somebody
//! may have deleted; the order in which a local or a historic read is served.

mod graph;
mod nodes;
mod order;
#[cfg(test)]
mod tests;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use detsim_reports::record::{Blob, CheckReport, ClientId, History, Operation, Time};

use self::graph::{Arc, Graph, Kinds, Why};
use self::nodes::{Node, Read, nodes, version_name};
use self::order::Order;
use self::versions::{Versions, versions};
use super::Checker;
use super::describe;
use super::fate::is_one_cluster;
use super::report::{Evidence, Report};
use super::steps::{Mortal, is_recorded};
use crate::model::Span;

const DATA: Kinds = Kinds::WW.and(Kinds::WR);

/// Kinds of cycles, the simplest first: the name, the edges besides anti-dependencies, and how many
/// anti-dependencies.
const LEVELS: [(&str, Kinds, Anti); 12] = [
    ("G0", Kinds::WW, Anti::None),
    ("G1c", DATA, Anti::None),
    ("G-single", DATA, Anti::One),
    ("G2-item", DATA, Anti::Several),
    ("G0-process", Kinds::WW.and(Kinds::PROCESS), Anti::None),
    ("G1c-process", DATA.and(Kinds::PROCESS), Anti::None),
    ("G-single-process", DATA.and(Kinds::PROCESS), Anti::One),
    ("G2-item-process", DATA.and(Kinds::PROCESS), Anti::Several),
    ("G0-realtime", Kinds::WW.and(Kinds::REAL_TIME), Anti::None),
    ("G1c-realtime", DATA.and(Kinds::REAL_TIME), Anti::None),
    ("G-single-realtime", DATA.and(Kinds::REAL_TIME), Anti::One),
    ("G2-item-realtime", Kinds::ALL, Anti::Several),
];

/// How many anti-dependencies a cycle has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Anti {
    None,
    One,
    Several,
}

/// Checks every operation on keys.
pub(super) fn check(history: &History) -> CheckReport {
    let mut report = Report::new(Checker::Anomalies);
    if !is_one_cluster(history) {
        report.not_checked("dependencies: replies come from several clusters");
        return report.finish();
    }
    if !is_recorded(history) {
        report.not_checked("dependencies: the history does not record all revisions");
        return report.finish();
    }
    let mut violations = Vec::new();
    let mut nodes = nodes(history, &mut violations);
    let mortal = Mortal::of(history);
    let versions = versions(history, &mut nodes, &mortal, &mut violations);
    for violation in violations {
        report.violation(violation);
    }
    let immortal: BTreeSet<&Blob> =
        versions.keys().copied().filter(|key| !mortal.holds(key)).collect();
    let lost = lost_updates(&nodes, &immortal, &mut report);
    let absences = absences(&nodes, &versions, &immortal);
    let dependencies = Dependencies { nodes: &nodes, versions: &versions, immortal, absences };
    let order = Order::of(&dependencies);
    if !order.is_kept() {
        cycles(&dependencies, &lost, &mut report);
    }
    match order.unclear() {
        0 => {}
        unclear => report.not_checked(format!(
            "{unclear} reads of absent keys: they may have been deleted, nobody knows when"
        )),
    }
    let known = nodes.iter().filter(|node| node.is_known()).count();
    report.checked(known, &format!("operations with {} dependencies", order.dependencies()));
    let orphans = versions.values().flatten().filter(|(_, version)| version.writer.is_none());
    match orphans.count() {
        0 => {}
        orphans => report.not_checked(format!("who wrote {orphans} versions: it may be several")),
    }
    report.finish()
}

/// Two operations that read the same version of a key and both wrote the key. Gives each pair.
fn lost_updates(
    nodes: &[Node<'_>],
    immortal: &BTreeSet<&Blob>,
    report: &mut Report,
) -> Vec<BTreeSet<usize>> {
    let mut updates: BTreeMap<(&Blob, i64), Vec<(i64, usize)>> = BTreeMap::new();
    for (place, node) in nodes.iter().enumerate() {
        for write in node.writes.iter().filter(|write| !write.is_delete) {
            if let Some(read) = node.reads.iter().find(|read| read.key == write.key) {
                let of_version = updates.entry((write.key, read.version)).or_default();
                of_version.push((write.version, place));
            }
        }
    }
    let mut pairs = Vec::new();
    for ((key, read), mut writers) in updates {
        // A key may be absent more than once, when it is deleted in between.
        writers.sort_unstable();
        let [(first, a), (second, b), ..] = writers[..] else { continue };
        if a == b || read == 0 && !immortal.contains(key) {
            continue;
        }
        let (one, other) = (nodes[a].operation, nodes[b].operation);
        let text = format!(
            "{} and {} both found {key:?} {} and both changed it, the one at revision {first}, the \
             other at revision {second}, which overwrites the first without having seen it",
            describe::operation(one),
            describe::operation(other),
            version_name(read)
        );
        report.safety("lost-update", Evidence::of(&[one, other]), text);
        pairs.push(BTreeSet::from([a, b]));
    }
    pairs
}

/// What depends on what, told one by one to whoever wants to know.
struct Dependencies<'n, 'a> {
    nodes: &'n [Node<'a>],
    versions: &'n Versions<'a>,
    immortal: BTreeSet<&'a Blob>,
    /// Keys that scans did not see.
    absences: Vec<(usize, &'a Blob)>,
}

impl<'a> Dependencies<'_, 'a> {
    /// Tells of all but real time: who comes before whom, and why. Returns how many reads of absent
    /// keys say nothing.
    fn each(&self, mut tell: impl FnMut(usize, usize, Why<'a>)) -> usize {
        for (key, of_key) in self.versions {
            let mut before: Option<(i64, usize)> = None;
            for (&second, version) in of_key {
                let Some(to) = version.writer else { continue };
                if let Some((first, from)) = before.replace((second, to)) {
                    tell(from, to, Why::WriteWrite { key, first, second });
                }
            }
        }
        let mut unclear = 0;
        for (place, node) in self.nodes.iter().enumerate() {
            for read in &node.reads {
                match self.is_unclear(read) {
                    true => unclear += 1,
                    false => self.depend(place, read.key, read.version, &mut tell),
                }
            }
        }
        for (place, key) in &self.absences {
            self.depend(*place, key, 0, &mut tell);
        }
        let mut last: BTreeMap<ClientId, usize> = BTreeMap::new();
        for (place, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_known()) {
            let Operation { client, invoked, .. } = node.operation;
            if let Some(&before) = last.get(client)
                && node.is_current
                && self.nodes[before].operation.completed <= *invoked
            {
                tell(before, place, Why::Process);
            }
            if node.is_over {
                last.insert(*client, place);
            }
        }
        unclear
    }

    /// The reader comes after the version's writer, and before that of the next one.
    fn depend(
        &self,
        reader: usize,
        key: &'a Blob,
        version: i64,
        tell: &mut impl FnMut(usize, usize, Why<'a>),
    ) {
        let Some(of_key) = self.versions.get(key) else { return };
        if let Some(writer) = of_key.get(&version).and_then(|version| version.writer) {
            tell(writer, reader, Why::WriteRead { key, version });
        }
        let later = of_key.range((Bound::Excluded(version), Bound::Unbounded));
        let next = later.filter_map(|(at, version)| Some((*at, version.writer?))).next();
        if let Some((next, writer)) = next {
            tell(reader, writer, Why::ReadWrite { key, read: version, version: next });
        }
    }

    /// Whether a key that was absent may have been deleted before.
    fn is_unclear(&self, read: &Read<'a>) -> bool {
        read.version == 0
            && self.versions.contains_key(read.key)
            && !self.immortal.contains(read.key)
    }

    /// Who returned when, of those that were answered.
    fn returned(&self) -> Vec<(Time, usize)> {
        let over = self.nodes.iter().enumerate().filter(|(_, node)| node.is_over);
        let known = over.filter(|(_, node)| node.is_known());
        known.map(|(place, node)| (node.operation.completed, place)).collect()
    }

    /// Who was invoked when, of those that must come after whoever had returned.
    fn invoked(&self) -> Vec<(Time, usize)> {
        let current = self.nodes.iter().enumerate().filter(|(_, node)| node.is_current);
        let known = current.filter(|(_, node)| node.is_known());
        known.map(|(place, node)| (node.operation.invoked, place)).collect()
    }
}

/// Keys that scans did not see: of those that were there already by the revisions of their headers,
/// all, and of later ones the first.
fn absences<'a>(
    nodes: &[Node<'a>],
    versions: &Versions<'a>,
    immortal: &BTreeSet<&'a Blob>,
) -> Vec<(usize, &'a Blob)> {
    let mut born: Vec<(i64, &Blob)> = versions
        .iter()
        .filter(|(key, _)| immortal.contains(*key))
        .filter_map(|(key, of_key)| Some((*of_key.first_key_value()?.0, *key)))
        .collect();
    born.sort_unstable();
    let mut absences = Vec::new();
    for (place, node) in nodes.iter().enumerate() {
        for scan in &node.scans {
            let span = Span::new(&scan.range.key, &scan.range.range_end);
            let is_own = |key: &Blob| node.writes.iter().any(|write| write.key == key);
            let missing = born
                .iter()
                .filter(|(_, key)| span.holds(key) && !scan.present.contains(key) && !is_own(key));
            for (at, key) in missing {
                absences.push((place, *key));
                if *at > scan.revision {
                    break;
                }
            }
        }
    }
    absences
}

/// Reports the shortest cycle of every knot.
fn cycles(dependencies: &Dependencies<'_, '_>, lost: &[BTreeSet<usize>], report: &mut Report) {
    let mut graph = Graph::new(dependencies.nodes.len());
    dependencies.each(|from, to, why| graph.add(from, to, why));
    graph.order(&dependencies.returned(), &dependencies.invoked());
    for component in graph.components(&graph.nodes(), Kinds::ALL) {
        if let Some((name, cycle)) = shortest(&graph, &component) {
            let members: BTreeSet<usize> = cycle.iter().map(|arc| arc.from).collect();
            if !lost.iter().any(|pair| members.is_subset(pair)) {
                report_cycle(dependencies.nodes, name, &cycle, report);
            }
        }
    }
}

/// The shortest cycle of a component; of those that are as short, one of the simplest kind.
fn shortest<'a>(graph: &Graph<'a>, component: &[usize]) -> Option<(&'static str, Vec<Arc<'a>>)> {
    let mut best: Option<(&str, Vec<Arc<'_>>)> = None;
    for (name, kinds, anti) in LEVELS {
        let all = if anti == Anti::None { kinds } else { kinds.and(Kinds::RW) };
        for part in graph.components(component, all) {
            let cycle = match anti {
                Anti::None | Anti::Several => graph.cycle(&part, all),
                Anti::One => graph.cycle_with_one_rw(&part, kinds),
            };
            if let Some(cycle) = cycle
                && best.as_ref().is_none_or(|(_, best)| cycle.len() < best.len())
            {
                best = Some((name, cycle));
            }
        }
    }
    best
}

fn report_cycle(nodes: &[Node<'_>], name: &str, cycle: &[Arc<'_>], report: &mut Report) {
    let operation = |place: usize| nodes[place].operation;
    let steps = cycle.iter().enumerate().map(|(at, arc)| {
        let to = operation(cycle[(at + 1) % cycle.len()].from);
        let (from, to) = (describe::operation(operation(arc.from)), to);
        match arc.why {
            Why::WriteWrite { key, first, second } => format!(
                "{from} wrote {key:?} at revision {first}, before op {} wrote it at revision \
                 {second} (ww)",
                to.id.0
            ),
            Why::WriteRead { key, version } => format!(
                "{from} wrote {key:?} at revision {version}, which op {} read (wr)",
                to.id.0
            ),
            Why::ReadWrite { key, read, version } => format!(
                "{from} found {key:?} {}, so that it came before op {} wrote it at revision \
                 {version} (rw)",
                version_name(read),
                to.id.0
            ),
            Why::Process => {
                format!("{from} was over when the same client invoked op {} (process)", to.id.0)
            }
            Why::RealTime => format!(
                "{from} returned at {} ns, before op {} was invoked at {} ns (real time)",
                operation(arc.from).completed.0,
                to.id.0,
                to.invoked.0
            ),
        }
    });
    let steps: Vec<String> = steps.collect();
    let text = format!(
        "each of these comes before the next, and the last before the first: {}",
        steps.join("; ")
    );
    let operations: Vec<&Operation> = cycle.iter().map(|arc| operation(arc.from)).collect();
    report.safety(name, Evidence::of(&operations), text);
}
