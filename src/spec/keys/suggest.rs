//! Did you mean: the nearest name that exists.

use super::{KEYS, Names, PREFIXES, client_names};

/// The known name nearest to one that nobody knows, when it is near enough to be meant.
#[must_use]
pub fn suggest(name: &str) -> Option<String> {
    // A name behind a known prefix is compared with what that prefix knows.
    for prefix in PREFIXES.iter().filter(|p| p.names != Names::Any) {
        if let Some(rest) = name.strip_prefix(prefix.prefix)
            && let Some(near) = nearest(rest, client_names(prefix.names))
        {
            return Some(format!("{}{near}", prefix.prefix));
        }
    }
    if let Some(near) = nearest(name, KEYS.iter().filter(|key| key.replaced_by.is_none()).map(|key| key.name)) {
        return Some(near.to_owned());
    }
    misspelt_prefix(name)
}

/// `source.clusters.security.protocol`: the prefix is what is wrong.
fn misspelt_prefix(name: &str) -> Option<String> {
    for (at, _) in name.match_indices('.') {
        let (head, rest) = (&name[..=at], &name[at + 1..]);
        for prefix in PREFIXES.iter().filter(|p| p.names != Names::Any) {
            if distance(head, prefix.prefix) <= 2 && client_names(prefix.names).any(|known| known == rest) {
                return Some(format!("{}{rest}", prefix.prefix));
            }
        }
    }
    None
}

/// The nearest of `known`, when it is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    let limit = (name.chars().count() / 5).clamp(1, 4);
    known
        .filter(|candidate| candidate.len().abs_diff(lower.len()) <= limit)
        .map(|candidate| (distance(&lower, candidate), candidate))
        .filter(|(far, _)| *far <= limit)
        .min_by_key(|(far, candidate)| (*far, *candidate))
        .map(|(_, candidate)| candidate)
}

/// How many characters must be inserted, removed, replaced or swapped with their neighbour.
pub(in crate::spec) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
