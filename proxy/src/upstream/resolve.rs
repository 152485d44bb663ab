//! The addresses of the origin's name: asked anew as connections are made, one question at a time, and the
//! last good answer kept for as long as there is no better one.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// How long an answer is used without asking again.
const TTL: Duration = Duration::from_secs(1);

/// How long a connection waits for the resolver when an earlier answer could serve.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks for the addresses of a name; the port is part of the answer.
pub type Lookup = Arc<dyn Fn(String, u16) -> LookupFuture + Send + Sync>;

/// What a [`Lookup`] returns.
pub type LookupFuture = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// The system's resolver.
pub(super) fn system() -> Lookup {
    Arc::new(|host, port| Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }))
}

/// The addresses of one origin.
pub(super) struct Resolver {
    host: String,
    port: u16,
    lookup: Lookup,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    addresses: Arc<[SocketAddr]>,
    asked: Option<Instant>,
    /// The question that is under way: waiters share it, however slow the resolver is.
    asking: Option<watch::Receiver<Option<Answer>>>,
}

type Answer = Result<Arc<[SocketAddr]>, Arc<io::Error>>;

impl Known {
    fn is_fresh(&self) -> bool {
        !self.addresses.is_empty() && self.asked.is_some_and(|asked| asked.elapsed() < TTL)
    }
}

impl Resolver {
    /// Of `host`, a name or an address (IPv6 with or without brackets).
    pub(super) fn new(host: &str, port: u16, lookup: Lookup) -> Arc<Self> {
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let lookup = match literal {
            Ok(ip) => {
                Arc::new(move |_, port| Box::pin(async move { Ok(vec![SocketAddr::new(ip, port)]) }) as _)
            }
            Err(_) => lookup,
        };
        Arc::new(Self { host: host.to_owned(), port, lookup, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether `peer` was in the last good answer.
    pub(super) fn lists(&self, peer: SocketAddr) -> bool {
        self.known().addresses.contains(&peer)
    }

    /// The addresses, not older than [`TTL`] unless the resolver fails or is slow.
    ///
    /// # Errors
    /// When the resolver fails and never succeeded before.
    pub(super) async fn addresses(self: &Arc<Self>) -> io::Result<Arc<[SocketAddr]>> {
        let (earlier, mut asking) = {
            let mut known = self.known();
            if known.is_fresh() {
                return Ok(Arc::clone(&known.addresses));
            }
            (Arc::clone(&known.addresses), self.ask(&mut known))
        };
        if earlier.is_empty() {
            return answered(&mut asking).await;
        }
        match timeout(PATIENCE, answered(&mut asking)).await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(_)) | Err(_) => Ok(earlier),
        }
    }

    /// Joins the question under way or asks it, in a task of its own: a resolver that hangs must not be
    /// asked once more by every connection that gives up on it.
    fn ask(self: &Arc<Self>, known: &mut Known) -> watch::Receiver<Option<Answer>> {
        if let Some(asking) = &known.asking {
            return asking.clone();
        }
        let (told, asking) = watch::channel(None);
        known.asking = Some(asking.clone());
        let resolver = Arc::clone(self);
        tokio::spawn(async move {
            let answer = (resolver.lookup)(resolver.host.clone(), resolver.port).await;
            told.send_replace(Some(resolver.learn(answer)));
        });
        asking
    }

    fn learn(&self, answer: io::Result<Vec<SocketAddr>>) -> Answer {
        let mut known = self.known();
        known.asking = None;
        known.asked = Some(Instant::now());
        match answer {
            Ok(addresses) if addresses.is_empty() => {
                Err(Arc::new(io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
            }
            Ok(addresses) => {
                known.addresses = addresses.into();
                Ok(Arc::clone(&known.addresses))
            }
            Err(error) => {
                tracing::warn!(host = self.host, %error, "the origin's name does not resolve");
                Err(Arc::new(error))
            }
        }
    }
}

async fn answered(asking: &mut watch::Receiver<Option<Answer>>) -> io::Result<Arc<[SocketAddr]>> {
    // The sender vanishes without an answer only if the runtime ends or the lookup panics.
    let answer = asking.wait_for(Option::is_some).await.map_err(io::Error::other)?.clone();
    match answer {
        Some(Ok(addresses)) => Ok(addresses),
        Some(Err(error)) => Err(io::Error::new(error.kind(), error)),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

/// The addresses in the order to try them: the families in turn, beginning with the first one's (RFC 8305 §4).
pub(super) fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for address in addresses {
        if address.is_ipv4() == first.is_ipv4() { one.push(*address) } else { other.push(*address) }
    }
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(one.next());
        order.extend(other.next());
    }
    order
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A resolver whose answers a test sets; counts the questions.
    #[derive(Clone, Default)]
    struct Script(Arc<Mutex<Vec<SocketAddr>>>, Arc<AtomicUsize>);

    impl Script {
        fn lookup(&self) -> Lookup {
            let Self(answer, asked) = self.clone();
            Arc::new(move |_, _| {
                asked.fetch_add(1, SeqCst);
                let answer = answer.lock().unwrap().clone();
                Box::pin(async move {
                    if answer.is_empty() { Err(io::Error::other("SERVFAIL")) } else { Ok(answer) }
                })
            })
        }

        fn set(&self, addresses: &[&str]) {
            *self.0.lock().unwrap() = addresses.iter().map(|text| address(text)).collect();
        }

        fn asked(&self) -> usize {
            self.1.load(SeqCst)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn asked_again_after_a_second_and_the_last_good_answer_kept() {
        let script = Script::default();
        let resolver = Resolver::new("origin", 80, script.lookup());
        assert!(resolver.addresses().await.is_err());

        script.set(&["10.0.0.1:80"]);
        assert_eq!(resolver.addresses().await.unwrap()[..], [address("10.0.0.1:80")]);
        let asked = script.asked();
        resolver.addresses().await.unwrap();
        assert_eq!(script.asked(), asked, "within a second the answer stands");

        tokio::time::advance(TTL).await;
        script.set(&["10.0.0.2:80"]);
        assert_eq!(resolver.addresses().await.unwrap()[..], [address("10.0.0.2:80")]);
        assert!(resolver.lists(address("10.0.0.2:80")) && !resolver.lists(address("10.0.0.1:80")));

        tokio::time::advance(TTL).await;
        script.set(&[]);
        assert_eq!(resolver.addresses().await.unwrap()[..], [address("10.0.0.2:80")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_hangs_is_asked_once_and_the_last_good_answer_serves() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let lookup: Lookup = Arc::new(move |_, _| {
            let first = counted.fetch_add(1, SeqCst) == 0;
            Box::pin(async move {
                if first { Ok(vec![address("10.0.0.1:80")]) } else { std::future::pending().await }
            })
        });
        let resolver = Resolver::new("origin", 80, lookup);
        resolver.addresses().await.unwrap();
        tokio::time::advance(TTL).await;
        for _ in 0..3 {
            let start = Instant::now();
            assert_eq!(resolver.addresses().await.unwrap()[..], [address("10.0.0.1:80")]);
            assert!(start.elapsed() <= PATIENCE + Duration::from_millis(1));
        }
        assert_eq!(asked.load(SeqCst), 2);
    }

    #[tokio::test]
    async fn an_address_is_its_own_answer() {
        let never: Lookup = Arc::new(|_, _| panic!("an address needs no resolver"));
        for (host, expected) in [("127.0.0.1", "127.0.0.1:80"), ("[::1]", "[::1]:80"), ("::1", "[::1]:80")] {
            let resolver = Resolver::new(host, 80, Arc::clone(&never));
            assert_eq!(resolver.addresses().await.unwrap()[..], [address(expected)]);
        }
    }

    #[test]
    fn families_take_turns() {
        let got = interleave(&["[::1]:1", "[::2]:1", "10.0.0.1:1", "[::3]:1", "10.0.0.2:1"].map(address));
        assert_eq!(got, ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"].map(address));
        let got = interleave(&["10.0.0.1:1", "[::1]:1"].map(address));
        assert_eq!(got, ["10.0.0.1:1", "[::1]:1"].map(address));
        assert!(interleave(&[]).is_empty());
    }
}
