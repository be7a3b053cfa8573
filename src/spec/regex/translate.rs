//! From Java's syntax to the engine's: one pass, recursive, every construct either translated or refused by name.

use super::RegexError;
use super::class;
use super::escape::Escape;

/// How deep groups and classes may lie in each other.
const MAX_DEPTH: usize = 60;

/// A line terminator, as `$` and `.` know it.
pub(super) const LINE_END: &str = r"(?:\x{D}\x{A}|[\x{A}\x{D}\x{85}\x{2028}\x{2029}])";

/// Flags that hold from here to the end of the group.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) ignore_case: bool,
    pub(super) unicode_case: bool,
    pub(super) dot_all: bool,
    pub(super) unix_lines: bool,
}

pub(super) struct Translator {
    pub(super) chars: Vec<char>,
    pub(super) at: usize,
    pub(super) flags: Flags,
    pub(super) quoting: bool,
    pub(super) groups: usize,
    pub(super) names: Vec<String>,
    pub(super) depth: usize,
}

pub(super) fn translate(pattern: &str) -> Result<String, RegexError> {
    let mut translator = Translator {
        chars: pattern.chars().collect(),
        at: 0,
        flags: Flags::default(),
        quoting: false,
        groups: 0,
        names: Vec::new(),
        depth: 0,
    };
    let out = translator.alternation()?;
    if translator.at < translator.chars.len() {
        return Err(translator.syntax("a ')' without '('"));
    }
    Ok(out)
}

impl Translator {
    pub(super) fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    pub(super) fn eat(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        self.at += usize::from(there);
        there
    }

    pub(super) fn syntax(&self, what: &str) -> RegexError {
        RegexError::Syntax { what: what.to_owned(), at: self.at + 1 }
    }

    pub(super) fn refuse(&self, construct: &str) -> RegexError {
        RegexError::Unsupported { construct: construct.to_owned(), at: self.at + 1 }
    }

    /// Everything up to `)` or the end.
    fn alternation(&mut self) -> Result<String, RegexError> {
        if self.depth >= MAX_DEPTH {
            return Err(RegexError::TooLarge);
        }
        self.depth += 1;
        let mut out = String::new();
        while let Some(c) = self.peek() {
            if !self.quoting {
                match c {
                    ')' => break,
                    '|' => {
                        self.at += 1;
                        out.push('|');
                        continue;
                    }
                    '*' | '+' | '?' => return Err(self.syntax(&format!("a '{c}' with nothing to repeat"))),
                    '{' => return Err(self.syntax("a '{' with nothing to repeat")),
                    _ => {}
                }
            }
            if let Some(atom) = self.atom()? {
                let repeated = self.quantified(atom)?;
                out.push_str(&repeated);
            }
        }
        self.depth -= 1;
        Ok(out)
    }

    /// One thing that may be repeated. `None`: it was a switch, not a thing.
    fn atom(&mut self) -> Result<Option<String>, RegexError> {
        let Some(c) = self.peek() else { return Ok(None) };
        if self.quoting {
            if c == '\\' && self.peek_at(1) == Some('E') {
                self.at += 2;
                self.quoting = false;
                return Ok(None);
            }
            self.at += 1;
            return Ok(Some(self.character(c)));
        }
        Ok(Some(match c {
            '(' => return self.group(),
            '[' => {
                self.at += 1;
                let inside = self.class()?;
                if self.flags.ignore_case && self.flags.unicode_case { format!("(?i:{inside})") } else { inside }
            }
            '.' => {
                self.at += 1;
                match (self.flags.dot_all, self.flags.unix_lines) {
                    (true, _) => "(?s:.)".to_owned(),
                    (false, true) => r"[^\x{A}]".to_owned(),
                    (false, false) => r"[^\x{A}\x{D}\x{85}\x{2028}\x{2029}]".to_owned(),
                }
            }
            '^' => {
                self.at += 1;
                r"\A".to_owned()
            }
            '$' => {
                self.at += 1;
                self.line_end()
            }
            '\\' => {
                if self.peek_at(1) == Some('Q') {
                    self.at += 2;
                    self.quoting = true;
                    return Ok(None);
                }
                self.at += 1;
                match self.escape(false)? {
                    Escape::Char(c) => self.character(c),
                    Escape::Set(set, negated) => format!("[{}{set}]", if negated { "^" } else { "" }),
                    Escape::Other(text) => text,
                }
            }
            c => {
                self.at += 1;
                self.character(c)
            }
        }))
    }

    /// `$` and `\Z`: before the last line terminator or at the end. Where nothing follows, the whole text must have matched
    /// and only the end is left.
    pub(super) fn line_end(&self) -> String {
        if self.at == self.chars.len() {
            return r"\z".to_owned();
        }
        if self.flags.unix_lines {
            r"(?=\x{A}?\z)".to_owned()
        } else {
            format!(r"(?=(?:{LINE_END})?\z)(?!(?<=\x{{D}})\x{{A}})")
        }
    }

    fn character(&self, c: char) -> String {
        if !self.flags.ignore_case {
            return class::literal(c);
        }
        match class::other_case(c) {
            Some(other) if !self.flags.unicode_case => format!("[{c}{other}]"),
            _ if self.flags.unicode_case && c.is_alphabetic() => format!("(?i:{})", class::literal(c)),
            _ => class::literal(c),
        }
    }

    /// A thing and how often.
    fn quantified(&mut self, atom: String) -> Result<String, RegexError> {
        if self.quoting {
            // The end of a quotation stands between its last character and what repeats that.
            if self.peek() != Some('\\') || self.peek_at(1) != Some('E') {
                return Ok(atom);
            }
            self.at += 2;
            self.quoting = false;
        }
        let Some(c) = self.peek() else { return Ok(atom) };
        let count = match c {
            '*' | '+' | '?' => {
                self.at += 1;
                c.to_string()
            }
            '{' => self.counted()?,
            _ => return Ok(atom),
        };
        if self.eat('+') {
            return Ok(format!("(?>(?:{atom}){count})"));
        }
        let lazy = if self.eat('?') { "?" } else { "" };
        if let Some(again @ ('*' | '+' | '?')) = self.peek() {
            return Err(self.syntax(&format!("a '{again}' with nothing to repeat")));
        }
        Ok(format!("(?:{atom}){count}{lazy}"))
    }

    fn counted(&mut self) -> Result<String, RegexError> {
        self.at += 1;
        let low = self.number()?.ok_or_else(|| self.syntax("an illegal repetition"))?;
        let count = if self.eat(',') {
            match self.number()? {
                Some(high) if high < low => return Err(self.syntax("an illegal repetition range")),
                Some(high) => format!("{{{low},{high}}}"),
                None => format!("{{{low},}}"),
            }
        } else {
            format!("{{{low}}}")
        };
        if self.eat('}') { Ok(count) } else { Err(self.syntax("an unclosed repetition")) }
    }

    fn number(&mut self) -> Result<Option<u32>, RegexError> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        if start == self.at {
            return Ok(None);
        }
        let digits: String = self.chars[start..self.at].iter().collect();
        digits.parse().ok().filter(|n| *n <= 10_000).map(Some).ok_or_else(|| self.syntax("a repetition beyond 10000"))
    }

    /// Everything that begins with `(`.
    fn group(&mut self) -> Result<Option<String>, RegexError> {
        self.at += 1;
        let outer = self.flags;
        let open = if self.eat('?') {
            match self.peek() {
                Some(':') => self.skip("(?:", 1),
                Some('=') => self.skip("(?=", 1),
                Some('!') => self.skip("(?!", 1),
                Some('>') => self.skip("(?>", 1),
                Some('<') => match self.peek_at(1) {
                    Some('=') => self.skip("(?<=", 2),
                    Some('!') => self.skip("(?<!", 2),
                    _ => self.named()?,
                },
                _ => {
                    self.switches()?;
                    if self.eat(')') {
                        return Ok(None);
                    }
                    self.skip("(?:", 1)
                }
            }
        } else {
            self.groups += 1;
            "(".to_owned()
        };
        let inside = self.alternation()?;
        if !self.eat(')') {
            return Err(self.syntax("an unclosed group"));
        }
        self.flags = outer;
        Ok(Some(format!("{open}{inside})")))
    }

    fn skip(&mut self, open: &str, characters: usize) -> String {
        self.at += characters;
        open.to_owned()
    }

    fn named(&mut self) -> Result<String, RegexError> {
        self.at += 1;
        let name = self.name_until('>')?;
        if self.names.contains(&name) {
            return Err(self.syntax("a group name that is there already"));
        }
        self.groups += 1;
        self.names.push(name.clone());
        Ok(format!("(?<{name}>"))
    }

    pub(super) fn name_until(&mut self, end: char) -> Result<String, RegexError> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric()) {
            self.at += 1;
        }
        let name: String = self.chars[start..self.at].iter().collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !self.eat(end) {
            return Err(self.syntax("a group name that isn't letters and digits"));
        }
        Ok(name)
    }

    /// `i`, `-i` and so on, up to `)` or `:`.
    fn switches(&mut self) -> Result<(), RegexError> {
        let mut on = true;
        loop {
            match self.peek() {
                Some('i') => self.flags.ignore_case = on,
                Some('u') => self.flags.unicode_case = on,
                Some('s') => self.flags.dot_all = on,
                Some('d') => self.flags.unix_lines = on,
                Some('-') if on => on = false,
                Some(')' | ':') => return Ok(()),
                Some(flag @ ('m' | 'x' | 'U')) if on => return Err(self.refuse(&format!("the flag (?{flag})"))),
                Some('m' | 'x' | 'U') => {}
                _ => return Err(self.syntax("an unknown group or flag")),
            }
            self.at += 1;
        }
    }

    /// The rest of a class whose `[` is eaten, as the engine's `[...]`.
    fn class(&mut self) -> Result<String, RegexError> {
        if self.depth >= MAX_DEPTH {
            return Err(RegexError::TooLarge);
        }
        self.depth += 1;
        let negated = self.eat('^');
        // The sides of `&&`; the last one is being read.
        let mut sides = vec![String::new()];
        loop {
            let Some(c) = self.peek() else { return Err(self.syntax("an unclosed class")) };
            self.at += 1;
            let side = sides.len() - 1;
            let empty = sides[side].is_empty();
            let from = match c {
                _ if self.quoting => {
                    if c == '\\' && self.eat('E') {
                        self.quoting = false;
                        continue;
                    }
                    sides[side].push_str(&class::range(c, c, self.ascii_case()));
                    continue;
                }
                '[' => {
                    let nested = self.class()?;
                    sides[side].push_str(&nested);
                    continue;
                }
                '&' if self.peek() == Some('&') => {
                    self.at += 1;
                    if empty || matches!(self.peek(), Some('&' | ']')) {
                        return Err(self.refuse("a '&&' with an empty side"));
                    }
                    sides.push(String::new());
                    continue;
                }
                ']' if !empty => break,
                '\\' if self.peek() == Some('Q') => {
                    self.at += 1;
                    self.quoting = true;
                    continue;
                }
                '\\' => match self.escape(true)? {
                    Escape::Char(c) => c,
                    Escape::Set(set, negated) => {
                        sides[side].push_str(&format!("[{}{set}]", if negated { "^" } else { "" }));
                        continue;
                    }
                    Escape::Other(_) => return Err(self.syntax("an unknown escape in a class")),
                },
                c => c,
            };
            let to = self.range_end()?.unwrap_or(from);
            if to < from {
                return Err(self.syntax("a range that runs backwards"));
            }
            sides[side].push_str(&class::range(from, to, self.ascii_case()));
        }
        self.depth -= 1;
        let body = if sides.len() == 1 {
            sides.concat()
        } else {
            sides.iter().map(|side| format!("[{side}]")).collect::<Vec<_>>().join("&&")
        };
        Ok(format!("[{}{body}]", if negated { "^" } else { "" }))
    }

    fn ascii_case(&self) -> bool {
        self.flags.ignore_case && !self.flags.unicode_case
    }

    /// `-x` behind a character; a `-` before `]` or `[` is itself.
    fn range_end(&mut self) -> Result<Option<char>, RegexError> {
        if self.peek() != Some('-') || matches!(self.peek_at(1), Some(']' | '[') | None) {
            return Ok(None);
        }
        self.at += 1;
        let Some(c) = self.peek() else { return Err(self.syntax("an unclosed class")) };
        self.at += 1;
        if c != '\\' {
            return Ok(Some(c));
        }
        match self.escape(true)? {
            Escape::Char(c) => Ok(Some(c)),
            _ => Err(self.syntax("an illegal range")),
        }
    }
}
