//! What is known of log indices or revisions, by cluster. They are told nearly in order and without
//! gaps, so that each is found where it is expected; any order is right.

use std::collections::BTreeMap;

/// By cluster and number.
#[derive(Clone, Debug)]
pub(super) struct Ascending<T>(BTreeMap<u64, Vec<(u64, T)>>);

impl<T> Default for Ascending<T> {
    fn default() -> Self {
        Ascending(BTreeMap::new())
    }
}

impl<T> Ascending<T> {
    /// What was told first of a number, which is `value` if nothing was before.
    pub fn first(&mut self, cluster: u64, number: u64, value: T) -> &T {
        let of_cluster = self.0.entry(cluster).or_default();
        let place = match place(of_cluster, number) {
            Ok(place) => place,
            Err(place) => {
                of_cluster.insert(place, (number, value));
                place
            }
        };
        &of_cluster[place].1
    }

    /// What was told of a number.
    pub fn get(&self, cluster: u64, number: u64) -> Option<&T> {
        let of_cluster = self.0.get(&cluster)?;
        Some(&of_cluster[place(of_cluster, number).ok()?].1)
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// All, ascending by cluster and number.
    pub fn iter(&self) -> impl Iterator<Item = ((u64, u64), &T)> {
        self.0.iter().flat_map(|(cluster, of_cluster)| {
            of_cluster.iter().map(move |(number, value)| ((*cluster, *number), value))
        })
    }
}

/// Where a number stands, or would.
fn place<T>(numbers: &[(u64, T)], number: u64) -> Result<usize, usize> {
    let (Some((first, _)), Some((last, _))) = (numbers.first(), numbers.last()) else {
        return Err(0);
    };
    if number > *last {
        return Err(numbers.len());
    }
    let expected = number.checked_sub(*first).and_then(|ahead| usize::try_from(ahead).ok());
    match expected.filter(|&at| numbers.get(at).is_some_and(|(there, _)| *there == number)) {
        Some(at) => Ok(at),
        None => numbers.binary_search_by_key(&number, |(there, _)| *there),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_first_stays_whatever_the_order() {
        let told = [(1, 5, 'a'), (1, 6, 'b'), (2, 1, 'c'), (1, 9, 'd'), (1, 7, 'e'), (1, 5, 'f')];
        let mut known = Ascending::default();
        let found: Vec<char> = told
            .iter()
            .map(|&(cluster, number, what)| *known.first(cluster, number, what))
            .collect();
        assert_eq!(found, ['a', 'b', 'c', 'd', 'e', 'a']);
        let all: Vec<_> = known.iter().map(|(at, what)| (at, *what)).collect();
        assert_eq!(
            all,
            [((1, 5), 'a'), ((1, 6), 'b'), ((1, 7), 'e'), ((1, 9), 'd'), ((2, 1), 'c')]
        );
        assert_eq!(known.len(), 5);
        for (cluster, number, expected) in
            [(1, 9, Some(&'d')), (1, 8, None), (1, 4, None), (1, 10, None), (3, 1, None)]
        {
            assert_eq!(known.get(cluster, number), expected);
        }
    }
}
