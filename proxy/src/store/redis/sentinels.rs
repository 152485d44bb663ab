//! Who knows which server is the master.

use std::{collections::HashMap, fmt, io, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::{
    AsyncConnectionConfig, ProtocolVersion, RedisError, RedisResult, Value, aio::MultiplexedConnection, cmd,
    io::tcp::TcpSettings,
};
use tokio::time::timeout;

use super::{
    credentials::{Credentials, Secrets},
    dialer::address,
};
use crate::address::RedisNode;

/// For the answer of a sentinel, with the time to connect to it.
const ANSWER: Duration = Duration::from_millis(250);
/// For the answer to the question whether a server is a master.
const ROLE: Duration = Duration::from_millis(250);

/// The sentinels, and the name of what they watch.
pub(super) struct Sentinels {
    nodes: Vec<RedisNode>,
    master: String,
    credentials: Credentials,
}

impl Sentinels {
    pub(super) fn new(nodes: Vec<RedisNode>, master: String, credentials: Credentials) -> Self {
        Self { nodes, master, credentials }
    }

    /// As whom they are asked.
    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Where the master is: all are asked at once, until most of them agree. Else all that were named, the
    /// most often first: one that is cut off from the others may not know better.
    pub(super) async fn ask(&self) -> RedisResult<Vec<RedisNode>> {
        let secrets = self.credentials.fetch().await?;
        let mut answers: FuturesUnordered<_> =
            self.nodes.iter().map(|node| self.ask_one(node, &secrets)).collect();
        let (mut named, mut failure) = (HashMap::<RedisNode, usize>::new(), None);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Some(node)) => {
                    let times = named.entry(node.clone()).or_default();
                    *times += 1;
                    if *times * 2 > self.nodes.len() {
                        return Ok(vec![node]);
                    }
                }
                Ok(None) => {}
                Err(error) => failure = Some(error),
            }
        }
        let mut named: Vec<_> = named.into_iter().collect();
        named.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        match (named.is_empty(), failure) {
            (true, Some(error)) => Err(error),
            (true, None) => Err(self.know_none()),
            (false, _) => Ok(named.into_iter().map(|(node, _)| node).collect()),
        }
    }

    async fn ask_one(&self, sentinel: &RedisNode, secrets: &Secrets) -> RedisResult<Option<RedisNode>> {
        let failed = |why: &dyn fmt::Display| io::Error::other(format!("sentinel {sentinel}: {why}"));
        match timeout(ANSWER, self.ask_at(sentinel, secrets)).await {
            Ok(Ok(answer)) => Ok(answer.map(|(host, port)| RedisNode { host, port })),
            Ok(Err(error)) => Err(failed(&error).into()),
            Err(_) => Err(failed(&"no answer in time").into()),
        }
    }

    async fn ask_at(&self, sentinel: &RedisNode, secrets: &Secrets) -> RedisResult<Option<(String, u16)>> {
        let to = address(sentinel, self.credentials.are_over_tls());
        let client = secrets.client(to, ProtocolVersion::RESP2, TcpSettings::default())?;
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut ask = cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master).query_async(&mut connection).await
    }

    /// That they have never heard of it.
    pub(super) fn know_none(&self) -> RedisError {
        io::Error::other(format!("no sentinel knows a master of the name {}", self.master)).into()
    }
}

/// An error where a server is no master.
pub(super) async fn is_master(
    connection: &MultiplexedConnection,
    who: &impl fmt::Display,
) -> RedisResult<()> {
    let mut connection = connection.clone();
    let (ask, unanswered) = (cmd("ROLE"), || io::Error::from(io::ErrorKind::TimedOut));
    let role = timeout(ROLE, ask.query_async::<Value>(&mut connection)).await.map_err(|_| unanswered())??;
    match role {
        Value::Array(said) if said.first() == Some(&Value::BulkString(b"master".to_vec())) => Ok(()),
        _ => Err(io::Error::other(format!("{who}: not a master")).into()),
    }
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<String> = self.nodes.iter().map(ToString::to_string).collect();
        write!(f, "the master {} of the sentinels {}", self.master, nodes.join(", "))
    }
}
