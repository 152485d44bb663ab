//! Clients of a sidecar that may be gone at any moment: of its data port, and of its admin listener.

use std::{io, time::Duration};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    sidecars::{Place, Whereabouts},
    support::{
        admin::post,
        browser::{Answer, Browser, request},
    },
};

/// Longer than any limit within the sidecar: no answer until then is a hang.
const ANSWER: Duration = Duration::from_secs(15);
/// What clients call the site; purges name it too.
pub(crate) const HOST: &str = "shop";

/// A connection that is kept, and made anew when it is lost.
pub(crate) struct Client {
    whereabouts: Whereabouts,
    browser: Option<Browser>,
}

impl Client {
    pub(crate) fn new(whereabouts: Whereabouts) -> Self {
        Self { whereabouts, browser: None }
    }

    /// Waits until there is a sidecar to ask.
    pub(crate) async fn finds_it(&mut self) {
        let _ = self.whereabouts.wait_for(Option::is_some).await;
    }

    /// A whole answer to `GET path`, or what came instead.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, String> {
        self.ask(&format!("GET {path}"), &[], "").await
    }

    /// The same in this language.
    pub(crate) async fn get_in(&mut self, language: &str, path: &str) -> Result<Answer, String> {
        self.ask(&format!("GET {path}"), &[("accept-language", language)], "").await
    }

    /// The same of a `POST path`.
    pub(crate) async fn post(&mut self, path: &str) -> Result<Answer, String> {
        self.ask(&format!("POST {path}"), &[], "anew").await
    }

    async fn ask(&mut self, line: &str, fields: &[(&str, &str)], body: &str) -> Result<Answer, String> {
        let fields = [&[("host", HOST)], fields].concat();
        let answer = timeout(ANSWER, self.try_ask(line, &request(line, &fields, body))).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer in {ANSWER:?}")));
        if answer.is_err() {
            self.browser = None;
        }
        answer
    }

    async fn try_ask(&mut self, line: &str, request: &str) -> Result<Answer, String> {
        let failed = |error: io::Error| error.to_string();
        let place = self.whereabouts.borrow().clone().ok_or("it is not there")?;
        let browser = match &mut self.browser {
            Some(browser) => browser,
            none => none.insert(Browser::try_connect(place.data).await.map_err(failed)?),
        };
        browser.try_send(request).await.map_err(failed)?;
        let answer = browser.try_answer(line).await.ok_or("closed")?;
        if (answer.status, answer.whole) == (200, true) { Ok(answer) } else { Err(format!("{answer:?}")) }
    }
}

/// What a purge names, and how it is meant.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) what: What,
    pub(crate) soft: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// The path of a resource.
    Url(String),
    Tag(String),
}

impl Order {
    fn body(&self) -> Value {
        match &self.what {
            What::Url(path) => json!({ "urls": [format!("http://{HOST}{path}")], "soft": self.soft }),
            What::Tag(tag) => json!({ "tags": [tag], "soft": self.soft }),
        }
    }
}

/// Asks a sidecar for a purge and waits for the status of its answer. Nothing: none came.
pub(crate) async fn purge(at: &Place, order: &Order) -> Option<u16> {
    timeout(ANSWER, post(&at.admin, "/purge", &order.body())).await.ok()?.ok()?
}
