//! The connections of one role, to whichever node has what is asked for.
//!
//! A node that has a slot no longer sends us to the one that has it; there the question is asked once more,
//! within the same limit. While a slot is on its way, or has no owner, a request is not served: it costs a
//! miss. A purge, and what belongs to it, is tried again until its time is over.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all, stream};
use redis::{Cmd, FromRedisValue, RedisResult, aio::MultiplexedConnection};
use tokio::time::{Instant, sleep};

use super::{Node, Nodes, Spot, slots::read_address};
use crate::store::{
    StoreError,
    redis::{
        condition::Failure,
        link::{Elsewhere, Refusal, Role},
    },
};

/// Between two attempts of what is patient.
const PAUSE: Duration = Duration::from_millis(5);
/// Of what is sent one by one, so many at once.
const AT_ONCE: usize = 64;

/// The links of one role.
#[derive(Clone, Debug)]
pub(in crate::store::redis) struct Links {
    nodes: Arc<Nodes>,
    role: Role,
}

/// What one attempt leads to.
enum Next {
    /// It is to be tried there.
    At(Arc<Node>),
    /// Nobody has it now.
    Nowhere,
}

impl Links {
    pub(in crate::store::redis) fn new(nodes: &Arc<Nodes>, role: Role) -> Self {
        Self { nodes: Arc::clone(nodes), role }
    }

    /// Who has a key now.
    pub(in crate::store::redis) fn owner(&self, spot: Spot<'_>) -> Option<Arc<Node>> {
        self.nodes.owner(spot)
    }

    pub(in crate::store::redis) fn nodes(&self) -> &Arc<Nodes> {
        &self.nodes
    }

    /// Asks the node that has this key; waits for the answer no longer than `limit`. At once an error if
    /// there is no connection, if it is held back, or if too much is on its way already.
    pub(in crate::store::redis) async fn run<T, F>(
        &self,
        spot: Spot<'_>,
        limit: Duration,
        ask: impl Fn(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        self.run_at(spot, limit, ask).await.map(|(answer, _)| answer)
    }

    /// The same, and who has answered.
    pub(in crate::store::redis) async fn run_at<T, F>(
        &self,
        spot: Spot<'_>,
        limit: Duration,
        ask: impl Fn(MultiplexedConnection) -> F,
    ) -> Result<(T, Arc<Node>), StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (role, ask) = (self.role, &ask);
        self.find(spot, limit, |node, left| async move { node.link(role).run(left, ask).await }).await
    }

    /// As [`Links::run`], for what takes so much room, when its turn has come.
    pub(in crate::store::redis) async fn run_in_turn<T, F>(
        &self,
        spot: Spot<'_>,
        weight: u32,
        limit: Duration,
        ask: impl Fn(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (role, ask) = (self.role, &ask);
        let attempt =
            |node: Arc<Node>, left| async move { node.link(role).run_in_turn(weight, left, ask).await };
        self.find(spot, limit, attempt).await.map(|(answer, _)| answer)
    }

    /// Tries it where the key is.
    async fn find<T, F>(
        &self,
        spot: Spot<'_>,
        limit: Duration,
        attempt: impl Fn(Arc<Node>, Duration) -> F,
    ) -> Result<(T, Arc<Node>), StoreError>
    where
        F: Future<Output = Result<T, Refusal>>,
    {
        let until = Instant::now() + limit;
        let mut node = self.owner(spot).ok_or(StoreError::Unavailable)?;
        let mut sent_on = false;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let elsewhere = match attempt(Arc::clone(&node), left).await {
                Ok(answer) => return Ok((answer, node)),
                Err(Refusal::Failed(error)) => return Err(error),
                Err(Refusal::Elsewhere(elsewhere)) => elsewhere,
            };
            match self.follow(&node, &elsewhere) {
                Next::At(next) if !sent_on => (node, sent_on) = (next, true),
                _ if self.role == Role::Purges && left > PAUSE => {
                    sleep(PAUSE).await;
                    node = self.owner(spot).ok_or(StoreError::Unavailable)?;
                    sent_on = false;
                }
                _ => return Err(StoreError::Unavailable),
            }
            // A question for which no time is left would count as one that is not answered.
            if Instant::now() >= until {
                return Err(StoreError::Unavailable);
            }
        }
    }

    /// Where a node sends us.
    fn follow(&self, node: &Node, elsewhere: &Elsewhere) -> Next {
        let Elsewhere::Moved(to) = elsewhere else { return Next::Nowhere };
        self.nodes.pulse().lost.notify_one();
        let to = read_address(to, &node.name.address);
        to.and_then(|to| self.nodes.view().at(&to).cloned()).map_or(Next::Nowhere, Next::At)
    }

    /// Sends each of these to its node, all at once, and gives what each answers, in their order.
    pub(in crate::store::redis) async fn run_each<T: FromRedisValue>(
        &self,
        commands: &[(Spot<'_>, Cmd)],
        limit: Duration,
    ) -> Vec<Result<T, StoreError>> {
        let until = Instant::now() + limit;
        let groups = self.group(commands);
        let sent = groups.iter().map(|(node, places)| self.send(node, places, commands, limit));
        let (mut answers, mut again) = (HashMap::new(), Vec::new());
        for (place, answer) in join_all(sent).await.into_iter().flatten() {
            match answer {
                Some(answer) => drop(answers.insert(place, answer)),
                None => again.push(place),
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        let again = again.into_iter().filter(|_| !left.is_zero());
        let retried = stream::iter(again).map(|place| self.send_one(place, commands, left));
        answers.extend(retried.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
        let answer = |place| answers.remove(&place).unwrap_or(Err(StoreError::Unavailable));
        (0..commands.len()).map(answer).collect()
    }

    /// The places of these, by who has their keys; without those that nobody has.
    fn group(&self, commands: &[(Spot<'_>, Cmd)]) -> Vec<(Arc<Node>, Vec<usize>)> {
        let view = self.nodes.view_full();
        let mut groups: Vec<(Arc<Node>, Vec<usize>)> = Vec::new();
        for (place, (spot, _)) in commands.iter().enumerate() {
            let Some(node) = view.owner(|| *spot) else { continue };
            match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, node)) {
                Some((_, places)) => places.push(place),
                None => groups.push((Arc::clone(node), vec![place])),
            }
        }
        groups
    }

    /// Sends some of these to one node. Nothing is answered to what is elsewhere by now.
    async fn send<T: FromRedisValue>(
        &self,
        node: &Node,
        places: &[usize],
        commands: &[(Spot<'_>, Cmd)],
        limit: Duration,
    ) -> Vec<(usize, Option<Result<T, StoreError>>)> {
        let meant = || places.iter().filter_map(|place| commands.get(*place));
        let ask = async |connection: MultiplexedConnection| {
            let asked = meant().map(|(_, command)| {
                let mut connection = connection.clone();
                async move { command.query_async::<T>(&mut connection).await }
            });
            each(join_all(asked).await)
        };
        let failed =
            |error: StoreError| places.iter().map(move |place| (*place, Some(Err(error.clone())))).collect();
        match node.link(self.role).run(limit, ask).await {
            Ok(answers) => places.iter().copied().zip(answers).collect(),
            Err(Refusal::Failed(error)) => failed(error),
            Err(Refusal::Elsewhere(_)) => failed(StoreError::Unavailable),
        }
    }

    async fn send_one<T: FromRedisValue>(
        &self,
        place: usize,
        commands: &[(Spot<'_>, Cmd)],
        limit: Duration,
    ) -> (usize, Result<T, StoreError>) {
        let Some((spot, command)) = commands.get(place) else { return (place, Err(StoreError::Unavailable)) };
        let ask =
            async |mut connection: MultiplexedConnection| command.query_async::<T>(&mut connection).await;
        (place, self.run(*spot, limit, ask).await)
    }
}

/// What a node has answered to each of several: nothing to what is elsewhere by now. An error, if it has refused all
/// the rest: that is about the node. What it refuses beside others is about that alone.
fn each<T>(answers: Vec<RedisResult<T>>) -> RedisResult<Vec<Option<Result<T, StoreError>>>> {
    let is_taken =
        |answer: &RedisResult<T>| answer.as_ref().err().is_none_or(|error| Elsewhere::of(error).is_some());
    let any_taken = answers.iter().any(is_taken);
    let of_one = |answer| match answer {
        Ok(answer) => Ok(Some(Ok(answer))),
        Err(error) if Elsewhere::of(&error).is_some() => Ok(None),
        Err(error) if any_taken => {
            Ok(Some(Err(StoreError::Refused(Failure::from(&error).text().to_owned()))))
        }
        Err(error) => Err(error),
    };
    answers.into_iter().map(of_one).collect()
}
