//! What a host needs of its virtual disk beside the files on it.

use std::rc::Rc;

use detcd::storage::disk::Disk;

use crate::world::DiskFault;

/// A disk with virtual time and faults.
pub trait Medium: Disk {
    /// Operations from now on begin at this time, or when the ones before are done.
    fn begin(&self, now: u64);
    /// When the operations so far are done.
    fn completion(&self) -> u64;
    /// Whether a sync would not end.
    fn is_hung(&self) -> bool;
    /// A process that used the disk was killed: what it had handed over before stays.
    fn kill(&self, now: u64);
    /// The power went: unsynced changes may be lost.
    fn power_loss(&self, now: u64);
    /// Injects a fault.
    fn fault(&self, now: u64, fault: &DiskFault);
    /// Removes everything.
    fn wipe(&self);
    /// Hash of every operation with its content.
    fn trace_hash(&self) -> u64;
    /// The same disk as storage code sees it.
    fn as_disk(self: Rc<Self>) -> Rc<dyn Disk>;
}
