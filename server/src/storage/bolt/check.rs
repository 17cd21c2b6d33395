//! What `bbolt check` looks for in a file, and what bbolt would trip over: every fault of every
//! page that the newest state refers to, and of its list of free pages.

use std::fmt;

use super::error::{BoltError, PageFault};
use super::meta::{Meta, NO_FREELIST};
use super::pager::Pager;
use super::walk::{PageSet, Walk};
use crate::storage::disk::{Disk, Path};

/// Something wrong with a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which page.
    pub page: u64,
    /// What is wrong with it.
    pub fault: PageFault,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {}: {}", self.page, self.fault)
    }
}

/// Looks for damage in a file that nobody has open. Below a page that cannot be read nothing is
/// found. It is an error when no meta page is whole, or the file is shorter than that says.
pub fn check(disk: &dyn Disk, path: &Path) -> Result<Vec<Finding>, BoltError> {
    let mut pager = Pager::open(disk, path, 0)?;
    let meta = pager.read_meta()?;
    state(&pager, &meta, None)
}

/// Looks for damage in a state. Its free pages are those given, or those of its freelist page; when
/// it has none, whatever nothing refers to is free.
pub(super) fn state(
    pager: &Pager,
    meta: &Meta,
    free: Option<&[u64]>,
) -> Result<Vec<Finding>, BoltError> {
    let mut findings = Vec::new();
    let mut report = |page, fault| {
        findings.push(Finding { page, fault });
        Ok(())
    };
    let reached = Walk::all(pager, meta, &mut report, None)?;
    let synced = match (free, meta.freelist) {
        (Some(_), _) | (None, NO_FREELIST) => None,
        // A freelist page that cannot be read was reported on the way.
        (None, page) => pager.read_freelist(page, meta.high_water).ok().map(|(ids, _)| ids),
    };
    if let Some(free) = free.or(synced.as_deref()) {
        let page = if synced.is_some() { meta.freelist } else { 0 };
        findings.extend(compare(&reached, free, page, meta.high_water));
    }
    Ok(findings)
}

/// Every page is either reached or free, and free but once.
fn compare(reached: &PageSet, free: &[u64], freelist: u64, high_water: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut freed = PageSet::new(high_water);
    for &id in free {
        if !(2..high_water).contains(&id) {
            let fault = PageFault::FreeOutOfBounds { page: id };
            findings.push(Finding { page: freelist, fault });
            continue;
        }
        if !freed.insert(id) {
            findings.push(Finding { page: id, fault: PageFault::AlreadyFreed });
        } else if reached.contains(id) {
            findings.push(Finding { page: id, fault: PageFault::ReachableFreed });
        }
    }
    for page in (0..high_water).filter(|&id| !reached.contains(id) && !freed.contains(id)) {
        findings.push(Finding { page, fault: PageFault::UnreachableUnfreed });
    }
    findings
}
