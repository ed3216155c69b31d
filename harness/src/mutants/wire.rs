//! A wire between one service process and its database, with the fault of a mutant in it. The service is the real one and
//! knows nothing of it: what it sends is changed on the way, and everything that is not changed passes as it is.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{
        AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter, ReadHalf, WriteHalf,
        copy, split,
    },
    net::{TcpListener, TcpStream},
    sync::OwnedMutexGuard,
    task::{JoinHandle, JoinSet},
};

use super::{
    Habit, Mutant,
    message::{Rewriter, bound, framed, prepared, query},
};

/// The request codes that may come instead of a protocol version.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// No startup is longer (PostgreSQL's own limit).
const STARTUP_BYTES_MAX: u32 = 10_000;
/// A longer message carries no statement of ours, and is not held in memory.
const TEXT_BYTES_MAX: u32 = 1 << 20;
/// The statement that a habit is about.
const HABITUAL: &str = "reserve";

/// A mutant's fault, shared by all processes of its deployment.
pub struct Plant {
    /// What it changes in the text of statements.
    pub rewriter: Rewriter,
    habit: Habit,
    executions: AtomicUsize,
}

impl Plant {
    /// The fault of a mutant.
    pub fn new(mutant: &Mutant) -> Self {
        Plant { rewriter: Rewriter::new(mutant.edits), habit: mutant.habit, executions: AtomicUsize::new(0) }
    }
}

/// A wire that listens on the loopback interface until it is dropped.
pub struct Wire {
    /// Where.
    pub port: u16,
    task: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    /// Lays a wire for one process to the server at this address.
    pub async fn lay(server: String, plant: Arc<Plant>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let mutex = Arc::new(tokio::sync::Mutex::new(()));
        let task = tokio::spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (server, plant, mutex) = (server.clone(), Arc::clone(&plant), Arc::clone(&mutex));
                sessions.spawn(async move {
                    let server = TcpStream::connect(&server).await?;
                    client.set_nodelay(true)?;
                    server.set_nodelay(true)?;
                    relay(client, server, plant, mutex).await
                });
                while sessions.try_join_next().is_some() {}
            }
        });
        Ok(Wire { port, task })
    }
}

/// What becomes of the answer to one request, up to its `ReadyForQuery`.
struct Turn {
    answer: Answer,
    /// Given back when the answer is complete.
    _held: Option<OwnedMutexGuard<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It passes.
    Passed,
    /// It passes, and the session is said to be outside any transaction.
    Idle,
    /// The wire asked, not the client.
    Kept,
}

/// The answers still to come, in the order in which they were asked for.
type Turns = Arc<Mutex<VecDeque<Turn>>>;

/// Passes one session on until either side ends it.
async fn relay<C, S>(
    mut client: C,
    mut server: S,
    plant: Arc<Plant>,
    mutex: Arc<tokio::sync::Mutex<()>>,
) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    start(&mut client, &mut server).await?;
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    let turns = Turns::default();
    let forward = Forward {
        from: BufReader::new(from_client),
        to: BufWriter::new(to_server),
        turns: Arc::clone(&turns),
        plant,
        mutex,
        prepared: HashMap::new(),
        next: Next::default(),
    };
    tokio::select! {
        result = forward.run() => result,
        result = backward(BufReader::new(from_server), BufWriter::new(to_client), turns) => result,
    }
}

/// Passes the startup on; encryption is declined, for the wire does not leave this machine.
async fn start<C, S>(client: &mut C, server: &mut S) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncWrite + Unpin,
{
    loop {
        let (length, code) = (client.read_u32().await?, client.read_u32().await?);
        if code == SSL_REQUEST || code == GSS_REQUEST {
            client.write_all(b"N").await?;
            continue;
        }
        if !(8..=STARTUP_BYTES_MAX).contains(&length) {
            return Err(io::Error::other("this is no startup of PostgreSQL's protocol"));
        }
        let mut rest = vec![0; length as usize - 8];
        client.read_exact(&mut rest).await?;
        server.write_all(&[&length.to_be_bytes(), &code.to_be_bytes(), rest.as_slice()].concat()).await?;
        return server.flush().await;
    }
}

/// What the client says.
struct Forward<C, S> {
    from: BufReader<ReadHalf<C>>,
    to: BufWriter<WriteHalf<S>>,
    turns: Turns,
    plant: Arc<Plant>,
    mutex: Arc<tokio::sync::Mutex<()>>,
    /// Which of our statements stands behind a name.
    prepared: HashMap<Vec<u8>, &'static str>,
    next: Next,
}

/// What a habit has in mind for the request that is being passed on.
#[derive(Default)]
struct Next {
    idle: bool,
    held: Option<OwnedMutexGuard<()>>,
    /// Sent behind it.
    behind: Option<&'static str>,
}

impl<C, S> Forward<C, S>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    async fn run(mut self) -> io::Result<()> {
        while !self.from.fill_buf().await?.is_empty() {
            let (kind, length) = (self.from.read_u8().await?, self.from.read_u32().await?);
            if length > TEXT_BYTES_MAX || !matches!(kind, b'P' | b'Q' | b'B' | b'S' | b'F') {
                self.pass(kind, length).await?;
            } else {
                let mut body = vec![0; length.saturating_sub(4) as usize];
                self.from.read_exact(&mut body).await?;
                self.request(kind, body).await?;
            }
            if self.from.buffer().is_empty() {
                self.to.flush().await?;
            }
        }
        Ok(())
    }

    async fn pass(&mut self, kind: u8, length: u32) -> io::Result<()> {
        self.to.write_u8(kind).await?;
        self.to.write_u32(length).await?;
        if matches!(kind, b'Q' | b'F') {
            self.await_answer(Answer::Passed, None);
        }
        copy(&mut (&mut self.from).take(u64::from(length.saturating_sub(4))), &mut self.to).await?;
        Ok(())
    }

    async fn request(&mut self, kind: u8, body: Vec<u8>) -> io::Result<()> {
        if let (b'P', Some((name, statement))) = (kind, prepared(&body)) {
            self.prepared.insert(name, statement);
        }
        if kind == b'B' && bound(&body).and_then(|name| self.prepared.get(name)) == Some(&HABITUAL) {
            self.begin().await?;
        }
        let body = self.plant.rewriter.body(kind, &body).unwrap_or(body);
        let next = if matches!(kind, b'Q' | b'S' | b'F') { Some(std::mem::take(&mut self.next)) } else { None };
        let Some(Next { idle, held, behind }) = next else { return self.to.write_all(&framed(kind, &body)).await };
        self.await_answer(if idle { Answer::Idle } else { Answer::Passed }, held);
        self.to.write_all(&framed(kind, &body)).await?;
        if let Some(sql) = behind { self.ask(sql).await } else { Ok(()) }
    }

    /// Does what the habit does before the statement.
    async fn begin(&mut self) -> io::Result<()> {
        let number = self.plant.executions.fetch_add(1, Ordering::Relaxed) + 1;
        match self.plant.habit {
            Habit::None => {}
            Habit::Forget { every } if number.is_multiple_of(every) => {
                self.ask("begin").await?;
                self.next = Next { idle: true, held: None, behind: Some("rollback") };
            }
            Habit::Forget { .. } => {}
            Habit::Mutex => {
                self.to.flush().await?;
                self.next.held = Some(Arc::clone(&self.mutex).lock_owned().await);
            }
            Habit::Repair { sql } => self.next.behind = Some(sql),
        }
        Ok(())
    }

    /// Asks the server for something of the wire's own.
    async fn ask(&mut self, sql: &str) -> io::Result<()> {
        self.await_answer(Answer::Kept, None);
        self.to.write_all(&query(sql)).await
    }

    fn await_answer(&self, answer: Answer, held: Option<OwnedMutexGuard<()>>) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.push_back(Turn { answer, _held: held });
    }
}

/// What the server says.
async fn backward<S, C>(
    mut from: BufReader<ReadHalf<S>>,
    mut to: BufWriter<WriteHalf<C>>,
    turns: Turns,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: AsyncRead + AsyncWrite + Unpin,
{
    while !from.fill_buf().await?.is_empty() {
        let (kind, length) = (from.read_u8().await?, from.read_u32().await?);
        let mut body = (&mut from).take(u64::from(length.saturating_sub(4)));
        let answer = {
            let mut turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = turns.front().map_or(Answer::Passed, |turn| turn.answer);
            if kind == b'Z' {
                turns.pop_front();
            }
            answer
        };
        match answer {
            Answer::Kept => {
                copy(&mut body, &mut tokio::io::sink()).await?;
            }
            Answer::Idle if kind == b'Z' => {
                copy(&mut body, &mut tokio::io::sink()).await?;
                to.write_all(&framed(b'Z', b"I")).await?;
            }
            Answer::Passed | Answer::Idle => {
                to.write_u8(kind).await?;
                to.write_u32(length).await?;
                copy(&mut body, &mut to).await?;
            }
        }
        if from.buffer().is_empty() {
            to.flush().await?;
        }
    }
    Ok(())
}
