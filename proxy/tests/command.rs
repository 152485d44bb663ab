//! The command's exit statuses and messages, as scripts and containers see them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::{ffi::OsStrExt, net::UnixDatagram},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const GOOD: &str = "listen: 127.0.0.1:0\nupstream: http://127.0.0.1:1\nroutes: []\n";

/// A folder with this `config.yaml` in it.
fn folder(yaml: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.yaml"), yaml).unwrap();
    folder
}

fn sidecache(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidecache"));
    command.args(args).current_dir(folder.path()).stdin(Stdio::null());
    for name in ["SIDECACHE_ADMIN", "SIDECACHE_ADMIN_TOKEN", "SIDECACHE_LOG"] {
        command.env_remove(name);
    }
    command
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An admin listener that answers one request with this status and body.
fn admin(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            asked.extend(byte);
        }
        write!(peer, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    });
    address
}

#[test]
fn a_health_check_ends_with_0_or_1() {
    let (good, broken, none) = (folder(GOOD), folder("listen: ["), tempfile::tempdir().unwrap());
    for (folder, args) in [
        (&none, &["healthcheck", "--config", "config.yaml"][..]),
        (&broken, &["healthcheck"]),
        (&good, &["healthcheck"]),
        (&good, &["healthcheck", "--admin", "nonsense"]),
        (&good, &["healthcheck", "--nonsense"]),
    ] {
        let output = sidecache(folder, args).output().unwrap();
        assert_eq!(status(&output), 1, "{args:?}: {output:?}");
        assert!(!said(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn a_health_check_takes_a_url_and_says_why_it_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let not_ready = r#"{"status":"not ready","reasons":["the app has not answered yet","so it is"]}"#;
    let address = admin("503 Service Unavailable", not_ready);
    let asked = format!("http://{address}");
    let output = sidecache(&folder, &["healthcheck"]).env("SIDECACHE_ADMIN", asked).output().unwrap();
    assert_eq!(status(&output), 1);
    let expected =
        format!("{address} answered 503 Service Unavailable: the app has not answered yet; so it is\n");
    assert_eq!(said(&output), expected);
    let output = sidecache(&folder, &["healthcheck"]).env("SIDECACHE_ADMIN", "ftp://a").output().unwrap();
    assert_eq!(status(&output), 1);
    assert!(said(&output).contains("in --admin or SIDECACHE_ADMIN"), "{output:?}");
}

#[test]
fn a_health_check_needs_no_file_where_it_is_told_whom_to_ask() {
    for folder in [folder("listen: ["), tempfile::tempdir().unwrap()] {
        for (answer, body, expected) in [
            ("200 OK", r#"{"status":"ready","reasons":[]}"#, 0),
            ("200 OK", r#"{"status":"degraded","reasons":["x"]}"#, 0),
            ("503 Service Unavailable", "", 1),
        ] {
            let asked = admin(answer, body);
            let output = sidecache(&folder, &["healthcheck"]).env("SIDECACHE_ADMIN", asked).output();
            assert_eq!(status(&output.unwrap()), expected);
        }
    }
}

#[test]
fn a_health_check_that_meets_an_app_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for (answer, body, args) in [
        ("200 OK", "<html>welcome", &["healthcheck"][..]),
        ("200 OK", r#"{"status":"ok"}"#, &["healthcheck"]),
        ("200 OK", r#"{"status":"ready"}"#, &["healthcheck", "--live"]),
        ("404 Not Found", "no such page", &["healthcheck", "--live"]),
    ] {
        let output = sidecache(&folder, args).env("SIDECACHE_ADMIN", admin(answer, body)).output().unwrap();
        assert_eq!(status(&output), 1, "{output:?}");
        assert!(said(&output).contains("is that its `admin` address?"), "{output:?}");
    }
}

#[test]
fn the_image_asks_the_admin_listener_of_the_demo() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |path: &str| fs::read_to_string(top.join(path)).unwrap();
    let image = read("proxy/Dockerfile");
    let asked = image.lines().find_map(|line| line.strip_prefix("ENV SIDECACHE_ADMIN=")).expect("a default");
    let demo = sidecache::config::Config::parse(&read("config.yaml"), "config.yaml", &|_| None).unwrap();
    assert_eq!(demo.admin.unwrap().to_string(), asked);
    assert!(read("docker-compose.yml").contains("[CMD, /usr/local/bin/sidecache, healthcheck]"));
    assert!(!read("docker-compose.yml").contains("ADMIN:"), "the stack would ask elsewhere");
}

#[test]
fn images_for_other_machines_are_those_of_the_stack() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let lines = |path: &str| {
        let text = fs::read_to_string(top.join(path)).unwrap();
        let commands = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        commands.map(str::to_owned).collect::<Vec<_>>()
    };
    let both = lines("packaging/images/Dockerfile");
    for (name, alone) in [("sidecache", "proxy/Dockerfile"), ("origin", "origin/Dockerfile")] {
        let alone = lines(alone);
        let shipped = alone.iter().skip_while(|line| !line.contains("distroless"));
        let mut shipped: Vec<String> = shipped.cloned().collect();
        shipped[0].push_str(&format!(" AS {name}"));
        assert!(
            shipped.len() > 4 && both.windows(shipped.len()).any(|part| part == shipped),
            "{name}: {shipped:?}"
        );
    }
}

#[test]
fn nobody_has_to_read_what_check_says() {
    let folder = folder(GOOD);
    let mut check = sidecache(&folder, &["check", "--config", "config.yaml"]);
    let mut child = check.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((status(&output), said(&output).as_str()), (0, ""));
}

#[test]
fn a_file_that_is_wrong_is_2() {
    let folder = folder("listen: [");
    for args in [&["check"][..], &["check", "none.yaml"], &[], &["python3", "app.py"]] {
        assert_eq!(status(&sidecache(&folder, args).output().unwrap()), 2, "{args:?}");
    }
}

#[test]
fn a_pipe_is_no_configuration_to_run_with() {
    let folder = folder(GOOD);
    let output = sidecache(&folder, &["--config", "/dev/null"]).output().unwrap();
    assert_eq!(status(&output), 1);
    assert!(said(&output).starts_with("/dev/null: not a regular file"), "{output:?}");
}

#[test]
fn files_that_are_not_here_are_a_warning_to_who_checks_and_the_end_to_who_runs() {
    for (yaml, told) in [
        ("listen: tls://127.0.0.1:0\ntls: { cert: /none/a.pem, key: /none/a.key }\n", "tls: /none/a.pem: "),
        (
            "listen: 127.0.0.1:0\nstore: { redis: redis://127.0.0.1:1, prefix: a, hmac_key_file: /none/key }\n",
            "store.hmac_key_file: /none/key: ",
        ),
    ] {
        let folder = folder(&format!("{yaml}upstream: http://127.0.0.1:1\nroutes: []\n"));
        let output = sidecache(&folder, &["check"]).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(status(&output), 0, "{output:?}");
        assert!(printed.contains(&format!("warnings\n  it would not start here: {told}")), "{printed}");
        let output = sidecache(&folder, &[]).output().unwrap();
        assert_eq!(status(&output), 1, "{output:?}");
        assert!(said(&output).starts_with(told), "{output:?}");
    }
}

#[test]
fn a_listener_that_cannot_be_opened_is_named_with_its_key_and_what_to_do() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let rest = "upstream: http://127.0.0.1:1\nroutes: []\n";
    for (yaml, told) in [
        (format!("listen: {taken}\n{rest}"), format!("listen: cannot listen on {taken}: ")),
        (
            format!("listen: 127.0.0.1:0\nadmin: {taken}\n{rest}"),
            format!("admin: cannot listen on {taken}: "),
        ),
    ] {
        let output = sidecache(&folder(&yaml), &[]).output().unwrap();
        assert_eq!(status(&output), 1, "{output:?}");
        let said = said(&output);
        let line = said.lines().last().unwrap();
        assert!(line.starts_with(&told) && line.ends_with("or write another port"), "{said}");
    }
}

#[test]
fn readiness_is_not_asked_in_cleartext_of_an_app_that_speaks_tls() {
    let folder = folder("listen: 127.0.0.1:0\nupstream: https://127.0.0.1:1\nroutes: []\n");
    let output = sidecache(&folder, &["--ready", "/up", "--", "sleep", "100"]).output().unwrap();
    assert_eq!(status(&output), 1);
    assert!(said(&output).contains("`upstream` is https"), "{output:?}");
}

#[test]
fn a_token_that_is_no_text_opens_nothing() {
    let folder = folder(&format!("{GOOD}admin: 127.0.0.1:0\n"));
    let mut command = sidecache(&folder, &["--", "sleep", "100"]);
    let output = command.env("SIDECACHE_ADMIN_TOKEN", OsStr::from_bytes(b"0123456789abcdef\xff")).output();
    let output = output.unwrap();
    assert_eq!(status(&output), 1);
    assert!(said(&output).contains("the admin token"), "{output:?}");
}

#[test]
fn the_app_is_not_told_the_token_nor_how_to_speak_for_the_service() {
    let folder = folder(GOOD);
    let script = "exit ${SIDECACHE_ADMIN_TOKEN:+1}${NOTIFY_SOCKET:+2}${OTHER}";
    let mut command = sidecache(&folder, &["--", "sh", "-c", script]);
    command.env("SIDECACHE_ADMIN_TOKEN", "0123456789abcdef").env("NOTIFY_SOCKET", "@none").env("OTHER", "7");
    assert_eq!(status(&command.output().unwrap()), 7);
}

#[test]
fn a_service_manager_hears_when_it_serves_when_it_reads_the_file_again_and_when_it_stops() {
    let folder = folder(GOOD);
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let heard = || {
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let mut child =
        sidecache(&folder, &[]).env("NOTIFY_SOCKET", &path).stderr(Stdio::null()).spawn().unwrap();
    let send = |signal: Signal| kill_process(Pid::from_child(&child), signal).unwrap();
    assert_eq!(heard(), "READY=1\nSTATUS=serving");
    send(Signal::HUP);
    assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(heard(), "READY=1\nSTATUS=the rules of the file are in force");
    fs::write(folder.path().join("config.yaml"), "listen: [").unwrap();
    assert!(heard().starts_with("RELOADING=1\n"));
    assert!(heard().starts_with("READY=1\nSTATUS=the last edit was refused"));
    send(Signal::TERM);
    assert!(heard().starts_with("STOPPING=1\n"));
    assert!(child.wait().unwrap().success());
}

/// What it prints, with status 0.
fn printed(args: &[&str]) -> String {
    let output = sidecache(&tempfile::tempdir().unwrap(), args).output().unwrap();
    assert_eq!((status(&output), said(&output).as_str()), (0, ""), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn it_prints_what_editors_and_shells_need() {
    assert_eq!(printed(&["schema"]), format!("{:#}\n", sidecache::config::schema()));
    for (shell, part) in
        [("bash", "complete -F _sidecache"), ("zsh", "#compdef sidecache"), ("fish", "complete -c sidecache")]
    {
        let script = printed(&["completions", shell]);
        assert!(script.contains(part) && script.contains("healthcheck"), "{shell}: {script}");
    }
}

#[test]
fn each_command_has_a_page_of_the_manual() {
    let pages = tempfile::tempdir().unwrap();
    printed(&["man", pages.path().to_str().unwrap()]);
    let read = |name: &str| fs::read_to_string(pages.path().join(name)).unwrap();
    assert!(read("sidecache.1").contains("SIGHUP"), "{}", read("sidecache.1"));
    for command in ["check", "explain", "healthcheck", "purge", "top", "schema", "completions"] {
        assert!(read(&format!("sidecache-{command}.1")).contains(".SH SYNOPSIS"), "{command}");
    }
    assert!(!pages.path().join("sidecache-man.1").exists(), "a page of what is hidden");
}

/// An admin listener that answers one request so, and gives what it was asked.
fn told(answer: &str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, answer) = (listener.local_addr().unwrap().to_string(), answer.to_owned());
    let asked = thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        // The body of a purge is one object, and the only braces are its own.
        while !asked.ends_with(b"}") {
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            asked.extend(byte);
        }
        let (status, body) = answer.split_once('\n').unwrap();
        write!(peer, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        String::from_utf8(asked).unwrap()
    });
    (address, asked)
}

/// What a listener reports of a purge.
fn purged(status: &str, reached: &str) -> String {
    let purged = r#"{"urls":["http://a/b"],"tags":[],"rules":["/c","/d"],"all":false}"#;
    format!(
        "{status}\n{{\"title\":\"x\",\"detail\":\"only here\",\"reached\":\"{reached}\",\"purged\":{purged},\
         \"soft\":false,\"epoch\":7,\"members\":2,\"waited_ms\":3.25}}"
    )
}

#[test]
fn a_purge_that_is_done_is_0_and_says_so_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for (answer, line) in [
        (purged("200 OK", "fleet"), "purged on every live sidecar (2): URL http://a/b, 2 rules; 3.2 ms\n"),
        (
            purged("202 Accepted", "asked"),
            "on its way to every sidecar, to be purged: URL http://a/b, 2 rules\n",
        ),
    ] {
        let (address, asked) = told(&answer);
        let args = ["purge", "--url", "http://a/b", "--rule", "/c", "--rule", "/d", "--no-wait", "--admin"];
        let mut command = sidecache(&folder, &args);
        command.arg(format!("http://{address}/")).env("SIDECACHE_ADMIN_TOKEN", "0123456789abcdef");
        let output = command.output().unwrap();
        assert_eq!((status(&output), said(&output).as_str()), (0, ""));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), line);
        let asked = asked.join().unwrap().to_ascii_lowercase();
        assert!(asked.starts_with("post /purge http/1.1\r\n"), "{asked}");
        for field in [
            format!("\r\nhost: {address}\r\n"),
            "\r\ncontent-type: application/json\r\n".to_owned(),
            "\r\nauthorization: bearer 0123456789abcdef\r\n".to_owned(),
        ] {
            assert!(asked.contains(&field), "{field}: {asked}");
        }
        let body =
            r#"{"urls":["http://a/b"],"tags":[],"rules":["/c","/d"],"all":false,"soft":false,"wait":false}"#;
        assert!(asked.ends_with(body), "{asked}");
    }
}

#[test]
fn who_is_asked_is_named_by_the_file_where_nothing_else_does() {
    let (named, elsewhere) = (folder(GOOD), tempfile::tempdir().unwrap());
    let asks = |args: &[&str], env: Option<&str>, folder: &TempDir| {
        let (address, asked) = told(&purged("200 OK", "fleet"));
        // An edit that is refused, or a variable that only the sidecar has, must not keep anybody from asking.
        let text = format!("admin: ${{ADMIN:-{address}}}\nrouts: []\nlisten: ${{LISTEN}}\n");
        fs::write(named.path().join("config.yaml"), text).unwrap();
        let mut command = sidecache(folder, args);
        if let Some(name) = env {
            command.env(name, &address);
        }
        let output = command.output().unwrap();
        assert_eq!(status(&output), 0, "{output:?}");
        asked.join().unwrap()
    };
    asks(&["purge", "--all"], None, &named);
    asks(&["purge", "--all"], Some("ADMIN"), &named);
    asks(&["purge", "--all"], Some("SIDECACHE_ADMIN"), &elsewhere);
    let file = named.path().join("config.yaml");
    asks(&["purge", "--all", "--config", file.to_str().unwrap()], None, &elsewhere);
    for command in [&["top"][..], &["explain", "http://a/"], &["healthcheck"], &["purge", "--all"]] {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let output = sidecache(&folder(&format!("admin: {closed}\n")), command).output().unwrap();
        assert!(said(&output).starts_with(&format!("cannot ask {closed}: ")), "{output:?}");
        let output = sidecache(&folder(GOOD), command).output().unwrap();
        assert!(said(&output).starts_with("config.yaml has no admin listener to ask: "), "{output:?}");
        let output = sidecache(&folder("admin: tls://a\n"), command).output().unwrap();
        assert!(said(&output).contains("config.yaml:1:8"), "{output:?}");
        assert!(said(&output).contains("--admin"), "{output:?}");
    }
}

#[test]
fn a_purge_that_is_not_known_to_be_done_is_1_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let problem = |status: &str, detail: &str| format!("{status}\n{{\"detail\":\"{detail}\"}}");
    for (answer, expected) in [
        (purged("503 Service Unavailable", "local"), "answered 503 Service Unavailable: only here"),
        (
            problem("400 Bad Request", "no rule is called `x`"),
            "answered 400 Bad Request: no rule is called `x`",
        ),
        (problem("401 Unauthorized", "the admin token is needed"), "wants its token: --token-file FILE"),
        (problem("501 Not Implemented", "\\u001b[2Jnot yet"), "501 Not Implemented: [2Jnot yet\n"),
        ("404 Not Found\nno such page\nat all".to_owned(), "answered 404 Not Found, but not as a sidecar"),
        (
            "404 Not Found\n".to_owned(),
            "answered 404 Not Found, but not as a sidecar of this version does: is that its `admin` address?",
        ),
        ("200 OK\n<html>".to_owned(), "is that its `admin` address?"),
        (purged("200 OK", "local"), "is that its `admin` address?"),
    ] {
        let (address, asked) = told(&answer);
        let output =
            sidecache(&folder, &["purge", "--all"]).env("SIDECACHE_ADMIN", &address).output().unwrap();
        assert_eq!((status(&output), output.stdout.len()), (1, 0), "{output:?}");
        assert!(
            said(&output).contains(&address) && said(&output).contains(expected),
            "{expected}: {output:?}"
        );
        assert_eq!(said(&output).lines().count(), 1, "{output:?}");
        asked.join().unwrap();
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = sidecache(&folder, &["purge", "--all", "--admin", &closed]).output().unwrap();
    assert_eq!(status(&output), 1);
    assert!(said(&output).starts_with(&format!("cannot ask {closed}: ")), "{output:?}");
}

#[test]
fn a_purge_reads_its_token_from_a_file_before_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "fedcba9876543210\n").unwrap();
    let (address, asked) = told(&purged("200 OK", "fleet"));
    let mut command = sidecache(&folder, &["purge", "--all", "--token-file", "token", "--admin", &address]);
    let output = command.env("SIDECACHE_ADMIN_TOKEN", "0123456789abcdef").output().unwrap();
    assert_eq!(status(&output), 0, "{output:?}");
    assert!(asked.join().unwrap().contains("Bearer fedcba9876543210\r\n"));

    let output = sidecache(&folder, &["purge", "--all", "--token-file", "none"]).output().unwrap();
    assert_eq!(status(&output), 1);
    assert!(said(&output).contains("cannot read the admin token from none"), "{output:?}");
}

#[test]
fn a_purge_that_names_nothing_or_nonsense_is_2() {
    let folder = tempfile::tempdir().unwrap();
    for (args, expected) in [
        (&["purge"][..], "--url <URL>"),
        (&["purge", "--url", "/products"], "write http://HOST/products"),
        (&["purge", "--all", "--admin", "https://127.0.0.1:9090"], "speaks no TLS"),
        (&["purge", "--all", "--admin", "nonsense nonsense"], "write http://127.0.0.1:9090"),
        (&["purge", "--al"], "--all"),
    ] {
        let output = sidecache(&folder, args).output().unwrap();
        assert_eq!(status(&output), 2, "{args:?}: {output:?}");
        assert!(said(&output).contains(expected), "{args:?}: {output:?}");
    }
}
