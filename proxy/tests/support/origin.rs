//! A scripted origin: real TCP, every request noted, every answer numbered, and any misbehaviour.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// One request that came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// 1 for the first of all.
    pub number: usize,
    /// On which connection; 1 for the first.
    pub connection: usize,
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    /// The value of a field, if it came.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| field.0.eq_ignore_ascii_case(name)).map(|field| field.1.as_str())
    }
}

/// A door that a test opens.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub fn shut() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn passed(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// What an origin does with a request.
#[derive(Clone, Debug)]
pub enum Step {
    /// Writes.
    Send(Vec<u8>),
    /// Waits for the test.
    Wait(Gate),
    /// Takes its time.
    Pause(Duration),
    /// Says nothing until the proxy gives up.
    Hang,
    /// Closes the connection.
    Close,
    /// Closes it so that the proxy sees an error.
    Reset,
}

/// Writes a text.
pub fn send(text: impl AsRef<str>) -> Step {
    Step::Send(text.as_ref().as_bytes().to_vec())
}

/// A whole answer. `fields` are lines, each with its CRLF.
pub fn answer(status: &str, fields: &str, body: &str) -> Vec<Step> {
    vec![send(format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()))]
}

/// A 200 with these field lines.
pub fn ok(fields: &str, body: &str) -> Vec<Step> {
    answer("200 OK", fields, body)
}

/// The head of an answer whose body is chunked.
pub fn chunked_head(fields: &str) -> Step {
    send(format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"))
}

/// One chunk.
pub fn chunk(data: &str) -> Step {
    send(format!("{:x}\r\n{data}\r\n", data.len()))
}

/// The end of a chunked body.
pub fn last_chunk() -> Step {
    send("0\r\n\r\n")
}

type Script = dyn Fn(&Asked) -> Vec<Step> + Send + Sync;

/// A running origin; it ends with this value.
pub struct Origin {
    pub address: SocketAddr,
    log: Arc<Log>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Log {
    asked: Mutex<Vec<Asked>>,
    /// Connections closed by the proxy while it was owed an answer.
    abandoned: Mutex<usize>,
    /// Requests that are being answered: now, and at most.
    under_way: Mutex<(usize, usize)>,
}

impl Origin {
    /// An origin that answers each request as `script` says.
    pub async fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (log, script): (Arc<Log>, Arc<Script>) = (Arc::default(), Arc::new(script));
        let mut tasks = JoinSet::new();
        let heard = Arc::clone(&log);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for number in 1.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                stream.set_nodelay(true).unwrap();
                let peer = Peer { stream, unread: Vec::new(), number };
                connections.spawn(peer.serve(Arc::clone(&heard), Arc::clone(&script)));
            }
        });
        Self { address, log, _tasks: tasks }
    }

    /// An origin that answers everything with a 200 of these field lines and the body
    /// `answer N`.
    pub async fn saying(fields: &'static str) -> Self {
        Self::start(move |asked| ok(fields, &format!("answer {}", asked.number))).await
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.log.asked).clone()
    }

    /// How often it was asked.
    pub fn count(&self) -> usize {
        lock(&self.log.asked).len()
    }

    /// What it was asked last.
    pub fn last(&self) -> Asked {
        lock(&self.log.asked).last().expect("a request has come").clone()
    }

    /// How many connections the proxy closed while they owed it an answer.
    pub fn abandoned(&self) -> usize {
        *lock(&self.log.abandoned)
    }

    /// How many requests it was answering at the same time, at most.
    pub fn most_at_once(&self) -> usize {
        lock(&self.log.under_way).1
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("the origin has not failed")
}

/// One request that is being answered.
struct UnderWay(Arc<Log>);

impl UnderWay {
    fn begin(log: &Arc<Log>) -> Self {
        let mut under_way = lock(&log.under_way);
        under_way.0 += 1;
        under_way.1 = under_way.1.max(under_way.0);
        Self(Arc::clone(log))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.0.under_way).0 -= 1;
    }
}

struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
    number: usize,
}

impl Peer {
    async fn serve(mut self, log: Arc<Log>, script: Arc<Script>) {
        while let Some(mut asked) = self.request().await {
            {
                let mut all = lock(&log.asked);
                asked.number = all.len() + 1;
                all.push(asked.clone());
            }
            let mut under_way = Some(UnderWay::begin(&log));
            let steps = script(&asked);
            let last = steps.len();
            for (number, step) in steps.into_iter().enumerate() {
                if number + 1 == last && matches!(step, Step::Send(_)) {
                    // Who has its answer may ask for the next before this task has its turn again.
                    under_way = None;
                }
                match self.take(step).await {
                    Some(true) => {}
                    Some(false) => return,
                    None => {
                        *lock(&log.abandoned) += 1;
                        return;
                    }
                }
            }
            drop(under_way);
        }
    }

    /// Does one step. `false`: the connection is to be closed; nothing: the proxy has closed it.
    async fn take(&mut self, step: Step) -> Option<bool> {
        match step {
            Step::Send(bytes) => self.stream.write_all(&bytes).await.ok()?,
            Step::Wait(gate) => self.unless_gone(gate.passed()).await?,
            Step::Pause(length) => self.unless_gone(tokio::time::sleep(length)).await?,
            Step::Hang => self.unless_gone(std::future::pending()).await?,
            Step::Close => return Some(false),
            Step::Reset => {
                socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
                return Some(false);
            }
        }
        Some(true)
    }

    async fn unless_gone(&mut self, step: impl Future<Output = ()>) -> Option<()> {
        let stream = &mut self.stream;
        let unread = &mut self.unread;
        let gone = async {
            let mut more = [0; 1024];
            while let Ok(count @ 1..) = stream.read(&mut more).await {
                unread.extend_from_slice(&more[..count]);
            }
        };
        tokio::select! {
            () = step => Some(()),
            () = gone => None,
        }
    }

    async fn request(&mut self) -> Option<Asked> {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            self.fill().await?;
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let mut words = lines.next()?.split(' ');
        let fields = lines.filter_map(|line| line.split_once(": "));
        let mut asked = Asked {
            number: 0,
            connection: self.number,
            method: words.next()?.to_owned(),
            target: words.next()?.to_owned(),
            fields: fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
            body: Vec::new(),
        };
        asked.body = match (asked.field("content-length"), asked.field("transfer-encoding")) {
            (Some(length), _) => self.bytes(length.parse().unwrap()).await?,
            (None, Some(_)) => self.chunks().await?,
            (None, None) => Vec::new(),
        };
        Some(asked)
    }

    async fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            self.fill().await?;
        }
        Some(self.unread.drain(..count).collect())
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                    break end;
                }
                self.fill().await?;
            };
            let size = self.bytes(end + 2).await?;
            let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim(), 16).unwrap();
            body.extend(self.bytes(size).await?);
            self.bytes(2).await?;
            if size == 0 {
                return Some(body);
            }
        }
    }

    async fn fill(&mut self) -> Option<()> {
        let mut more = [0; 16 * 1024];
        match self.stream.read(&mut more).await {
            Ok(count @ 1..) => {
                self.unread.extend_from_slice(&more[..count]);
                Some(())
            }
            _ => None,
        }
    }
}
