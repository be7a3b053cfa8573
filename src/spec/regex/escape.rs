//! What stands behind a backslash.

use super::RegexError;
use super::class::{self, DIGIT, HORIZONTAL, SPACE, VERTICAL, WORD};
use super::translate::{LINE_END, Translator};

/// What Java 17 takes for a part of a word in `\b`: wider than `\w`.
const BOUNDARY_WORD: &str = r"[_\p{L}\p{Nd}]";

/// What an escape turned out to be.
pub(super) enum Escape {
    Char(char),
    /// The inside of a class, and whether it is negated.
    Set(String, bool),
    /// Something that isn't one character.
    Other(String),
}

impl Translator {
    /// What stands behind a backslash, which is eaten.
    pub(super) fn escape(&mut self, in_class: bool) -> Result<Escape, RegexError> {
        let Some(c) = self.peek() else { return Err(self.syntax("a '\\' at the end")) };
        let start = self.at;
        self.at += 1;
        let set = |text: &str, negated| Ok(Escape::Set(text.to_owned(), negated));
        match c {
            'd' => set(DIGIT, false),
            'D' => set(DIGIT, true),
            'w' => set(WORD, false),
            'W' => set(WORD, true),
            's' => set(SPACE, false),
            'S' => set(SPACE, true),
            'h' => set(HORIZONTAL, false),
            'H' => set(HORIZONTAL, true),
            'v' => set(VERTICAL, false),
            'V' => set(VERTICAL, true),
            'p' | 'P' => {
                let at = start;
                let name = self.property_name()?;
                Ok(Escape::Set(class::property(&name, self.flags.ignore_case, at)?, c == 'P'))
            }
            't' => Ok(Escape::Char('\t')),
            'n' => Ok(Escape::Char('\n')),
            'r' => Ok(Escape::Char('\r')),
            'f' => Ok(Escape::Char('\u{c}')),
            'a' => Ok(Escape::Char('\u{7}')),
            'e' => Ok(Escape::Char('\u{1b}')),
            'c' => {
                let Some(control) = self.peek().filter(char::is_ascii) else {
                    return Err(self.syntax("an illegal control escape"));
                };
                self.at += 1;
                Ok(Escape::Char(char::from(control as u8 ^ 64)))
            }
            '0' => self.octal().map(Escape::Char),
            'x' => self.hex().map(Escape::Char),
            'u' => self.unicode().map(Escape::Char),
            _ if in_class && c.is_ascii_alphanumeric() => Err(self.syntax("an unknown escape in a class")),
            'b' if self.peek() == Some('{') => Err(self.refuse("\\b{g}")),
            'b' => Ok(Escape::Other(boundary(false))),
            'B' => Ok(Escape::Other(boundary(true))),
            'A' => Ok(Escape::Other(r"\A".to_owned())),
            'z' => Ok(Escape::Other(r"\z".to_owned())),
            'Z' => Ok(Escape::Other(self.line_end())),
            'R' => Ok(Escape::Other(LINE_END.to_owned())),
            'G' | 'X' | 'N' => {
                self.at = start;
                Err(self.refuse(&format!("\\{c}")))
            }
            'k' => self.named_reference(),
            '1'..='9' => self.numbered_reference(c),
            c if c.is_ascii_alphabetic() => {
                self.at = start;
                Err(self.syntax(&format!("the unknown escape \\{c}")))
            }
            c => Ok(Escape::Char(c)),
        }
    }

    fn property_name(&mut self) -> Result<String, RegexError> {
        if !self.eat('{') {
            let Some(c) = self.peek() else { return Err(self.syntax("an unknown property")) };
            self.at += 1;
            return Ok(c.to_string());
        }
        let start = self.at;
        while self.peek().is_some_and(|c| c != '}') {
            self.at += 1;
        }
        let name: String = self.chars[start..self.at].iter().collect();
        if !self.eat('}') || name.is_empty() {
            return Err(self.syntax("an unclosed property"));
        }
        Ok(name)
    }

    fn named_reference(&mut self) -> Result<Escape, RegexError> {
        if self.flags.ignore_case {
            return Err(self.refuse("a back reference under (?i)"));
        }
        if !self.eat('<') {
            return Err(self.syntax("a '\\k' without '<'"));
        }
        let name = self.name_until('>')?;
        if !self.names.contains(&name) {
            return Err(self.syntax("a reference to a group that isn't there"));
        }
        Ok(Escape::Other(format!(r"\k<{name}>")))
    }

    /// More digits belong to the number as long as there are so many groups.
    fn numbered_reference(&mut self, first: char) -> Result<Escape, RegexError> {
        if self.flags.ignore_case {
            return Err(self.refuse("a back reference under (?i)"));
        }
        let mut number = first.to_digit(10).unwrap_or_default() as usize;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            let longer = number * 10 + digit as usize;
            if longer > self.groups {
                break;
            }
            number = longer;
            self.at += 1;
        }
        if number > self.groups {
            return Err(self.refuse("a reference to a group that isn't there yet"));
        }
        Ok(Escape::Other(format!(r"(?:\{number})")))
    }

    fn octal(&mut self) -> Result<char, RegexError> {
        let mut value = 0;
        let mut digits = 0;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) {
            if digits == 3 || (digits == 2 && value > 0o37) {
                break;
            }
            value = value * 8 + digit;
            digits += 1;
            self.at += 1;
        }
        if digits == 0 {
            return Err(self.syntax("an illegal octal escape"));
        }
        char::from_u32(value).ok_or_else(|| self.syntax("an illegal octal escape"))
    }

    fn hex(&mut self) -> Result<char, RegexError> {
        let value = if self.eat('{') {
            let mut value: u32 = 0;
            let mut digits = 0;
            while let Some(digit) = self.peek().and_then(|c| c.to_digit(16)) {
                value = value.saturating_mul(16).saturating_add(digit);
                digits += 1;
                self.at += 1;
            }
            if digits == 0 || !self.eat('}') {
                return Err(self.syntax("an unclosed hexadecimal escape"));
            }
            value
        } else {
            self.fixed_hex(2)?
        };
        char::from_u32(value).ok_or_else(|| self.syntax("a hexadecimal escape that is no character"))
    }

    /// Four digits; two of them in a row may be the halves of one character.
    fn unicode(&mut self) -> Result<char, RegexError> {
        let high = self.fixed_hex(4)?;
        if (0xD800..0xDC00).contains(&high) && self.peek() == Some('\\') && self.peek_at(1) == Some('u') {
            self.at += 2;
            let low = self.fixed_hex(4)?;
            if (0xDC00..0xE000).contains(&low) {
                let joined = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                return char::from_u32(joined).ok_or_else(|| self.syntax("an illegal Unicode escape"));
            }
        }
        char::from_u32(high).ok_or_else(|| self.refuse("half of a surrogate pair"))
    }

    fn fixed_hex(&mut self, digits: usize) -> Result<u32, RegexError> {
        let mut value = 0;
        for _ in 0..digits {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(16)) else {
                return Err(self.syntax("an illegal hexadecimal or Unicode escape"));
            };
            value = value * 16 + digit;
            self.at += 1;
        }
        Ok(value)
    }
}

/// `\b` and `\B`.
fn boundary(negated: bool) -> String {
    let w = BOUNDARY_WORD;
    if negated {
        format!("(?:(?<={w})(?={w})|(?<!{w})(?!{w}))")
    } else {
        format!("(?:(?<={w})(?!{w})|(?<!{w})(?={w}))")
    }
}
