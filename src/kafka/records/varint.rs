//! Zigzag variable-length numbers: `org.apache.kafka.common.utils.ByteUtils`.

/// Reads from the front of a slice; `None` when it is cut off or longer than the type allows.
pub(super) fn read_i32(bytes: &mut &[u8]) -> Option<i32> {
    // One byte is by far the most frequent.
    if let Some((&first, rest)) = bytes.split_first()
        && first < 0x80
    {
        *bytes = rest;
        return Some(unzigzag32(u32::from(first)));
    }
    read_unsigned(bytes, 5).map(|raw| unzigzag32(raw as u32))
}

/// As [`read_i32`] for 64 bits.
pub(super) fn read_i64(bytes: &mut &[u8]) -> Option<i64> {
    read_unsigned(bytes, 10).map(|raw| (raw >> 1) as i64 ^ -((raw & 1) as i64))
}

fn unzigzag32(raw: u32) -> i32 {
    (raw >> 1) as i32 ^ -((raw & 1) as i32)
}

fn read_unsigned(bytes: &mut &[u8], most: usize) -> Option<u64> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(most).enumerate() {
        // Bits beyond the type's width fall off, as in Java.
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Some(value);
        }
    }
    None
}

pub(super) fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_unsigned(out, u64::from(zigzag32(value)));
}

pub(super) fn write_i64(out: &mut Vec<u8>, value: i64) {
    write_unsigned(out, zigzag64(value));
}

pub(super) fn len_i32(value: i32) -> usize {
    len_unsigned(u64::from(zigzag32(value)))
}

pub(super) fn len_i64(value: i64) -> usize {
    len_unsigned(zigzag64(value))
}

fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn len_unsigned(raw: u64) -> usize {
    (70 - (raw | 1).leading_zeros() as usize) / 7
}

fn write_unsigned(out: &mut Vec<u8>, mut raw: u64) {
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}
