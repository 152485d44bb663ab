//! What may have been meant by a word that has no place on the line.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::COMMANDS;
use crate::config;

/// The word that nothing was expected to be, if that is what is wrong.
fn unexpected(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) if error.kind() == ErrorKind::UnknownArgument => Some(word.clone()),
        _ => None,
    }
}

/// Says of which kind what is to be purged may be.
pub(super) fn with_option(mut error: clap::Error) -> clap::Error {
    if let Some(word) = unexpected(&error).filter(|word| !word.starts_with('-')) {
        let hint = format!("say what it is: sidecache purge --url {word}, or --tag, or --rule");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
    error
}

/// Says how a word that stands in the wrong place is meant to be written.
pub(super) fn with_hint(mut error: clap::Error) -> clap::Error {
    let Some(word) = unexpected(&error) else { return error };
    let hint = match word.as_str() {
        command if COMMANDS.contains(&command) => {
            format!("it comes first: sidecache {word} --config FILE")
        }
        option if option.starts_with('-') => return error,
        "run" | "start" | "serve" => "to run takes no word: sidecache --config FILE".to_owned(),
        _ => match config::nearest(&word, COMMANDS) {
            Some(command) => format!("did you mean: sidecache {command}"),
            None => format!("to run an app behind the sidecar, put -- before it: sidecache -- {word} …"),
        },
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    error
}
