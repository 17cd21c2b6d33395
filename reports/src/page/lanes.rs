//! Which lane of the timeline an operation is drawn in. A client keeps its lane while it lives, and
//! a client that comes after its end may take the lane over, so that there are about as many lanes
//! as clients at a time, however many retire. Operations of a client that overlap get lanes of
//! their own. Within a lane nothing overlaps. Watches, which last long, have the last lanes.

use std::collections::BTreeMap;

use crate::record::{Call, ClientId, Operation, Time};

/// Lanes of a run's operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// How many.
    pub many: usize,
    /// By operation.
    pub of: Vec<usize>,
}

/// When an operation's bar ends.
pub fn until(operation: &Operation, ended: Time) -> Time {
    match operation.outcome {
        Some(_) => operation.completed.min(ended.max(operation.invoked)),
        None => ended.max(operation.invoked),
    }
}

/// Part of a client whose operations follow one another.
struct Strand {
    from: Time,
    to: Time,
    operations: Vec<usize>,
}

/// Gives every operation its lane.
pub fn lanes(operations: &[Operation], ended: Time) -> Lanes {
    let mut clients: BTreeMap<(bool, ClientId), Vec<Strand>> = BTreeMap::new();
    for (place, operation) in operations.iter().enumerate() {
        let (from, to) = (operation.invoked, until(operation, ended));
        let is_watch = matches!(operation.call, Call::Watch(_));
        let strands = clients.entry((is_watch, operation.client)).or_default();
        match strands.iter_mut().find(|strand| strand.to <= from) {
            Some(strand) => {
                strand.to = to;
                strand.operations.push(place);
            }
            None => strands.push(Strand { from, to, operations: vec![place] }),
        }
    }
    let (mut others, mut watches) = (Vec::new(), Vec::new());
    for ((is_watch, _), strands) in clients {
        if is_watch { &mut watches } else { &mut others }.extend(strands);
    }
    let mut lanes = Lanes { many: 0, of: vec![0; operations.len()] };
    lanes.place(others);
    lanes.place(watches);
    lanes
}

impl Lanes {
    /// Gives strands lanes below those that are taken.
    fn place(&mut self, mut strands: Vec<Strand>) {
        strands.sort_by_key(|strand| strand.from);
        let mut free_from: Vec<Time> = Vec::new();
        for strand in strands {
            let lane = match free_from.iter().position(|free| *free <= strand.from) {
                Some(lane) => lane,
                None => {
                    free_from.push(Time::ZERO);
                    free_from.len() - 1
                }
            };
            free_from[lane] = strand.to;
            for place in strand.operations {
                self.of[place] = self.many + lane;
            }
        }
        self.many += free_from.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{OpId, Outcome, Watch};

    fn operation(id: u32, client: u32, from: u64, to: u64) -> Operation {
        Operation {
            id: OpId(id),
            client: ClientId(client),
            member: 0,
            invoked: Time(from),
            call: Call::Status,
            completed: Time(to),
            outcome: (to > 0).then(|| Outcome::Fail(String::new())),
        }
    }

    #[test]
    fn a_successor_takes_the_lane_of_a_client_that_retired() {
        let operations = [
            operation(0, 0, 0, 10),
            operation(1, 1, 5, 20),
            operation(2, 0, 12, 15),
            operation(3, 2, 16, 30),
        ];
        assert_eq!(lanes(&operations, Time(40)), Lanes { many: 2, of: vec![0, 1, 0, 0] });
    }

    #[test]
    fn operations_that_overlap_never_share_a_lane() {
        let operations = [operation(0, 0, 0, 0), operation(1, 0, 5, 7), operation(2, 0, 7, 9)];
        assert_eq!(lanes(&operations, Time(40)), Lanes { many: 2, of: vec![0, 1, 1] });
    }

    #[test]
    fn watches_have_the_last_lanes() {
        let mut operations = [operation(0, 0, 0, 0), operation(1, 0, 5, 7), operation(2, 1, 6, 9)];
        operations[0].call = Call::Watch(Watch::default());
        assert_eq!(lanes(&operations, Time(40)), Lanes { many: 3, of: vec![2, 0, 1] });
    }
}
