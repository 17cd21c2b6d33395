//! Damage to a member's log files on this machine's disk, as the virtual disk does it: a torn tail,
//! a flipped byte. The process may run or not; it finds out when it reads.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const SECTOR: u64 = 512;

/// Turns the last sector that the newest segment uses to zeros. False without a segment.
pub fn tear_tail(log: &Path) -> io::Result<bool> {
    let Some((file, used)) = newest(log)? else { return Ok(false) };
    let offset = (used - 1) / SECTOR * SECTOR;
    file.write_all_at(&vec![0; (used - offset) as usize], offset)?;
    Ok(true)
}

/// Flips a bit in the middle of what the newest segment holds. False without a segment.
pub fn corrupt_middle(log: &Path) -> io::Result<bool> {
    let Some((file, used)) = newest(log)? else { return Ok(false) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, used / 2)?;
    byte[0] ^= 1;
    file.write_all_at(&byte, used / 2)?;
    Ok(true)
}

/// The newest segment, and how many bytes of it are used: what follows is zeros, for segments are
/// made at their full size.
fn newest(log: &Path) -> io::Result<Option<(File, u64)>> {
    let mut newest: Option<PathBuf> = None;
    for entry in std::fs::read_dir(log)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "wal") && newest.as_ref() < Some(&path) {
            newest = Some(path);
        }
    }
    let Some(path) = newest else { return Ok(None) };
    let bytes = std::fs::read(&path)?;
    let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else { return Ok(None) };
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    Ok(Some((file, last as u64 + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_segment_is_damaged_within_what_it_uses() {
        let log = std::env::temp_dir().join(format!("detsim-damage-{}", std::process::id()));
        std::fs::create_dir_all(&log).unwrap();
        let (old, new) = (log.join("0-0.wal"), log.join("1-7.wal"));
        std::fs::write(&old, [1; 100]).unwrap();
        let mut content = vec![1; 1000];
        content.resize(4096, 0);
        std::fs::write(&new, &content).unwrap();
        std::fs::write(log.join("2.tmp"), [1; 100]).unwrap();

        assert!(corrupt_middle(&log).unwrap());
        assert!(tear_tail(&log).unwrap());
        let damaged = std::fs::read(&new).unwrap();
        let differing = damaged.iter().zip(&content).filter(|(one, other)| one != other).count();
        assert_eq!((damaged.len(), differing), (4096, 1 + 1000 - 512));
        assert_eq!((damaged[500], damaged[511], damaged[512]), (0, 1, 0));
        assert_eq!(std::fs::read(&old).unwrap(), [1; 100]);
        std::fs::remove_dir_all(&log).unwrap();
    }
}
