//! `sidecache explain`: asks a running sidecar, or the file.

use super::{
    Question, Report, on_paper,
    text::{Asked, Shown},
};
use crate::{
    admin::{
        client::{AskFailed, post},
        explain::Body,
    },
    cli::Explain,
    config::Config,
    wrap::probe::Address,
};

/// What is read of an answer: there may be a thousand rules, each with its reason.
const ANSWER_BYTES: usize = 1024 * 1024;

/// An explanation, as it is to be printed.
#[derive(Debug)]
pub struct Explained {
    report: Report,
    json: bool,
    asked: Asked,
}

/// Asks a running sidecar.
///
/// # Errors
/// It cannot be asked, or does not explain.
pub async fn ask(to: &Address, options: &Explain) -> Result<Explained, AskFailed> {
    let Explain { token_file, json, ask_origin, headers, .. } = options;
    let (method, url) = options.asked();
    let (method, url) = (method, url.to_owned());
    let body = Body { url, method, headers: headers.clone(), ask_origin: *ask_origin };
    let (status, text) = post(to, token_file.as_deref(), "/explain", &body, ANSWER_BYTES).await?;
    let report = serde_json::from_slice(&text).map_err(|_| AskFailed::Stranger(to.clone(), status))?;
    let asked = if *ask_origin { Asked::App } else { Asked::Proxy };
    Ok(Explained { report, json: *json, asked })
}

/// Asks the file.
#[must_use]
pub fn read(config: &Config, question: &Question, json: bool) -> Explained {
    Explained { report: on_paper(config, question), json, asked: Asked::File }
}

impl std::fmt::Display for Explained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.json {
            false => Shown { report: &self.report, asked: self.asked }.fmt(f),
            true => {
                let text = serde_json::to_string_pretty(&self.report).map_err(|_| std::fmt::Error)?;
                writeln!(f, "{text}")
            }
        }
    }
}
