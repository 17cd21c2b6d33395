//! Components and cycles of random graphs against trying every way.

use rand_chacha::ChaCha8Rng;

use super::*;
use crate::seed::{Draw, Streams};

const NODES: usize = 7;

/// A random graph, with its edges by kind.
fn random(draw: &mut ChaCha8Rng) -> (Graph<'static>, Vec<(usize, usize, Kinds)>) {
    static KEY: std::sync::LazyLock<Blob> = std::sync::LazyLock::new(|| Blob::text("k"));
    let key = &*KEY;
    let mut graph = Graph::new(NODES);
    let mut edges = Vec::new();
    for _ in 0..draw.within(4..=14) {
        let (from, to) = (draw.below(NODES as u64) as usize, draw.below(NODES as u64) as usize);
        let why = match draw.below(3) {
            0 => Why::WriteWrite { key, first: 1, second: 2 },
            1 => Why::WriteRead { key, version: 1 },
            _ => Why::ReadWrite { key, read: 1, version: 2 },
        };
        graph.add(from, to, why);
        if from != to {
            edges.push((from, to, why.kind()));
        }
    }
    (graph, edges)
}

/// Distances over edges of these kinds, by trying every way.
fn distances(edges: &[(usize, usize, Kinds)], kinds: Kinds) -> Vec<Vec<usize>> {
    let mut distances = vec![vec![NODES + 1; NODES]; NODES];
    for &(from, to, _) in edges.iter().filter(|(.., kind)| kinds.holds(*kind)) {
        distances[from][to] = 1;
    }
    for via in 0..NODES {
        for from in 0..NODES {
            for to in 0..NODES {
                let length = distances[from][via] + distances[via][to];
                distances[from][to] = distances[from][to].min(length);
            }
        }
    }
    distances
}

fn is_cycle(cycle: &[Arc<'_>], edges: &[(usize, usize, Kinds)]) -> bool {
    (0..cycle.len()).all(|at| {
        let (from, to) = (cycle[at].from, cycle[(at + 1) % cycle.len()].from);
        edges.contains(&(from, to, cycle[at].why.kind()))
    })
}

#[test]
fn components_and_shortest_cycles_are_those_found_by_trying_every_way() {
    let mut draw = Streams::new(3).stream("graphs");
    let data = Kinds::WW.and(Kinds::WR);
    let mut cycles = 0;
    for _ in 0..2_000 {
        let (graph, edges) = random(&mut draw);
        let all = distances(&edges, Kinds::ALL);
        let components = graph.components(&graph.nodes(), Kinds::ALL);
        for (node, distances) in all.iter().enumerate() {
            let is_in_one = components.iter().any(|component| component.contains(&node));
            assert_eq!(is_in_one, distances[node] <= NODES);
        }
        for component in components {
            let shortest = component.iter().map(|node| all[*node][*node]).min();
            let cycle = graph.cycle(&component, Kinds::ALL).expect("a component has a cycle");
            assert_eq!(Some(cycle.len()), shortest);
            assert!(is_cycle(&cycle, &edges));
            cycles += 1;
            let without = distances(&edges, data);
            let rw = edges
                .iter()
                .filter(|(from, _, kind)| *kind == Kinds::RW && component.contains(from));
            let shortest = rw.map(|(from, to, _)| without[*to][*from] + 1).min();
            let shortest = shortest.filter(|length| *length <= NODES + 1);
            let cycle = graph.cycle_with_one_rw(&component, data);
            assert_eq!(cycle.as_ref().map(Vec::len), shortest);
            assert!(cycle.is_none_or(|cycle| is_cycle(&cycle, &edges)));
        }
    }
    assert!(cycles > 500, "{cycles} cycles");
}

#[test]
fn real_time_order_holds_between_those_who_returned_and_those_invoked_later() {
    let mut draw = Streams::new(4).stream("times");
    for _ in 0..200 {
        let times: Vec<(u64, u64)> = (0..NODES)
            .map(|_| {
                let from = draw.below(30);
                (from, from + draw.within(1..=10))
            })
            .collect();
        let mut graph = Graph::new(NODES);
        let at = |time: u64| Time(time);
        let invoked: Vec<_> =
            times.iter().enumerate().map(|(node, (from, _))| (at(*from), node)).collect();
        let returned: Vec<_> =
            times.iter().enumerate().map(|(node, (_, to))| (at(*to), node)).collect();
        graph.order(&returned, &invoked);
        let nodes = graph.nodes();
        let mut paths = Paths::new(&graph, &nodes, Kinds::ALL);
        for from in 0..NODES {
            for to in (0..NODES).filter(|to| *to != from) {
                let way = paths.shortest(from, to, usize::MAX);
                assert_eq!(way.is_some(), times[from].1 < times[to].0, "{times:?}");
                assert!(way.is_none_or(|way| way.len() == 1));
            }
        }
    }
}
