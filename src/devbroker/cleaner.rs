//! A log cleaner to be run by hand: of each key the newest record stays, at its offset.

use std::collections::HashMap;
use std::io;

use super::header::Header;
use super::log::{Log, Stored};
use super::records;

/// What is left of the log; batches that lost all their records go, but the last, which keeps the end (as Kafka's
/// cleaner does, it is left empty).
pub(crate) fn clean(log: &Log, drop_tombstones: bool) -> io::Result<Vec<Stored>> {
    let mut sections = Vec::new();
    for stored in log.batches() {
        sections.push((stored, records::section(&stored.header, &stored.bytes)?));
    }
    let mut batches = Vec::new();
    let mut newest: HashMap<&[u8], i64> = HashMap::new();
    for (stored, section) in &sections {
        let views = records::views(section, stored.header.record_count);
        let views = views.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        if !stored.header.is_control() {
            for view in &views {
                if let Some(key) = view.key {
                    newest.insert(key, stored.header.base_offset + view.offset_delta);
                }
            }
        }
        batches.push((*stored, views));
    }
    let count = batches.len();
    let mut cleaned = Vec::new();
    for (at, (stored, views)) in batches.into_iter().enumerate() {
        if stored.header.is_control() {
            cleaned.push(stored.clone());
            continue;
        }
        let stays = |view: &records::View<'_>| {
            let offset = stored.header.base_offset + view.offset_delta;
            let last = view.key.is_none_or(|key| newest.get(key) == Some(&offset));
            last && (view.has_value || !drop_tombstones)
        };
        let kept: Vec<&[u8]> = views.iter().filter(|view| stays(view)).map(|view| view.raw).collect();
        if kept.len() == views.len() {
            cleaned.push(stored.clone());
        } else if !kept.is_empty() || at + 1 == count {
            let header = Header { record_count: i32::try_from(kept.len()).unwrap_or(0), ..stored.header };
            let body = if kept.is_empty() { Vec::new() } else { records::compress(header.codec(), &kept.concat())? };
            let bytes = header.seal(&body);
            let header = Header::parse(&bytes).unwrap_or(header);
            cleaned.push(Stored { header, bytes });
        }
    }
    Ok(cleaned)
}
