//! Who watches over a cluster: asks its nodes again and again which of them has which slots.

use std::{
    fmt, io,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream::FuturesUnordered};
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisResult, Value, aio::MultiplexedConnection, cmd};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    Nodes, View,
    slots::{Table, most_named},
};
use crate::{
    address::RedisNode,
    store::redis::{
        credentials::{Credentials, FileError},
        dialer::{Dialer, address},
    },
};

/// Between two questions, and the least between two where somebody rouses us.
const LOOK: Duration = Duration::from_secs(1);
const SOONEST: Duration = Duration::from_millis(100);
/// For the answer of a node, with the time to connect to it where that has to be.
const ANSWER: Duration = Duration::from_millis(500);

/// Some nodes of a cluster, and how all of them let us in.
#[derive(Clone)]
pub(in crate::store::redis) struct Seeds {
    nodes: Arc<[RedisNode]>,
    credentials: Credentials,
}

impl Seeds {
    pub(in crate::store::redis) fn new(nodes: &[RedisNode], credentials: Credentials) -> Self {
        Self { nodes: nodes.into(), credentials }
    }

    /// Whether all that is needed to connect can be read.
    pub(in crate::store::redis) fn check(&self) -> Result<(), FileError> {
        self.credentials.read().map(|_| ())
    }

    /// To this node.
    pub(super) fn dialer(&self, node: &RedisNode) -> Dialer {
        Dialer::to(address(node, self.credentials.are_over_tls()), self.credentials.clone())
    }

    /// What one of them says, over a connection of its own.
    async fn ask(&self, node: &RedisNode) -> RedisResult<Table> {
        let failed = |why: &dyn fmt::Display| io::Error::other(format!("{node}: {why}"));
        let ask = async {
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            let (connection, _) = self.dialer(node).connect(&config, ProtocolVersion::RESP2).await?;
            read_slots(connection, node).await
        };
        match timeout(ANSWER, ask).await {
            Ok(answer) => answer.map_err(|error| failed(&error).into()),
            Err(_) => Err(failed(&"no answer in time").into()),
        }
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<String> = self.nodes.iter().map(ToString::to_string).collect();
        write!(f, "the cluster of {}", nodes.join(", "))
    }
}

/// What a node says of who has which slots.
pub(in crate::store::redis) async fn read_slots(
    mut connection: MultiplexedConnection,
    asked: &RedisNode,
) -> RedisResult<Table> {
    let mut ask = cmd("CLUSTER");
    let answer = ask.arg("SLOTS").query_async::<Value>(&mut connection).await?;
    Table::read(&answer, asked).ok_or_else(|| io::Error::other("it knows of no slots").into())
}

/// Asks, for as long as there are nodes.
pub(super) async fn watch(nodes: Weak<Nodes>, seeds: Seeds, roused: Arc<Notify>) {
    loop {
        match nodes.upgrade() {
            Some(nodes) => nodes.look(&seeds).await,
            None => return,
        }
        sleep(SOONEST).await;
        // An error is a pause that is over.
        let _ = timeout(LOOK - SOONEST, roused.notified()).await;
    }
}

impl Nodes {
    /// Asks those that are known, or else those of the file.
    async fn look(&self, seeds: &Seeds) {
        let view = self.view_full();
        let known: FuturesUnordered<_> = view
            .nodes()
            .iter()
            .map(|node| async {
                let ask = async |connection| Ok(read_slots(connection, &node.name.address).await);
                let answer = node.purges.run(ANSWER, ask).await.ok()?;
                answer.inspect_err(|error| tracing::debug!(%error, "a node does not tell who has what")).ok()
            })
            .collect();
        if let Some(table) = agreed(known, view.nodes().len(), &view).await {
            return self.adopt(&table, seeds);
        }
        let mut failure = None;
        let asked: FuturesUnordered<_> = seeds.nodes.iter().map(|node| seeds.ask(node)).collect();
        let answers = asked.filter_map(|answer| {
            let table = answer.map_err(|error| failure = Some(error.to_string())).ok();
            std::future::ready(Some(table))
        });
        match agreed(answers, seeds.nodes.len(), &view).await {
            Some(table) => self.adopt(&table, seeds),
            None => self.is_nowhere(failure.unwrap_or_default()),
        }
    }
}

/// What most of so many say; as soon as that is certain.
async fn agreed(answers: impl Stream<Item = Option<Table>>, count: usize, view: &View) -> Option<Table> {
    let (mut answers, mut tables) = (std::pin::pin!(answers), Vec::new());
    while let Some(answer) = answers.next().await {
        let Some(table) = answer else { continue };
        let times = 1 + tables.iter().filter(|other| **other == table).count();
        if 2 * times > count {
            return Some(table);
        }
        tables.push(table);
    }
    most_named(&tables, view.table())
}
