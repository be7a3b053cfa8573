//! The JDK's `StreamTokenizer` as Kafka sets it up: `//` and `/* */` comments, `-`, `_` and `$` in words.

use std::str::Chars;

/// What the tokenizer finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A word, or what stands in quotes: Java's `sval`.
    Text(String),
    /// A number; Java has no text of it.
    Number,
    /// Any other character, alone.
    Char(char),
}

/// The tokens of a text.
pub(super) struct Tokens<'a> {
    rest: Chars<'a>,
    /// Read already, and part of the next token.
    ahead: Option<char>,
}

/// Java's character classes.
fn white(c: char) -> bool {
    c <= ' '
}

/// `-` is both: it begins a number, or goes on in a word.
fn digit(c: char) -> bool {
    c.is_ascii_digit() || c == '.' || c == '-'
}

fn word(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '-' | '_' | '$') || c >= '\u{a0}'
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.chars(), ahead: None }
    }

    fn read(&mut self) -> Option<char> {
        self.ahead.take().or_else(|| self.rest.next())
    }

    /// A number's text does not matter: Java's has none either.
    fn number(&mut self, first: char) -> Token {
        let mut next = Some(first);
        if first == '-' {
            next = self.read();
            if !next.is_some_and(|c| c == '.' || c.is_ascii_digit()) {
                self.ahead = next;
                return Token::Char('-');
            }
        }
        let mut dot = false;
        while let Some(c) = next {
            match c {
                '.' if !dot => dot = true,
                '0'..='9' => {}
                _ => break,
            }
            next = self.read();
        }
        self.ahead = next;
        Token::Number
    }

    fn word(&mut self, first: char) -> Token {
        let mut text = String::from(first);
        let mut next = self.read();
        while let Some(c) = next.filter(|c| word(*c) || digit(*c)) {
            text.push(c);
            next = self.read();
        }
        self.ahead = next;
        Token::Text(text)
    }

    /// Up to the same quote, or the end of the line: Java closes it there.
    fn quoted(&mut self, quote: char) -> Token {
        let mut text = String::new();
        let mut next = self.read();
        while let Some(c) = next.filter(|c| *c != quote && *c != '\n' && *c != '\r') {
            if c != '\\' {
                text.push(c);
                next = self.read();
                continue;
            }
            let escaped = self.read();
            next = self.read();
            text.push(match escaped {
                // Java makes \uffff of the end of the text; what follows is an error anyway.
                None => char::MAX,
                Some(first @ '0'..='7') => {
                    let mut code = first as u32 - '0' as u32;
                    // Two digits more at most, and no more than \377.
                    for _ in 0..if first <= '3' { 2 } else { 1 } {
                        let Some(digit) = next.and_then(|c| c.to_digit(8)) else { break };
                        code = code * 8 + digit;
                        next = self.read();
                    }
                    char::from_u32(code).unwrap_or_default()
                }
                Some('a') => '\u{7}',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('v') => '\u{b}',
                Some(other) => other,
            });
        }
        self.ahead = next.filter(|c| *c != quote);
        Token::Text(text)
    }

    /// A `/` that begins no `/*` begins a comment up to the end of the line, alone or doubled.
    fn comment(&mut self) {
        let mut next = self.read();
        if next == Some('*') {
            self.block();
            return;
        }
        // What follows the first slash is skipped unlooked at, were it the end of the line.
        loop {
            next = self.read();
            if next.is_none_or(|c| c == '\n' || c == '\r') {
                self.ahead = next;
                return;
            }
        }
    }

    /// Java's loop, which misses an end right after a line's end.
    fn block(&mut self) {
        let mut before = '\0';
        loop {
            let mut next = self.read();
            if next == Some('/') && before == '*' {
                return;
            }
            if next == Some('\r') {
                next = self.read();
                if next == Some('\n') {
                    next = self.read();
                }
            } else if next == Some('\n') {
                next = self.read();
            }
            let Some(c) = next else { return };
            before = c;
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            return Some(match self.read()? {
                c if white(c) => continue,
                c if digit(c) => self.number(c),
                c if word(c) => self.word(c),
                quote @ ('"' | '\'') => self.quoted(quote),
                '/' => {
                    self.comment();
                    continue;
                }
                other => Token::Char(other),
            });
        }
    }
}
