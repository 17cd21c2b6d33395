//! The input is a list of records: a type, a length, and so many bytes each. They are framed with
//! correct checksums behind a sound head, so that what lies behind the checksums is reached.
#![no_main]

#[path = "../src/continued.rs"]
mod continued;

fn varint(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

fn put(segment: &mut Vec<u8>, chain: &mut u32, kind: u8, data: Option<&[u8]>) {
    *chain = crc32c::crc32c_append(*chain, data.unwrap_or_default());
    let mut record = vec![0x08, kind, 0x10];
    varint(&mut record, u64::from(*chain));
    if let Some(data) = data {
        record.push(0x1a);
        varint(&mut record, data.len() as u64);
        record.extend_from_slice(data);
    }
    let padding = record.len().wrapping_neg() % 8;
    let top = if padding > 0 { 0x80 | padding as u64 } else { 0 };
    segment.extend_from_slice(&(record.len() as u64 | top << 56).to_le_bytes());
    segment.append(&mut record);
    segment.extend_from_slice(&[0; 7][..padding]);
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (mut segment, mut chain) = (Vec::new(), 0);
    put(&mut segment, &mut chain, 4, None);
    put(&mut segment, &mut chain, 1, Some(b"metadata"));
    put(&mut segment, &mut chain, 5, Some(&[8, 0, 16, 0]));
    let mut rest = input;
    while let [kind, length, tail @ ..] = rest {
        let (data, next) = tail.split_at((*length as usize).min(tail.len()));
        put(&mut segment, &mut chain, kind % 7, Some(data));
        rest = next;
    }
    continued::open_and_continue(segment);
});
