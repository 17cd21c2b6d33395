//! The graph of what must come before what: nodes are operations, and moments of the run through
//! which real-time order passes, so that its edges stay few. Cycles are found by Tarjan's strongly
//! connected components, and the shortest of a component by breadth-first search.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use detsim_reports::record::{Blob, Time};

/// Steps of search for the shortest cycle, after which the shortest found so far is taken.
const STEPS_MAX: usize = 2_000_000;

/// Why one comes before the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why<'a> {
    /// Wrote the version before the other's.
    WriteWrite { key: &'a Blob, first: i64, second: i64 },
    /// Wrote the version that the other read.
    WriteRead { key: &'a Blob, version: i64 },
    /// Read a version, or that there was none, before the other wrote a later one.
    ReadWrite { key: &'a Blob, read: i64, version: i64 },
    /// One client did both, in this order.
    Process,
    /// Returned before the other was invoked.
    RealTime,
}

/// Kinds of edges, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub const WW: Kinds = Kinds(1);
    pub const WR: Kinds = Kinds(2);
    pub const RW: Kinds = Kinds(4);
    pub const PROCESS: Kinds = Kinds(8);
    pub const REAL_TIME: Kinds = Kinds(16);
    pub const ALL: Kinds = Kinds(31);

    pub const fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    const fn holds(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }
}

impl Why<'_> {
    pub fn kind(&self) -> Kinds {
        match self {
            Why::WriteWrite { .. } => Kinds::WW,
            Why::WriteRead { .. } => Kinds::WR,
            Why::ReadWrite { .. } => Kinds::RW,
            Why::Process => Kinds::PROCESS,
            Why::RealTime => Kinds::REAL_TIME,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Edge<'a> {
    to: usize,
    why: Why<'a>,
}

/// A step of a cycle: from this operation to that of the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arc<'a> {
    pub from: usize,
    pub why: Why<'a>,
}

/// The graph. Nodes below `operations` are operations.
#[derive(Clone, Debug)]
pub(super) struct Graph<'a> {
    operations: usize,
    edges: Vec<Vec<Edge<'a>>>,
}

impl<'a> Graph<'a> {
    pub fn new(operations: usize) -> Graph<'a> {
        Graph { operations, edges: vec![Vec::new(); operations] }
    }

    /// An edge between two operations; none from one to itself.
    pub fn add(&mut self, from: usize, to: usize, why: Why<'a>) {
        if from != to {
            self.edges[from].push(Edge { to, why });
        }
    }

    /// Real-time order: whoever returned comes before whoever was invoked later.
    pub fn order(&mut self, returned: &[(Time, usize)], invoked: &[(Time, usize)]) {
        let mut moments: Vec<Time> = returned.iter().map(|(at, _)| *at).collect();
        moments.sort_unstable();
        moments.dedup();
        let first = self.edges.len();
        let why = Why::RealTime;
        for place in 0..moments.len() {
            let next = Edge { to: first + place + 1, why };
            self.edges.push(if place + 1 < moments.len() { vec![next] } else { Vec::new() });
        }
        for &(at, operation) in returned {
            let place = moments.partition_point(|moment| *moment < at);
            self.edges[operation].push(Edge { to: first + place, why });
        }
        for &(at, operation) in invoked {
            if let Some(place) = moments.partition_point(|moment| *moment < at).checked_sub(1) {
                self.edges[first + place].push(Edge { to: operation, why });
            }
        }
    }

    /// Nodes that lie on cycles of these kinds of edges, among those within: components in the
    /// order of their first node.
    pub fn components(&self, within: &[usize], kinds: Kinds) -> Vec<Vec<usize>> {
        let mut search = Search::new(self, within, kinds);
        for &node in within {
            search.visit(node);
        }
        let mut found = search.found;
        for component in &mut found {
            component.sort_unstable();
        }
        found.sort_unstable();
        found
    }

    /// All nodes.
    pub fn nodes(&self) -> Vec<usize> {
        (0..self.edges.len()).collect()
    }

    /// The shortest cycle of these kinds within a component.
    pub fn cycle(&self, component: &[usize], kinds: Kinds) -> Option<Vec<Arc<'a>>> {
        let mut paths = Paths::new(self, component, kinds);
        let mut best: Option<Vec<Arc<'a>>> = None;
        for &start in component.iter().filter(|node| **node < self.operations) {
            let longest = best.as_ref().map_or(usize::MAX, |best| best.len() - 1);
            if let Some(cycle) = paths.shortest(start, start, longest) {
                best = Some(cycle);
            }
            if longest <= 1 || paths.steps > STEPS_MAX {
                break;
            }
        }
        best
    }

    /// The shortest cycle within a component that has one anti-dependency, and otherwise edges of
    /// these kinds.
    pub fn cycle_with_one_rw(&self, component: &[usize], kinds: Kinds) -> Option<Vec<Arc<'a>>> {
        let mut paths = Paths::new(self, component, kinds);
        let mut best: Option<Vec<Arc<'a>>> = None;
        for &from in component {
            for edge in self.edges[from].iter().filter(|edge| edge.why.kind() == Kinds::RW) {
                let longest = best.as_ref().map_or(usize::MAX, |best| best.len() - 1);
                if paths.is_within[edge.to]
                    && let Some(rest) = paths.shortest(edge.to, from, longest.saturating_sub(1))
                {
                    let mut cycle = vec![Arc { from, why: edge.why }];
                    cycle.extend(rest);
                    best = Some(cycle);
                }
                if longest <= 1 || paths.steps > STEPS_MAX {
                    return best;
                }
            }
        }
        best
    }
}

/// Tarjan's search, without recursion.
struct Search<'g, 'a> {
    graph: &'g Graph<'a>,
    kinds: Kinds,
    is_within: Vec<bool>,
    /// When a node was reached first; 0 for never.
    reached: Vec<usize>,
    low: Vec<usize>,
    is_open: Vec<bool>,
    open: Vec<usize>,
    clock: usize,
    found: Vec<Vec<usize>>,
}

impl<'g, 'a> Search<'g, 'a> {
    fn new(graph: &'g Graph<'a>, within: &[usize], kinds: Kinds) -> Search<'g, 'a> {
        let nodes = graph.edges.len();
        Search {
            graph,
            kinds,
            is_within: marks(nodes, within),
            reached: vec![0; nodes],
            low: vec![0; nodes],
            is_open: vec![false; nodes],
            open: Vec::new(),
            clock: 0,
            found: Vec::new(),
        }
    }

    fn enter(&mut self, node: usize) {
        self.clock += 1;
        self.reached[node] = self.clock;
        self.low[node] = self.clock;
        self.is_open[node] = true;
        self.open.push(node);
    }

    fn visit(&mut self, root: usize) {
        if self.reached[root] != 0 {
            return;
        }
        self.enter(root);
        let mut path = vec![(root, 0)];
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            let Some(edge) = self.graph.edges[node].get(*next) else {
                path.pop();
                if let Some((above, _)) = path.last() {
                    self.low[*above] = self.low[*above].min(self.low[node]);
                }
                self.close(node);
                continue;
            };
            *next += 1;
            let to = edge.to;
            if !self.is_within[to] || !self.kinds.holds(edge.why.kind()) {
                continue;
            }
            if self.reached[to] == 0 {
                self.enter(to);
                path.push((to, 0));
            } else if self.is_open[to] {
                self.low[node] = self.low[node].min(self.reached[to]);
            }
        }
    }

    /// A node is left; if it is the first of its component, the component is complete.
    fn close(&mut self, node: usize) {
        if self.low[node] != self.reached[node] {
            return;
        }
        let first = self.open.iter().rposition(|open| *open == node).expect("an open node");
        let component = self.open.split_off(first);
        for &member in &component {
            self.is_open[member] = false;
        }
        if component.len() > 1 {
            self.found.push(component);
        }
    }
}

/// Shortest paths within a component, in operations passed.
struct Paths<'g, 'a> {
    graph: &'g Graph<'a>,
    kinds: Kinds,
    is_within: Vec<bool>,
    /// How a node was reached in which search.
    reached: Vec<(usize, usize, Why<'a>)>,
    distance: Vec<usize>,
    searches: usize,
    steps: usize,
}

impl<'g, 'a> Paths<'g, 'a> {
    fn new(graph: &'g Graph<'a>, component: &[usize], kinds: Kinds) -> Paths<'g, 'a> {
        let nodes = graph.edges.len();
        Paths {
            graph,
            kinds,
            is_within: marks(nodes, component),
            reached: vec![(0, 0, Why::Process); nodes],
            distance: vec![0; nodes],
            searches: 0,
            steps: 0,
        }
    }

    /// The shortest way of at least one edge, if it has at most so many arcs. Moments cost nothing.
    fn shortest(&mut self, start: usize, end: usize, longest: usize) -> Option<Vec<Arc<'a>>> {
        self.searches += 1;
        let mut queue = VecDeque::from([(start, 0)]);
        while let Some((node, distance)) = queue.pop_front() {
            let is_begin = distance == 0;
            if node == end && !is_begin {
                return Some(self.path(start, end));
            }
            if !is_begin && self.distance[node] != distance {
                continue;
            }
            let cost = usize::from(node < self.graph.operations);
            for edge in &self.graph.edges[node] {
                self.steps += 1;
                let is_useless = edge.to == start && start != end
                    || !self.is_within[edge.to]
                    || !self.kinds.holds(edge.why.kind())
                    || distance + cost > longest;
                let (search, ..) = self.reached[edge.to];
                let is_known = search == self.searches;
                if is_useless || is_known && self.distance[edge.to] <= distance + cost {
                    continue;
                }
                self.reached[edge.to] = (self.searches, node, edge.why);
                self.distance[edge.to] = distance + cost;
                match cost {
                    0 => queue.push_front((edge.to, distance)),
                    _ => queue.push_back((edge.to, distance + cost)),
                }
            }
        }
        None
    }

    /// The way that was found, moments left out.
    fn path(&self, start: usize, end: usize) -> Vec<Arc<'a>> {
        let mut arcs = Vec::new();
        let mut node = end;
        loop {
            let (_, from, why) = self.reached[node];
            if from < self.graph.operations {
                arcs.push(Arc { from, why });
            }
            node = from;
            if node == start {
                arcs.reverse();
                return arcs;
            }
        }
    }
}

fn marks(nodes: usize, within: &[usize]) -> Vec<bool> {
    let mut marks = vec![false; nodes];
    for &node in within {
        marks[node] = true;
    }
    marks
}
