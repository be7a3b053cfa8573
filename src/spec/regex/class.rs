//! Character classes: `[...]`, `\p{...}` and the short ones, as sets that the engine reads without its own opinions.

use super::RegexError;

/// `\d` and its kind; Java means ASCII unless told otherwise.
pub(super) const DIGIT: &str = "0-9";
pub(super) const WORD: &str = "a-zA-Z_0-9";
pub(super) const SPACE: &str = r"\x{20}\x{9}-\x{D}";
pub(super) const HORIZONTAL: &str = r"\x{20}\x{9}\x{A0}\x{1680}\x{180E}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}";
pub(super) const VERTICAL: &str = r"\x{A}-\x{D}\x{85}\x{2028}\x{2029}";

/// Names behind `\p` that are plain sets of ASCII, or of code points.
const SETS: &[(&str, &str)] = &[
    ("Lower", "a-z"),
    ("Upper", "A-Z"),
    ("ASCII", r"\x{0}-\x{7F}"),
    ("Alpha", "a-zA-Z"),
    ("Digit", "0-9"),
    ("Alnum", "a-zA-Z0-9"),
    ("Punct", r"\x{21}-\x{2F}\x{3A}-\x{40}\x{5B}-\x{60}\x{7B}-\x{7E}"),
    ("Graph", r"\x{21}-\x{7E}"),
    ("Print", r"\x{20}-\x{7E}"),
    ("Blank", r"\x{20}\x{9}"),
    ("Cntrl", r"\x{0}-\x{1F}\x{7F}"),
    ("XDigit", "0-9a-fA-F"),
    ("Space", SPACE),
    ("L1", r"\x{0}-\x{FF}"),
    ("all", r"\x{0}-\x{10FFFF}"),
    ("LC", r"\p{Lu}\p{Ll}\p{Lt}"),
    ("LD", r"\p{L}\p{Nd}"),
    ("javaLowerCase", r"\p{Lowercase}"),
    ("javaUpperCase", r"\p{Uppercase}"),
    ("javaAlphabetic", r"\p{Alphabetic}"),
    ("javaTitleCase", r"\p{Lt}"),
    ("javaDigit", r"\p{Nd}"),
    ("javaLetter", r"\p{L}"),
    ("javaLetterOrDigit", r"\p{L}\p{Nd}"),
    ("javaSpaceChar", r"\p{Z}"),
    ("javaISOControl", r"\x{0}-\x{1F}\x{7F}-\x{9F}"),
    (
        "javaWhitespace",
        r"\x{9}-\x{D}\x{1C}-\x{20}\x{1680}\x{2000}-\x{2006}\x{2008}-\x{200A}\x{2028}\x{2029}\x{205F}\x{3000}",
    ),
    ("IsAlphabetic", r"\p{Alphabetic}"),
    ("IsIdeographic", r"\p{Ideographic}"),
    ("IsLetter", r"\p{L}"),
    ("IsLowercase", r"\p{Lowercase}"),
    ("IsUppercase", r"\p{Uppercase}"),
    ("IsTitlecase", r"\p{Lt}"),
    ("IsWhite_Space", r"\p{White_Space}"),
    ("IsControl", r"\p{Cc}"),
    ("IsDigit", r"\p{Nd}"),
];

/// Unicode's general categories.
const CATEGORIES: &[&str] = &[
    "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Me", "Mc", "N", "Nd", "Nl", "No", "Z", "Zs", "Zl", "Zp", "C", "Cc",
    "Cf", "Co", "P", "Pd", "Ps", "Pe", "Pc", "Po", "S", "Sm", "Sc", "Sk", "So", "Pi", "Pf",
];

/// Scripts that names are written in.
const SCRIPTS: &[&str] = &[
    "Latin",
    "Greek",
    "Cyrillic",
    "Armenian",
    "Hebrew",
    "Arabic",
    "Devanagari",
    "Bengali",
    "Thai",
    "Georgian",
    "Hangul",
    "Hiragana",
    "Katakana",
    "Han",
    "Common",
];

/// Sets whose members depend on case: under `(?i)` Java widens them in its own way.
const CASED: &[&str] =
    &["Lower", "Upper", "javaLowerCase", "javaUpperCase", "javaTitleCase", "IsLowercase", "IsUppercase", "IsTitlecase"];

/// The inside of a class for a name behind `\p`.
pub(super) fn property(name: &str, ignore_case: bool, at: usize) -> Result<String, RegexError> {
    let refuse = || RegexError::Unsupported { construct: format!("\\p{{{name}}}"), at };
    let bare = ["general_category=", "gc="].iter().find_map(|p| name.strip_prefix(p));
    let category = bare.or_else(|| name.strip_prefix("Is")).unwrap_or(name);
    if ignore_case && (CASED.contains(&name) || matches!(category, "Lu" | "Ll" | "Lt")) {
        return Err(RegexError::Unsupported { construct: format!("\\p{{{name}}} under (?i)"), at });
    }
    if let Some((_, set)) = SETS.iter().find(|(known, _)| *known == name) {
        return Ok((*set).to_owned());
    }
    if CATEGORIES.contains(&category) {
        return Ok(format!(r"\p{{{category}}}"));
    }
    let script = ["script=", "sc=", "Is"].iter().find_map(|p| name.strip_prefix(p)).ok_or_else(refuse)?;
    let known = SCRIPTS.iter().find(|known| known.eq_ignore_ascii_case(script)).ok_or_else(refuse)?;
    Ok(format!(r"\p{{{known}}}"))
}

/// One character as the engine reads it, inside a class or outside.
pub(super) fn literal(c: char) -> String {
    if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\x{{{:X}}}", u32::from(c)) }
}

/// The other case of an ASCII letter.
pub(super) fn other_case(c: char) -> Option<char> {
    if c.is_ascii_lowercase() {
        Some(c.to_ascii_uppercase())
    } else if c.is_ascii_uppercase() {
        Some(c.to_ascii_lowercase())
    } else {
        None
    }
}

/// A range inside a class; under `(?i)` with the ASCII letters whose other case lies in it.
pub(super) fn range(from: char, to: char, ignore_case: bool) -> String {
    let mut out = if from == to { literal(from) } else { format!("{}-{}", literal(from), literal(to)) };
    if ignore_case {
        let letters = ('a'..='z').chain('A'..='Z');
        out.extend(letters.filter(|c| other_case(*c).is_some_and(|other| from <= other && other <= to)));
    }
    out
}
