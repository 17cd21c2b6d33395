//! Damage to a member's files on this machine's disk, as the virtual disk does it: to its log, its
//! database and its snapshots. The process may run or not; it finds out when it reads.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::disk::{Change, Harm, Missing};

const SECTOR: u64 = 512;

/// Turns the last sector that the newest segment uses to zeros. False without a segment.
pub fn tear_tail(log: &Path) -> io::Result<bool> {
    let Some((file, used)) = newest(log)? else { return Ok(false) };
    let offset = (used - 1) / SECTOR * SECTOR;
    file.write_all_at(&vec![0; (used - offset) as usize], offset)?;
    Ok(true)
}

/// Flips a bit of the record in the middle of what the newest segment holds: in its last byte,
/// which is content and not framing, so that only its checksum can tell. False without a segment.
pub fn corrupt_middle(log: &Path) -> io::Result<bool> {
    let Some((file, used)) = newest(log)? else { return Ok(false) };
    let mut at = 0;
    while let Some((last, next)) = record(&file, at)? {
        if next > used / 2 {
            let mut byte = [0];
            file.read_exact_at(&mut byte, last)?;
            byte[0] ^= 1;
            file.write_all_at(&byte, last)?;
            return Ok(true);
        }
        at = next;
    }
    Ok(false)
}

/// Takes segments away, as a copy may lack them. False where there are none.
pub fn lose_segments(log: &Path, missing: Missing) -> io::Result<bool> {
    let mut segments = segments(log)?;
    missing.of(&mut segments);
    for path in &segments {
        std::fs::remove_file(path)?;
    }
    Ok(!segments.is_empty())
}

/// Damages the database or a snapshot. False where there is nothing to damage.
pub fn harm(dir: &Path, harm: Harm) -> io::Result<bool> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    let Some(path) = harm.file(&names).map(|name| dir.join(name)) else { return Ok(false) };
    let bytes = std::fs::read(&path)?;
    let Some(change) = harm.change(&bytes, |below| below / 2) else { return Ok(false) };
    let file = OpenOptions::new().write(true).open(&path)?;
    match change {
        Change::Flip { offset, mask } => {
            file.write_all_at(&[bytes[offset as usize] ^ mask], offset)?;
        }
        Change::Cut { len } => file.set_len(len)?,
        Change::Zero => {
            file.set_len(0)?;
            file.set_len(bytes.len() as u64)?;
        }
        Change::Remove => std::fs::remove_file(&path)?,
    }
    Ok(true)
}

/// Where the record at an offset has its last byte, and where the next one begins. A record's frame
/// is its length in the low 56 bits of eight bytes, and how much padding follows in the high ones.
fn record(file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    let mut frame = [0; 8];
    file.read_exact_at(&mut frame, at)?;
    let frame = u64::from_le_bytes(frame);
    let (length, padding) = (frame & ((1 << 56) - 1), frame >> 56 & 7);
    let end = at + 8 + length;
    Ok((length > 0).then_some((end - 1, end + padding)))
}

/// All segments, in their order.
fn segments(log: &Path) -> io::Result<Vec<PathBuf>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(log)? {
        let path = entry?.path();
        segments.extend(path.extension().is_some_and(|end| end == "wal").then_some(path));
    }
    segments.sort();
    Ok(segments)
}

/// The newest segment, and how many bytes of it are used: what follows is zeros, for segments are
/// made at their full size.
fn newest(log: &Path) -> io::Result<Option<(File, u64)>> {
    let Some(path) = segments(log)?.pop() else { return Ok(None) };
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
        std::fs::write(log.join("2.tmp"), [1; 100]).unwrap();
        // Two records: 600 bytes without padding, 397 bytes with three.
        let mut content = 600u64.to_le_bytes().to_vec();
        content.resize(608, 1);
        content.extend((397 | 0x83u64 << 56).to_le_bytes());
        content.resize(608 + 8 + 397, 1);
        content.resize(4096, 0);
        std::fs::write(&new, &content).unwrap();

        assert!(corrupt_middle(&log).unwrap());
        let mut expected = content;
        expected[607] = 0;
        assert!(std::fs::read(&new).unwrap() == expected, "the last byte of the first record");
        assert!(tear_tail(&log).unwrap());
        expected[512..1013].fill(0);
        assert!(std::fs::read(&new).unwrap() == expected, "the last sector that is used");
        assert_eq!(std::fs::read(&old).unwrap(), [1; 100]);
        assert!(lose_segments(&log, Missing::LastSegment).unwrap());
        assert!(old.exists() && !new.exists() && log.join("2.tmp").exists());
        assert!(lose_segments(&log, Missing::FirstSegment).unwrap());
        assert!(!old.exists());
        assert!(!lose_segments(&log, Missing::Log).unwrap(), "nothing is left");
        std::fs::remove_dir_all(&log).unwrap();
    }
}
