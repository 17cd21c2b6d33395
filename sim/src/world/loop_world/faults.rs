//! What the harness breaks: links, disks, clocks, and processes that freeze.

use super::LoopWorld;
use super::connection::Conn;
use super::network::Network;
use super::packet::Event;
use crate::world::tally::{Deed, Subject, Tally};
use crate::world::{
    ClockFault, DiskFault, End, LinkQuality, MessageClass, NetworkFault, WorldError,
};

impl LoopWorld {
    /// Changes the network.
    pub(super) fn network_fault(&mut self, fault: &NetworkFault) -> Result<(), WorldError> {
        for end in ends(fault).into_iter().flatten() {
            if let End::Member(place) = end {
                self.check_place(place)?;
            }
        }
        self.trace.fact(self.now, ("network", format!("{fault:?}")));
        match fault {
            NetworkFault::Cut { from, to, class } => self.cut(*from, *to, *class),
            NetworkFault::Heal { from, to } => self.heal(*from, *to),
            NetworkFault::HealAll => {
                for (from, to) in self.network.pairs() {
                    self.set_quality(from, to, None);
                    self.heal(from, to);
                }
            }
            NetworkFault::Reset { from, to } => self.reset(*from, *to),
            NetworkFault::HalfOpen { from, to } => self.half_open(*from, *to),
            NetworkFault::Quality { from, to, quality } => {
                self.set_quality(*from, *to, Some(quality));
            }
        }
        Ok(())
    }

    fn set_quality(&mut self, from: End, to: End, quality: Option<&LinkQuality>) {
        let Some(latency) = self.network.set_quality(from, to, quality) else { return };
        let by = self.now + latency;
        let travels = |event: &Event| match event {
            Event::Arrives { from: left, to: reaches, .. } => (*left, *reaches) == (from, to),
            _ => false,
        };
        self.queue.hasten(by, travels);
        if let (End::Member(from), End::Member(to)) = (from, to) {
            let test = |conn: &Conn| conn.server.place == from && conn.dialer.place == to;
            for name in self.connections.select(test) {
                let conn = self.connections.get_mut(name).expect("it was found");
                conn.last_arrival = conn.last_arrival.min(by);
            }
        }
        self.clients.hasten(from, to, by);
    }

    fn cut(&mut self, from: End, to: End, class: MessageClass) {
        let has_stopped = self.network.cut(from, to, class);
        if let (true, End::Member(from), End::Member(to)) = (has_stopped, from, to) {
            self.fall_silent(|conn| conn.server.place == from && conn.dialer.place == to);
        }
    }

    fn heal(&mut self, from: End, to: End) {
        if !self.network.heal(from, to) {
            return;
        }
        if let (End::Member(from), End::Member(to)) = (from, to) {
            self.end_silence(|conn| conn.server.place == from && conn.dialer.place == to);
        }
        self.flush(from, to);
    }

    fn half_open(&mut self, from: End, to: End) {
        if let (End::Member(from), End::Member(to)) = (from, to) {
            let broken = self.half_close(from, to);
            let (from, to) = (End::Member(from), End::Member(to));
            self.network.note(from, to, Deed::ConnectionBroken, broken);
        }
    }

    /// Changes a member's disk.
    pub(super) fn disk_fault(&mut self, place: usize, fault: &DiskFault) -> Result<(), WorldError> {
        self.check_place(place)?;
        self.trace.fact(self.now, ("disk", place, format!("{fault:?}")));
        let changes_files =
            matches!(fault, DiskFault::RollBack | DiskFault::Lose(_) | DiskFault::Harm(_));
        if changes_files && self.hosts[place].process.is_some() {
            let name = &self.hosts[place].name.0;
            let what = format!("{name} has its disk open: its files cannot be exchanged");
            return Err(WorldError::Harness(what));
        }
        self.hosts[place].device.fault(self.now, fault);
        if fault.loses() {
            self.observer.ledger.damaged(place);
        }
        if *fault == DiskFault::Recover
            && let Some(at) = self.hosts[place].process_ref(place)
        {
            self.disk_busy(place, at);
            self.read_disk(place);
            self.write_disk(place);
        }
        Ok(())
    }

    /// Changes a member's clocks.
    pub(super) fn clock_fault(
        &mut self,
        place: usize,
        fault: ClockFault,
    ) -> Result<(), WorldError> {
        self.check_place(place)?;
        self.trace.fact(self.now, ("clock", place, format!("{fault:?}")));
        let clocks = &mut self.hosts[place].clocks;
        match fault {
            ClockFault::JumpWall { by_ms } => clocks.jump_wall(by_ms),
            ClockFault::Drift { ppm } => clocks.drift(self.now, ppm),
            ClockFault::DriftWall { ppm } => clocks.drift_wall(self.now, ppm),
            ClockFault::Freeze => clocks.freeze(self.now),
            ClockFault::FreezeWall => clocks.freeze_wall(self.now),
        }
        if let Some(process) = &mut self.hosts[place].process {
            process.armed = None;
        }
        self.arm(place);
        self.await_calls_again(place);
        Ok(())
    }

    /// Freezes a process. Its peers hear nothing of it meanwhile.
    pub(super) fn pause_process(&mut self, place: usize) -> Result<(), WorldError> {
        self.check_runs(place)?;
        self.trace.fact(self.now, ("pause", place));
        if !self.hosts[place].is_paused {
            self.hosts[place].is_paused = true;
            self.fall_silent(|conn| conn.server.place == place);
        }
        Ok(())
    }

    /// Lets a process go on: what came meanwhile is taken in order.
    pub(super) fn resume_process(&mut self, place: usize) -> Result<(), WorldError> {
        self.check_runs(place)?;
        self.trace.fact(self.now, ("resume", place));
        self.hosts[place].is_paused = false;
        let network: &Network = &self.network;
        let open: Vec<bool> = (0..self.hosts.len())
            .map(|to| network.is_open(End::Member(place), End::Member(to)))
            .collect();
        self.end_silence(|conn| conn.server.place == place && open[conn.dialer.place]);
        if self.hosts[place].is_booting() {
            let at = self.hosts[place].process_ref(place).expect("it runs");
            self.disk_busy(place, at);
        }
        self.let_free(place);
        Ok(())
    }

    /// What faults have done to a member or a link until now.
    pub(super) fn tally_of(&self, subject: Subject) -> Tally {
        match subject {
            Subject::Link(from, to) => self.network.tally(from, to),
            Subject::Member(place) => {
                let Some(host) = self.hosts.get(place) else { return Tally::default() };
                let mut tally = host.tally + host.device.tally();
                let error = host.clocks.wall_error_ns(self.now) / 1_000;
                tally.add_many(Deed::WallClockError, error);
                tally
            }
        }
    }

    /// Fails unless there is such a place.
    pub(super) fn check_place(&self, place: usize) -> Result<(), WorldError> {
        if place < self.hosts.len() {
            return Ok(());
        }
        Err(WorldError::Harness(format!("there is no member at place {place}")))
    }
}

/// The ends that a fault names.
fn ends(fault: &NetworkFault) -> [Option<End>; 2] {
    match fault {
        NetworkFault::Cut { from, to, .. }
        | NetworkFault::Heal { from, to }
        | NetworkFault::Reset { from, to }
        | NetworkFault::HalfOpen { from, to }
        | NetworkFault::Quality { from, to, .. } => [Some(*from), Some(*to)],
        NetworkFault::HealAll => [None, None],
    }
}

/// A link between machines of one data centre: a tenth of a millisecond to one.
pub fn near() -> LinkQuality {
    LinkQuality {
        latency: (std::time::Duration::from_micros(100), std::time::Duration::from_micros(1_000)),
        loss_per_10k: 0,
        duplicate_per_10k: 0,
        reorder_per_10k: 0,
        tail_per_10k: 0,
        bandwidth: 0,
    }
}
