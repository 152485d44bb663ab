//! The binary under load while its file is edited, as editors, people and Kubernetes do it: no
//! request is lost, good edits act at once, bad ones change nothing and are explained.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]

mod support;

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use support::{browser::Browser, load::Load, origin::Origin, redis::eventually, spawned::Spawned};

/// From the edit to the first answer under it.
const AT_ONCE: Duration = Duration::from_secs(1);
/// The load of the test itself and of others on two cores.
const SLACK: Duration = Duration::from_secs(1);

struct Trial {
    origin: Origin,
    sidecar: Spawned,
    load: Load,
}

/// `upstream` and one rule for each path; behind the two listeners, the rules begin on line 5.
fn rules(origin: &Origin, rules: &[(&str, &str)]) -> String {
    let rules: String =
        rules.iter().map(|(path, cache)| format!("  - {{ match: {path}, cache: {cache} }}\n")).collect();
    format!("upstream: http://{}\nroutes:\n{rules}", origin.address)
}

impl Trial {
    async fn start() -> Self {
        let origin = Origin::saying("").await;
        let sidecar = Spawned::start(&rules(&origin, &[("/a", "300s")])).await;
        let load = Load::start(sidecar.address, 8, &["/a", "/passed", "/edited"]);
        Self { origin, sidecar, load }
    }

    fn text(&self, edited: &str) -> String {
        self.sidecar.text(&rules(&self.origin, &[("/a", "300s"), ("/edited", edited)]))
    }

    /// What `Cache-Status` says of `/edited`.
    async fn says(&self) -> String {
        Browser::connect(self.sidecar.address).await.ask("GET /edited", &[]).await.fine().to_owned()
    }

    /// Waits until what was edited acts, and asserts that this was at once.
    async fn acts(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        eventually(what, async || is_so(&self.says().await)).await;
        assert!(begun.elapsed() < AT_ONCE + SLACK, "{what}: {:?}", begun.elapsed());
    }

    /// The generation in force, and the last attempt to replace it.
    fn config(&self) -> (u64, Value) {
        let config = self.sidecar.admin("/config");
        (config["generation"].as_u64().unwrap(), config["last_reload"].clone())
    }

    /// Waits until a bad edit was refused; its explanation, in the log and on the admin listener.
    async fn refusal(&self, generation: u64) -> String {
        eventually("it is refused", async || self.config().1["result"] == "refused").await;
        let (now, last) = self.config();
        assert_eq!(now, generation, "the one before stays in force");
        let error = last["error"].as_str().unwrap().to_owned();
        let logged = |message: &String| message.contains(&error) && message.contains("is not taken");
        eventually("the log says why", async || self.sidecar.messages().iter().any(logged)).await;
        error
    }

    async fn assert_none_lost(self) {
        let tally = self.load.stop().await;
        assert!(tally.failures.is_empty(), "{:?}", tally.failures);
        let says = tally.says();
        assert!(says.values().sum::<usize>() > 100 && says["hit"] > 10, "{says:?}");
    }
}

/// Seconds left of a hit, at least.
fn left(says: &str, least: u64) -> bool {
    says.strip_prefix("hit; ttl=").is_some_and(|ttl| ttl.parse::<u64>().unwrap() >= least)
}

fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_edits_act_at_once() {
    let trial = Trial::start().await;
    let file = trial.sidecar.file();
    assert_eq!(trial.says().await, "fwd=bypass; detail=no-rule");
    assert_eq!(trial.config(), (1, Value::Null));
    fs::write(&file, trial.text("300s")).unwrap();
    trial.acts("a rule is added", |says| left(says, 290)).await;
    fs::write(&file, trial.text("9000s")).unwrap();
    trial.acts("its ttl is longer", |says| left(says, 8000)).await;
    replace(&file, &trial.text("off"));
    trial.acts("replaced by rename", |says| says == "fwd=bypass; detail=rule-off").await;
    replace(&file, &trial.text("30000s"));
    trial.acts("and again", |says| left(says, 20_000)).await;
    eventually("all are counted", async || trial.config().0 == 5).await;
    assert_eq!(trial.config().1["result"], "applied");
    trial.assert_none_lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_edits_change_nothing_and_are_explained() {
    let trial = Trial::start().await;
    let file = trial.sidecar.file();
    fs::write(&file, trial.text("300s")).unwrap();
    trial.acts("a rule is added", |says| left(says, 290)).await;
    eventually("it is counted", async || trial.config().0 == 2).await;

    let typo =
        trial.text("300s").replacen("{ match: /edited, cache: 300s }", "{ match: /edited, cach: 300s }", 1);
    fs::write(&file, typo).unwrap();
    let error = trial.refusal(2).await;
    for part in ["config.yaml:6:", "routes[1]", "did you mean `cache`?", "cach: 300s"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert!(left(&trial.says().await, 200));

    fs::write(&file, trial.text("300")).unwrap();
    let other = async || trial.config().1["error"].as_str().is_some_and(|now| now != error);
    eventually("the next is refused", other).await;
    let error = trial.refusal(2).await;
    for part in ["config.yaml:6:30", "routes[1].cache", "write 300s"] {
        assert!(error.contains(part), "{part} in {error}");
    }

    // Written in two halves with a long pause between: the first one is no configuration.
    let whole = trial.text("9000s");
    let half = &whole[..whole.len() - 12];
    fs::write(&file, half).unwrap();
    let other = async || trial.config().1["error"].as_str().is_some_and(|now| now != error);
    eventually("half a file is refused", other).await;
    assert!(left(&trial.says().await, 200));
    fs::write(&file, &whole).unwrap();
    trial.acts("the other half is there", |says| left(says, 8000)).await;
    eventually("it is counted", async || trial.config().0 == 3).await;

    fs::remove_file(&file).unwrap();
    trial.refusal(3).await;
    assert!(left(&trial.says().await, 8000));
    fs::write(&file, trial.text("off")).unwrap();
    trial.acts("it is back", |says| says == "fwd=bypass; detail=rule-off").await;
    trial.assert_none_lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_swapped() {
    let trial = Trial::start().await;
    let file = trial.sidecar.file();
    let folder = file.parent().unwrap();
    // As the kubelet mounts a ConfigMap.
    for (version, cache) in [("1", "300s"), ("2", "9000s"), ("3", "30000s")] {
        let versioned = folder.join(format!("..{version}"));
        fs::create_dir(&versioned).unwrap();
        fs::write(versioned.join("config.yaml"), trial.text(cache)).unwrap();
        symlink(format!("..{version}"), folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        if version == "1" {
            symlink("..data/config.yaml", folder.join("link")).unwrap();
            fs::rename(folder.join("link"), &file).unwrap();
        }
        let least = cache.trim_end_matches('s').parse::<u64>().unwrap() - 100;
        trial.acts(version, |says| left(says, least)).await;
    }
    trial.assert_none_lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reads_it_again() {
    let trial = Trial::start().await;
    // The text is the one in force: nothing but the signal makes it be read.
    trial.sidecar.signal(Signal::HUP);
    eventually("it is read again", async || trial.config().0 == 2).await;
    assert_eq!(trial.config().1["result"], "applied");
    fs::write(trial.sidecar.file(), "routes: 7\n").unwrap();
    trial.sidecar.signal(Signal::HUP);
    let error = trial.refusal(2).await;
    assert!(error.contains("config.yaml:1:"), "{error}");
    fs::write(trial.sidecar.file(), trial.text("300s")).unwrap();
    trial.sidecar.signal(Signal::HUP);
    trial.acts("and mended", |says| left(says, 200)).await;
    trial.assert_none_lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_one_upon_the_other_lose_no_request() {
    let trial = Trial::start().await;
    let file = trial.sidecar.file();
    for round in 0..100 {
        let cache = ["300s", "off", "3o0s", "{ ttl: 10s, set_cookie: strip }"][round % 4];
        if round % 2 == 0 {
            replace(&file, &trial.text(cache));
        } else {
            fs::write(&file, trial.text(cache)).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    replace(&file, &trial.text("9000s"));
    trial.acts("the last one counts", |says| left(says, 8000)).await;
    trial.assert_none_lost().await;
}
