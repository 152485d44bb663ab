//! The machine gives it too little, or nobody takes what it says.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{net::UnixStream, task::block_in_place};

use crate::support::{
    browser::Browser, load::Load, origin::Origin, redis::eventually, spawned::Spawned, wire::Wire,
};

/// What an orchestrator waits for by default.
const PROBE: Duration = Duration::from_secs(1);

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn at(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

/// One core that this process may use.
fn core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    list.trim().split(['-', ',']).next().unwrap().to_owned()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn it_asks_for_no_huge_pages() {
    let sidecar = Spawned::start("upstream: http://127.0.0.1:1\nroutes: []\n").await;
    let maps = std::fs::read_to_string(format!("/proc/{}/smaps", sidecar.pid().as_raw_nonzero())).unwrap();
    let flags: Vec<&str> = maps.lines().filter_map(|line| line.strip_prefix("VmFlags:")).collect();
    assert!(flags.len() > 10, "{maps}");
    let huge = flags.iter().filter(|flags| flags.split(' ').any(|flag| flag == "hg")).count();
    assert_eq!(huge, 0, "2 MiB for the first byte of each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_core_that_is_taken_it_still_answers_probes() {
    let origin = Origin::saying("").await;
    let yaml = format!("upstream: http://{}\nroutes: [{{ match: /a, cache: 300s }}]\n", origin.address);
    let (sidecar, core) = (Spawned::start(&yaml).await, core());
    let pid = sidecar.pid().as_raw_nonzero().to_string();
    let pinned = Command::new("taskset").args(["-a", "-c", "-p", &core, &pid]).stdout(Stdio::null()).status();
    assert!(pinned.unwrap().success());
    let busy = || Command::new("taskset").args(["-c", &core, "sh", "-c", "while :; do :; done"]).spawn();
    let _busy: Vec<_> = (0..2).map(|_| Running(busy().unwrap())).collect();
    let load = Load::start(sidecar.address, 8, &["/a", "/passed"]);
    let mut probes = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        assert!(block_in_place(|| sidecar.admin_text("/livez")).starts_with("live"));
        probes.push(begun.elapsed());
    }
    let tally = load.stop().await;
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);
    println!(
        "a third of a core: /livez p99 {:?}, requests p99 {:?}, {} of them",
        at(probes.clone(), 99),
        tally.within(99),
        tally.times.values().map(Vec::len).sum::<usize>()
    );
    assert!(at(probes, 99) < PROBE);
}

/// A sidecar on that socket, which logs every request to where nobody reads.
fn unheard(folder: &Path, origin: &Origin) -> Running {
    let yaml = format!(
        "listen: unix:{}/it.sock\nupstream: http://{}\nroutes: [{{ match: /a, cache: 300s }}]\n",
        folder.display(),
        origin.address
    );
    std::fs::write(folder.join("config.yaml"), yaml).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidecache"));
    command.args(["--log-format", "json", "--log", "info"]).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    Running(command.spawn().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_holds_nobody_up() {
    /// Of a line each, a pipe takes a few hundred.
    const REQUESTS: usize = 5000;
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::saying("").await);
    let mut sidecar = unheard(folder.path(), &origin);
    let socket = folder.path().join("it.sock");
    eventually("it listens", async || UnixStream::connect(&socket).await.is_ok()).await;
    let (mut client, mut times) = (Wire::unix(&socket).await, Vec::new());
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.response().await.status(), 200);
        times.push(begun.elapsed());
    }
    println!("{REQUESTS} requests: p99 {:?}, longest {:?}", at(times.clone(), 99), at(times.clone(), 100));
    assert!(at(times, 99) < Duration::from_millis(250));
    kill_process(Pid::from_child(&sidecar.0), Signal::TERM).unwrap();
    eventually("it ends", async || sidecar.0.try_wait().unwrap().is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_whose_name_is_unknown_costs_the_cache_and_no_request() {
    let origin = Origin::saying("").await;
    let sidecar = Spawned::start(&format!(
        "upstream: http://{}\nstore: {{ redis: \"redis://name.invalid:6379\", prefix: test }}\nroutes: [{{ match: /a, cache: 300s }}]\n",
        origin.address
    ))
    .await;
    let mut browser = Browser::connect(sidecar.address).await;
    for _ in 0..20 {
        let begun = Instant::now();
        browser.ask("GET /a", &[]).await.fine();
        assert!(begun.elapsed() < PROBE, "{:?}", begun.elapsed());
    }
    let told = |message: &String| message.contains("Redis");
    eventually("the log says so", async || sidecar.messages().iter().any(told)).await;
}
