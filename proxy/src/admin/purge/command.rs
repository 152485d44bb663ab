//! `sidecache purge`: asks a running sidecar to purge.

use std::fmt;

use super::{
    BODY_BYTES,
    wire::{Answer, Body, Elsewhere, Extent, Forwarded, Purged},
};
use crate::{
    admin::client::{AskFailed, post},
    cli::Purge,
    wrap::probe::Address,
};

/// What is read of an answer; one to a purge repeats what was purged.
const ANSWER_BYTES: usize = BODY_BYTES + 16 * 1024;

/// What was purged, in one line, and one for each URL that had better been another.
#[derive(Debug)]
pub struct Done(Answer);

/// Asks for a purge, and waits for the answer.
///
/// # Errors
/// Anything but a sidecar's word that it is done, or on its way where nobody wanted to wait.
pub async fn ask(to: &Address, options: &Purge) -> Result<Done, AskFailed> {
    let (status, text) =
        post(to, options.token_file.as_deref(), "/purge", &body(options), ANSWER_BYTES).await?;
    let answer: Option<Answer> = serde_json::from_slice(&text).ok();
    // A local one never comes with success; from whoever sends it so, it is none.
    let answer = answer.filter(|answer| answer.reached != Extent::Local);
    answer.map(Done).ok_or_else(|| AskFailed::Stranger(to.clone(), status))
}

fn body(options: &Purge) -> Body {
    let what = options.what.clone();
    let (soft, wait) = (options.soft, !options.no_wait);
    Body { urls: what.urls, tags: what.tags, rules: what.rules, all: what.all, soft, wait }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answer { reached, purged, soft, members, waited_ms, elsewhere, .. } = &self.0;
        let done = if *soft { "marked stale" } else { "purged" };
        match reached {
            Extent::Fleet => {
                write!(f, "{done} on every live sidecar ({members}): {purged}; {waited_ms:.1} ms")?;
            }
            Extent::Asked | Extent::Local => {
                write!(f, "on its way to every sidecar, to be {done}: {purged}")?;
            }
        }
        elsewhere.iter().try_for_each(|elsewhere| write!(f, "{elsewhere}"))
    }
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, hosts, forwarded } = self;
        if !hosts.is_empty() {
            let hosts = hosts.join(" or ");
            write!(
                f,
                "\nnothing was stored for {url}: clients ask for that path with the host {hosts}; purge it with that"
            )?;
        }
        if !forwarded.is_empty() {
            let hosts = forwarded.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            write!(
                f,
                "\n{url} does not name what a trusted proxy asks for with the host {hosts}: purge that by tag or rule"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and X-Forwarded-Host {}", self.host, self.forwarded_host)
    }
}

impl fmt::Display for Purged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |all: &[String], one: &str| match all.len() {
            0 => None,
            1 => Some(format!("{one} {}", all.concat())),
            many => Some(format!("{many} {one}s")),
        };
        let all = self.all.then(|| "everything".to_owned());
        let named =
            [all, counted(&self.urls, "URL"), counted(&self.tags, "tag"), counted(&self.rules, "rule")];
        f.write_str(&named.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
