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
#[cfg(test)]
mod tests;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use detsim_reports::record::{Blob, CheckReport, ClientId, History, Operation, Time};

use self::graph::{Arc, Graph, Kinds, Why};
use self::nodes::{Node, node, version_name};
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
    let mut nodes: Vec<Node<'_>> =
        history.operations.iter().map(|operation| node(operation, &mut violations)).collect();
    let versions = versions(history, &mut nodes, &mut violations);
    for violation in violations {
        report.violation(violation);
    }
    let mortal = Mortal::of(history);
    let immortal: BTreeSet<&Blob> =
        versions.keys().copied().filter(|key| !mortal.holds(key)).collect();
    let lost = lost_updates(&nodes, &immortal, &mut report);
    let graph = graph(&nodes, &versions, &immortal, &mut report);
    for component in graph.components(&graph.nodes(), Kinds::ALL) {
        if let Some((name, cycle)) = shortest(&graph, &component) {
            let members: BTreeSet<usize> = cycle.iter().map(|arc| arc.from).collect();
            if !lost.iter().any(|pair| members.is_subset(pair)) {
                report_cycle(&nodes, name, &cycle, &mut report);
            }
        }
    }
    let known = nodes.iter().filter(|node| node.is_known()).count();
    report.checked(known, &format!("operations with {} dependencies", graph.len()));
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

fn graph<'a>(
    nodes: &[Node<'a>],
    versions: &Versions<'a>,
    immortal: &BTreeSet<&'a Blob>,
    report: &mut Report,
) -> Graph<'a> {
    let mut graph = Graph::new(nodes.len());
    for (key, of_key) in versions {
        let written = of_key.iter().filter_map(|(at, version)| Some((*at, version.writer?)));
        let written: Vec<(i64, usize)> = written.collect();
        for pair in written.windows(2) {
            let [(first, from), (second, to)] = *pair else { continue };
            graph.add(from, to, Why::WriteWrite { key, first, second });
        }
    }
    let mut unclear = 0;
    for (place, node) in nodes.iter().enumerate() {
        for read in &node.reads {
            if read.version == 0 && versions.contains_key(read.key) && !immortal.contains(read.key)
            {
                unclear += 1;
                continue;
            }
            depend(&mut graph, versions, place, read.key, read.version);
        }
    }
    let absences = absences(nodes, versions, immortal);
    for (place, key) in absences {
        depend(&mut graph, versions, place, key, 0);
    }
    if unclear > 0 {
        report.not_checked(format!(
            "{unclear} reads of absent keys: they may have been deleted, nobody knows when"
        ));
    }
    order(&mut graph, nodes);
    graph
}

/// The reader comes after the version's writer, and before that of the next one.
fn depend<'a>(
    graph: &mut Graph<'a>,
    versions: &Versions<'a>,
    reader: usize,
    key: &'a Blob,
    version: i64,
) {
    let Some(of_key) = versions.get(key) else { return };
    if let Some(writer) = of_key.get(&version).and_then(|version| version.writer) {
        graph.add(writer, reader, Why::WriteRead { key, version });
    }
    let later = of_key.range((Bound::Excluded(version), Bound::Unbounded));
    let next = later.filter_map(|(at, version)| Some((*at, version.writer?))).next();
    if let Some((next, writer)) = next {
        graph.add(reader, writer, Why::ReadWrite { key, read: version, version: next });
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

/// The order of clients and of real time.
fn order(graph: &mut Graph<'_>, nodes: &[Node<'_>]) {
    let mut last: BTreeMap<ClientId, usize> = BTreeMap::new();
    let mut returned: Vec<(Time, usize)> = Vec::new();
    let mut invoked: Vec<(Time, usize)> = Vec::new();
    for (place, node) in nodes.iter().enumerate().filter(|(_, node)| node.is_known()) {
        let Operation { client, completed, invoked: at, .. } = node.operation;
        if let Some(&before) = last.get(client)
            && node.is_current
            && nodes[before].operation.completed <= *at
        {
            graph.add(before, place, Why::Process);
        }
        if node.is_current {
            invoked.push((*at, place));
        }
        if node.is_over {
            returned.push((*completed, place));
            last.insert(*client, place);
        }
    }
    graph.order(&returned, &invoked);
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
