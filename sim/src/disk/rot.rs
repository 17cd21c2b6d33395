//! Where the records of a log segment are, as far as damage needs to know: a frame of eight bytes
//! with the record's length in its low 56 bits and how much padding follows in its high ones.
//!
//! The last byte of a record is content and neither framing nor type, so that a flipped bit there
//! is what a checksum is for. Nothing is decoded here.

use super::inode::Inode;

const FRAME: u64 = 8;

/// The last byte of each record that is more than a frame, in order.
pub(super) fn contents(file: &Inode) -> impl Iterator<Item = u64> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let mut frame = [0; FRAME as usize];
        if file.read(at, &mut frame) < frame.len() {
            return None;
        }
        let frame = u64::from_le_bytes(frame);
        let (length, padding) = (frame & ((1 << 56) - 1), frame >> 56 & 7);
        let end = at.checked_add(FRAME)?.checked_add(length)?;
        if length == 0 || end > file.len() {
            return None;
        }
        at = end + padding;
        Some(end - 1)
    })
}
