//! What is tried to desynchronise, poison, exhaust or look into a sidecar: `rows.txt` has a line for
//! each threat, and where it is shown that it comes to nothing. Most are requests and stories in
//! `cases/`, which a new file adds to; the others are tests, here and elsewhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is how a test fails"
)]

mod case;
mod frames;
mod panics;
mod process;
mod requests;
mod rig;
mod rows;
mod store;
mod stories;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use case::{Case, Does, cases};
use requests::{Way, try_request};
use rig::Rig;
use rows::rows;
use stories::try_story;

/// Runs all cases, and looks for all tests that are named. The line that it prints counts a row once:
/// by its cases if it has any.
#[tokio::test]
async fn every_row_is_shown() {
    let rows = rows();
    let failed = failures().await;
    let with_cases: BTreeSet<String> = cases().iter().map(Case::row).collect();
    let mut wrong: Vec<_> = rows.iter().filter_map(|row| row.wrong(&with_cases)).collect();
    wrong.extend(with_cases.iter().filter(|id| !rows.iter().any(|row| row.is(id))).cloned());
    let pass = rows.iter().filter(|row| row.has_proof() && !failed.iter().any(|(id, _)| row.is(id)));
    let pass: Vec<_> = pass.collect();
    let by_cases = pass.iter().filter(|row| row.by_cases).count();
    println!(
        "{} rows: {} pass ({by_cases} by cases here, {} by tests named), {} in SECURITY.md",
        rows.len(),
        pass.len(),
        pass.len() - by_cases,
        rows.iter().filter(|row| row.in_security).count(),
    );
    let why: Vec<_> = failed.into_iter().map(|(_, why)| why).chain(wrong).collect();
    assert!(why.is_empty(), "\n{}\n", why.join("\n"));
    assert!(rows.iter().filter(|row| row.in_security).count() <= rows::MOST_IN_SECURITY);
}

/// Tries every case; the rows of those that fail, and why.
async fn failures() -> Vec<(String, String)> {
    let common: &'static [Rig] = Box::leak(Box::new([Rig::start().await, Rig::in_http_2().await]));
    let mut failed = Vec::new();
    for case in cases() {
        let (row, name) = (case.row(), case.name.clone());
        let judged = tokio::spawn(try_case(case, common)).await;
        if let Some(why) = judged.map_or_else(|panic| Some(panic.to_string()), Result::err) {
            failed.push((row, format!("{name}: {why}")));
        }
    }
    failed
}

/// Most are tried before an app of either version; those that want nothing of their own, before the same two.
async fn try_case(case: Case, common: &[Rig]) -> Result<(), String> {
    let own = if case.config.is_some() || !case.app.is_empty() || matches!(case.does, Does::Story(_)) {
        Rig::of(&case).await
    } else {
        Vec::new()
    };
    for rig in if own.is_empty() { common } else { &own } {
        let tried = try_before(&case, rig).await;
        tried.map_err(|why| format!("{:?}: {why}", rig.sidecar.app.live().upstream))?;
    }
    Ok(())
}

async fn try_before(case: &Case, rig: &Rig) -> Result<(), String> {
    match &case.does {
        Does::Story(steps) => try_story(case, steps, rig).await,
        Does::Request(request) => {
            for way in Way::ALL {
                let tried = try_request(case, request, way, rig).await;
                tried.map_err(|why| format!("{way:?}: {why}"))?;
            }
            Ok(())
        }
    }
}
