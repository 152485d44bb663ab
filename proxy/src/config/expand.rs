//! `${NAME}` inside a scalar. Works on the parsed scalar, so a variable's text never becomes
//! structure, and is not expanded again.
//!
//! | written | gives |
//! |---|---|
//! | `${NAME}` | the variable; unset is an error |
//! | `${NAME:-default}` | the default where unset or empty; it may hold such forms itself |
//! | `${NAME:?message}` | an error with this message where unset or empty |
//! | `$$` | a dollar sign |

use super::problem::Wrong;

/// Where variables come from.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Defaults within defaults.
const MAX_DEPTH: usize = 8;

/// Expands a scalar.
pub(super) fn expand(text: &str, env: Env<'_>) -> Result<String, Wrong> {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(dollar) = rest.find('$') {
        let (before, from_dollar) = rest.split_at(dollar);
        out.push_str(before);
        rest = dollar_form(from_dollar, Some(env), 0, &mut out)?;
    }
    out.push_str(rest);
    Ok(out)
}

/// Expands the form that `text` begins with; gives what follows it. Without an `env` it only
/// looks for the form's end: the default of a variable that is set need not be expandable.
fn dollar_form<'t>(
    text: &'t str,
    env: Option<Env<'_>>,
    depth: usize,
    out: &mut String,
) -> Result<&'t str, Wrong> {
    if let Some(rest) = text.strip_prefix("$$") {
        out.push('$');
        return Ok(rest);
    }
    let Some(inside) = text.strip_prefix("${") else {
        return Err(lone_dollar());
    };
    if depth > MAX_DEPTH {
        return Err(Wrong::new("defaults stand too deep in each other", ""));
    }
    let (name, rest) = name(inside)?;
    let value = env.and_then(|env| env(name));
    if let Some(rest) = rest.strip_prefix('}') {
        match (value, env) {
            (Some(value), _) => out.push_str(&value),
            (None, None) => {}
            (None, Some(_)) => return Err(unset(name)),
        }
        return Ok(rest);
    }
    let value = value.filter(|value| !value.is_empty());
    let other = env.filter(|_| value.is_none());
    let mut alternative = String::new();
    let (required, rest) = match (rest.strip_prefix(":-"), rest.strip_prefix(":?")) {
        (Some(rest), _) => (false, until_brace(rest, other, depth, &mut alternative)?),
        (_, Some(rest)) => (true, until_brace(rest, other, depth, &mut alternative)?),
        _ => return Err(unclosed()),
    };
    if required && other.is_some() {
        return Err(Wrong::new(
            format!("{name}: {}", or(&alternative, "must be set")),
            "needs this variable",
        ));
    }
    out.push_str(value.as_deref().unwrap_or(&alternative));
    Ok(rest)
}

fn until_brace<'t>(
    text: &'t str,
    env: Option<Env<'_>>,
    depth: usize,
    out: &mut String,
) -> Result<&'t str, Wrong> {
    let mut rest = text;
    while let Some(at) = rest.find(['$', '}']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        match from.strip_prefix('}') {
            Some(after) => return Ok(after),
            None => rest = dollar_form(from, env, depth + 1, out)?,
        }
    }
    Err(unclosed())
}

fn name(inside: &str) -> Result<(&str, &str), Wrong> {
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Wrong::new(
            "`${` needs the name of a variable",
            "write ${NAME}, or $$ for a dollar sign",
        ));
    }
    Ok((name, rest))
}

fn unset(name: &str) -> Wrong {
    Wrong::new(
        format!("the environment variable {name} is not set"),
        format!("set it, or write ${{{name}:-default}}"),
    )
}

fn unclosed() -> Wrong {
    Wrong::new("`${` without its end", "write ${NAME}, ${NAME:-default} or ${NAME:?message}")
}

/// Does not repeat what follows: it may be a piece of a password.
fn lone_dollar() -> Wrong {
    Wrong::new("a lone `$`", "write ${NAME} for a variable, $$ for a dollar sign")
}

fn or<'t>(text: &'t str, otherwise: &'t str) -> &'t str {
    if text.is_empty() { otherwise } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            "WILD" => Some("${A} $$ }: [x]".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn forms() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${A}", "one"),
            ("x${A}y${A}", "xoneyone"),
            ("${EMPTY}", ""),
            ("${A:-two}", "one"),
            ("${NONE:-two}", "two"),
            ("${EMPTY:-two}", "two"),
            ("${NONE:-}", ""),
            ("${NONE:-http://h:80}", "http://h:80"),
            ("${NONE:-${A}!}", "one!"),
            ("${NONE:-${NEITHER:-three}}", "three"),
            ("${A:-${NONE}}", "one"),
            ("${A:?gone}", "one"),
            ("$$", "$"),
            ("$${A}", "${A}"),
            ("${NONE:-$$}", "$"),
            ("${WILD}", "${A} $$ }: [x]"),
        ] {
            assert_eq!(expand(text, &env).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, message) in [
            ("${NONE}", "the environment variable NONE is not set"),
            ("${NONE:-${NEITHER}}", "the environment variable NEITHER is not set"),
            ("${NONE:?ask the owner}", "NONE: ask the owner"),
            ("${NONE:?}", "NONE: must be set"),
            ("${EMPTY:?}", "EMPTY: must be set"),
            ("${A", "`${` without its end"),
            ("${A:-x", "`${` without its end"),
            ("${A:x}", "`${` without its end"),
            ("${A-x}", "`${` without its end"),
            ("${}", "`${` needs the name of a variable"),
            ("${1}", "`${` needs the name of a variable"),
            ("$HOME/x", "a lone `$`"),
            ("5$", "a lone `$`"),
            (&"${N:-".repeat(20), "defaults stand too deep in each other"),
        ] {
            assert_eq!(expand(text, &env).unwrap_err().message, message, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_with_its_dollars_doubled_comes_back(text in ".{0,40}") {
            prop_assert_eq!(expand(&text.replace('$', "$$"), &env), Ok(text));
        }

        #[test]
        fn never_panics(text in "[${}:?A-]{0,40}") {
            let _ = expand(&text, &env);
        }
    }
}
