//! Readers of single values. Each says what is wrong without quoting the value; who calls may quote it.

use std::time::Duration;

use super::{MaxDeletes, table};

/// What is wrong with a value, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

pub(super) fn bad(message: impl Into<String>, hint: impl Into<String>) -> Bad {
    Bad { message: message.into(), hint: Some(hint.into()) }
}

/// `500ms`, `30s`, `2m`, `1h`, `1h30m`, `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, Bad> {
    let unreadable = || bad("it is no length of time", "write a number and a unit: 500ms, 30s, 5m, 2h or 1d");
    let mut rest = text.trim();
    if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad("the unit is missing", format!("write {rest}s for seconds, {rest}ms for milliseconds")));
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let number: u64 = rest[..digits].parse().map_err(|_| unreadable())?;
        let unit = match &rest[digits..digits + letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(unreadable()),
        };
        let millis = number.checked_mul(unit).ok_or_else(unreadable)?;
        total = total.checked_add(Duration::from_millis(millis)).ok_or_else(unreadable)?;
        rest = rest[digits + letters..].trim_start();
    }
    if text.trim().is_empty() { Err(unreadable()) } else { Ok(total) }
}

/// [`duration`] within bounds.
pub(super) fn duration_within(least: &str, most: &str) -> impl Fn(&str) -> Result<Duration, Bad> {
    move |text| {
        let found = duration(text)?;
        let (low, high) = (duration(least)?, duration(most)?);
        if found < low || found > high {
            return Err(bad("it is out of range", format!("from {least} to {most}")));
        }
        Ok(found)
    }
}

/// `64MiB`, `64M`, `1GiB`, `65536`: bytes. Units are powers of 1,024, as in Kubernetes with `i`; `MB` is a power of 1,000.
pub(super) fn size(text: &str) -> Result<usize, Bad> {
    let unreadable = || bad("it is no size", "write a number and a unit: 512KiB, 64MiB or 1GiB");
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| unreadable())?;
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" | "Ki" | "K" | "k" => 1 << 10,
        "MiB" | "Mi" | "M" => 1 << 20,
        "GiB" | "Gi" | "G" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(unreadable()),
    };
    let bytes = number.checked_mul(unit).and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(unreadable)?;
    // Below, one batch of Kafka's default size and its copy don't fit.
    if bytes < 4 << 20 { Err(bad("it is too small", "4MiB or more")) } else { Ok(bytes) }
}

/// `3`, `20%` or `3,20%`. What isn't said keeps its default.
pub(super) fn max_deletes(text: &str) -> Result<MaxDeletes, Bad> {
    let unreadable = || {
        bad("it is no limit of deletions", "write a number, a percentage or both: 3, 20% or 3,20%; 0 asks every time")
    };
    let mut limits = MaxDeletes::default();
    let (mut counted, mut shared) = (false, false);
    for part in text.split(',').map(str::trim) {
        if let Some(percent) = part.strip_suffix('%') {
            limits.percent = percent.trim().parse().ok().filter(|p| *p <= 100 && !shared).ok_or_else(unreadable)?;
            shared = true;
        } else {
            limits.count = part.parse().ok().filter(|_| !counted).ok_or_else(unreadable)?;
            counted = true;
        }
    }
    Ok(limits)
}

/// `host:port`, `[::1]:port`.
pub(super) fn address(text: &str) -> Result<String, Bad> {
    let wrong = || bad("it is no address", "write host:port, such as 127.0.0.1:8083 or 0.0.0.0:8083");
    let text = text.trim();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_fits = match bracketed {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
    };
    if !host_fits || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    Ok(text.to_owned())
}

pub(super) fn boolean(text: &str) -> Result<bool, Bad> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(bad("it is neither true nor false", "write true or false")),
    }
}

/// Any text that isn't empty.
pub(super) fn text(text: &str) -> Result<String, Bad> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Bad { message: "it is empty".to_owned(), hint: None });
    }
    if text.chars().any(char::is_control) {
        return Err(Bad { message: "it holds a control character".to_owned(), hint: None });
    }
    Ok(text.to_owned())
}

/// A private key, of several lines; in a variable they are often written with `\n` where they broke.
pub(super) fn key(text: &str) -> Result<String, Bad> {
    let text = text.trim();
    let text = if text.contains('\n') { text.to_owned() } else { text.replace("\\n", "\n") };
    if text.starts_with("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
        Ok(text)
    } else {
        Err(bad("it is no private key", "such as ssh-keygen writes it: -----BEGIN OPENSSH PRIVATE KEY-----, and so on"))
    }
}

/// `http://[USER:PASSWORD@]HOST[:PORT]`, or https.
pub(super) fn proxy(value: &str) -> Result<String, Bad> {
    let value = text(value)?;
    let rest = ["http://", "https://"].iter().find_map(|scheme| value.strip_prefix(scheme));
    match rest.map(|rest| rest.trim_end_matches('/')) {
        Some(rest) if !rest.is_empty() && !rest.ends_with('@') && !rest.contains(['/', '?', '#']) => Ok(value),
        _ => Err(bad("it is no proxy", "write http://HOST:PORT or https://HOST:PORT; others are not spoken")),
    }
}

/// One folder level. Topics are named after it, so it has the characters of a topic.
pub(super) fn folder(value: &str) -> Result<String, Bad> {
    let value = text(value)?;
    let fits = value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if !fits || value.starts_with('.') || value.len() > 100 {
        let hint = "one folder level, of letters, digits, dots, dashes and underscores: topics are named after it";
        return Err(bad("it can't be used as a name", hint));
    }
    Ok(value)
}

/// A folder inside the repository; `.` for all of it.
pub(super) fn root(value: &str) -> Result<String, Bad> {
    let value = text(value)?;
    let trimmed = value.trim_matches('/');
    let trimmed = trimmed.strip_prefix("./").unwrap_or(trimmed);
    if value.starts_with('/') || trimmed.split('/').any(|level| level == ".." || level.is_empty()) {
        return Err(bad("it doesn't lie inside the repository", "write a relative folder such as connectors, or ."));
    }
    Ok(if trimmed == "." { String::new() } else { trimmed.to_owned() })
}

/// A topic's legal name (`Topic.validate`).
pub(super) fn topic(value: &str) -> Result<String, Bad> {
    let value = text(value)?;
    let fits = value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if !fits || value.len() > 249 || value == "." || value == ".." {
        return Err(bad("it can't be a topic", "at most 249 letters, digits, dots, dashes and underscores"));
    }
    Ok(value)
}

pub(super) fn replication_factor(value: &str) -> Result<i16, Bad> {
    let number: Option<i16> = value.trim().parse().ok().filter(|n| *n == -1 || *n >= 1);
    number.ok_or_else(|| bad("it is no replication factor", "1 or more, or -1 for the broker's default"))
}

/// One of the words that the table names.
pub(super) fn word<T: Copy>(name: &'static str, choices: &[(&str, T)]) -> impl Fn(&str) -> Result<T, Bad> {
    move |value| {
        let value = value.trim().to_ascii_lowercase();
        choices.iter().find(|(word, _)| *word == value).map(|(_, choice)| *choice).ok_or_else(|| {
            let words = table::setting(name).map_or("", |setting| setting.takes).replace('|', ", ");
            bad("it is none of the words", format!("one of {words}"))
        })
    }
}
