//! `sasl.jaas.config`: one login module with its options, as Java's `JaasConfig` reads it.

/// Username and password of the module that fits `mechanism`. No error quotes a value.
pub(super) fn credentials(text: &str, mechanism: &str) -> Result<(String, String), String> {
    let tokens = tokens(text)?;
    let mut tokens = tokens.into_iter();
    let module = tokens.next().ok_or("no login module")?;
    let wanted = if mechanism == "PLAIN" { "PlainLoginModule" } else { "ScramLoginModule" };
    if module.rsplit('.').next() != Some(wanted) {
        return Err(format!("{mechanism} needs {wanted}, another login module is named"));
    }
    let flag = tokens.next().unwrap_or_default().to_ascii_lowercase();
    if !["required", "requisite", "sufficient", "optional"].contains(&flag.as_str()) {
        return Err("no control flag (required) after the login module".into());
    }
    let (mut username, mut password) = (None, None);
    loop {
        let Some(key) = tokens.next() else { return Err("the closing ; is missing".into()) };
        if key == ";" {
            break;
        }
        if tokens.next().as_deref() != Some("=") {
            return Err("an option is not name=\"value\"".into());
        }
        let value = tokens.next().filter(|v| v != ";").ok_or("an option has no value")?;
        match key.as_str() {
            "username" => username = Some(value),
            "password" => password = Some(value),
            "tokenauth" if value.eq_ignore_ascii_case("true") => {
                return Err("delegation tokens (tokenauth) are not supported".into());
            }
            // Options of the broker's side, such as user_NAME, say nothing to a client.
            _ => {}
        }
    }
    match (username, password) {
        (Some(username), Some(password)) => Ok((username, password)),
        (None, _) => Err("the login module has no username".into()),
        (_, None) => Err("the login module has no password".into()),
    }
}

/// Words, quoted strings without their quotes, `=` and `;`.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '=' | ';' => found.push(c.to_string()),
            '"' | '\'' => {
                let mut value = String::new();
                loop {
                    match chars.next() {
                        None => return Err("a quote is not closed".into()),
                        Some('\\') => value.extend(chars.next()),
                        Some(end) if end == c => break,
                        Some(other) => value.push(other),
                    }
                }
                found.push(value);
            }
            c => {
                let mut word = c.to_string();
                while let Some(next) = chars.next_if(|n| !n.is_whitespace() && !"=;\"'".contains(*n)) {
                    word.push(next);
                }
                found.push(word);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn javas_form_is_read() {
        let plain = |text| credentials(text, "PLAIN");
        let expected = Ok(("u".to_owned(), "p=1".to_owned()));
        assert_eq!(
            plain("org.apache.kafka.common.security.plain.PlainLoginModule required\n username=\"u\" password='p=1' ;"),
            expected
        );
        assert_eq!(plain("PlainLoginModule REQUIRED username=u password=\"p=1\";"), expected);
        for bad in [
            "",
            "PlainLoginModule username=\"u\" password=\"p\";",
            "PlainLoginModule required username=\"u\" password=\"p\"",
            "PlainLoginModule required username=\"u;",
            "PlainLoginModule required username=\"u\";",
            "ScramLoginModule required username=\"u\" password=\"p\";",
        ] {
            assert!(plain(bad).is_err(), "{bad}");
        }
    }
}
