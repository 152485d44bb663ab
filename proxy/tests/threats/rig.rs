//! What every case runs in: an origin, a sidecar before it, and a bystander that nobody may be sent to.

use std::fmt::Debug;

use crate::{
    case::{Case, Step},
    frames,
    support::{
        echo::{Echo, Script},
        sidecar::{Sidecar, eventually},
        wire::Wire,
    },
};

const RULES: &str = "
routes:
  - match: /cached
    cache: 1h
";

pub(crate) struct Rig {
    pub(crate) origin: Echo,
    pub(crate) sidecar: Sidecar,
    /// Listens, and is named in requests; the file knows nothing of it.
    pub(crate) bystander: Echo,
}

impl Rig {
    /// With the rules that cases have in common.
    pub(crate) async fn start() -> Self {
        Self::with(Script::new(), RULES).await
    }

    /// The same with an app in HTTP/2, for which the origin answers.
    pub(crate) async fn in_http_2() -> Self {
        Self::with_http_2(Script::new(), RULES).await
    }

    /// As this case wants it; with an app in HTTP/2 too, where it is not about the bytes of HTTP/1.
    pub(crate) async fn of(case: &Case) -> Vec<Self> {
        let rules = case.config.as_deref().unwrap_or(RULES);
        let mut rigs = vec![Self::with(case.app.clone(), rules).await];
        if !case.is_about_http_1() {
            rigs.push(Self::with_http_2(case.app.clone(), rules).await);
        }
        rigs
    }

    async fn with(script: Script, rules: &str) -> Self {
        let (origin, bystander) = Self::origin(script).await;
        let sidecar = Sidecar::start(origin.address, rules);
        Self { origin, sidecar, bystander }
    }

    async fn with_http_2(script: Script, rules: &str) -> Self {
        let (origin, bystander) = Self::origin(script).await;
        let app = frames::before(origin.address).await;
        let sidecar = Sidecar::from_file(&format!("upstream: h2c://{app}\n{rules}"));
        Self { origin, sidecar, bystander }
    }

    /// One that answers so, and the bystander whom its answers may name.
    async fn origin(script: Script) -> (Echo, Echo) {
        let bystander = Echo::start().await;
        let named = |(path, answers): (String, Vec<Vec<u8>>)| {
            (path, answers.iter().map(|answer| named(answer, &bystander)).collect())
        };
        (Echo::scripted(script.into_iter().map(named).collect()).await, bystander)
    }

    /// A step that may name the bystander, as `{bystander}`.
    pub(crate) fn names(&self, step: Step) -> Step {
        match step {
            Step::Says { who, bytes, gets } => {
                Step::Says { who, bytes: named(&bytes, &self.bystander), gets }
            }
            after @ Step::After(_) => after,
        }
    }

    /// Waits until nothing is being fetched or stored.
    pub(crate) async fn settled(&self) {
        eventually("all is stored", || self.sidecar.app.flights.under_way() == 0).await;
    }
}

fn named(bytes: &[u8], bystander: &Echo) -> Vec<u8> {
    let word = b"{bystander}";
    match bytes.windows(word.len()).position(|window| window == word) {
        Some(at) => {
            let (address, rest) = (bystander.address.to_string(), &bytes[at + word.len()..]);
            [&bytes[..at], address.as_bytes(), &named(rest, bystander)].concat()
        }
        None => bytes.to_vec(),
    }
}

/// A request that is right gets its own answer.
pub(crate) async fn clean(wire: &mut Wire, path: &str) -> Result<(), String> {
    if !wire.try_send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await {
        return Err(format!("the connection for {path} is closed"));
    }
    let answer = wire.response().await;
    equal("a clean request got", &(answer.status(), answer.text()), &(200, format!("GET {path}")))
}

pub(crate) fn equal<T: PartialEq + Debug>(what: &str, is: &T, should: &T) -> Result<(), String> {
    if is == should { Ok(()) } else { Err(format!("{what}: {is:?}, not {should:?}")) }
}
