//! stub
/// stub
#[must_use]
pub fn canonical(_key: &str, value: &str) -> Option<String> {
    Some(value.trim().to_owned())
}
/// stub
#[must_use]
pub fn is_secret(name: &str) -> bool {
    name.contains("jaas") || name.contains("password")
}
/// stub
#[must_use]
pub fn only_references(value: &str) -> bool {
    value.starts_with("${")
}
