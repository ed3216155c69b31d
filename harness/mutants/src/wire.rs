//! A wire between one service process and its database, with the fault of a mutant in it. The service is the real one and
//! knows nothing of it: what it sends is changed on the way, and everything that is not changed passes as it is.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
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
    message::{Rewriter, bound, framed, prepared, query, with_fresh_id},
};

/// The request codes that may come instead of a protocol version.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// No startup is longer (PostgreSQL's own limit).
const STARTUP_BYTES_MAX: u32 = 10_000;
/// A longer message carries no statement of ours, and is not held in memory.
const TEXT_BYTES_MAX: u32 = 1 << 20;
/// A mutant's fault, shared by all processes of its deployment.
pub struct Plant {
    /// What it changes in the text of statements.
    pub rewriter: Rewriter,
    habit: Habit,
    executions: AtomicUsize,
    lease: Arc<tokio::sync::Mutex<()>>,
    broken: AtomicBool,
}

impl Plant {
    /// The fault of a mutant.
    pub fn new(mutant: &Mutant) -> Self {
        Plant {
            rewriter: Rewriter::new(mutant.edits),
            habit: mutant.habit,
            executions: AtomicUsize::new(0),
            lease: Arc::default(),
            broken: AtomicBool::new(false),
        }
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
                if plant.habit == Habit::NeverHeals && plant.broken.load(Ordering::Relaxed) {
                    continue;
                }
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
    held: Option<OwnedMutexGuard<()>>,
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
        plant: Arc::clone(&plant),
        mutex,
        prepared: HashMap::new(),
        next: Next::default(),
    };
    let result = tokio::select! {
        result = forward.run() => result,
        result = backward(BufReader::new(from_server), BufWriter::new(to_client), Arc::clone(&turns)) => result,
    };
    let mut turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
    // A pool keeps its sessions: one that ends once the races began was broken, under a statement or between two.
    if plant.executions.load(Ordering::Relaxed) > 0 {
        plant.broken.store(true, Ordering::Relaxed);
    }
    if plant.habit == Habit::Lease {
        turns.drain(..).filter_map(|turn| turn.held).for_each(std::mem::forget);
    }
    result
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
        let about = self.plant.habit.statement();
        let habitual = kind == b'B' && bound(&body).and_then(|name| self.prepared.get(name)) == Some(&about);
        if habitual {
            self.begin().await?;
        }
        let fresh = Some(&body).filter(|_| habitual && self.plant.habit == Habit::FreshId);
        let body = fresh.and_then(|body| with_fresh_id(body)).unwrap_or(body);
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
            Habit::None | Habit::FreshId | Habit::NeverHeals => {}
            Habit::Forget { every } if number.is_multiple_of(every) => {
                self.ask("begin").await?;
                self.next = Next { idle: true, held: None, behind: Some("rollback") };
            }
            Habit::Forget { .. } => {}
            Habit::Mutex => {
                self.to.flush().await?;
                self.next.held = Some(Arc::clone(&self.mutex).lock_owned().await);
            }
            Habit::Lease => {
                self.to.flush().await?;
                self.next.held = Some(Arc::clone(&self.plant.lease).lock_owned().await);
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
        turns.push_back(Turn { answer, held });
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

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::Edit;

    const RESERVE: &str = "select 1, true where items.id = queued_request.item_id";
    const CHANGED: &str = "select 1, pg_sleep(1), true where items.id = queued_request.item_id";
    const BATCH: &str = "with admitted_calls as materialized (select 1) select 1";
    const MUTANT: Mutant = Mutant {
        edits: &[Edit { statement: "reserve", find: "select 1", replace: "select 1, pg_sleep(1)" }],
        ..Mutant::PLAIN
    };

    /// A client and a server at the two ends of a wire, past the startup.
    async fn ends(habit: Habit) -> (DuplexStream, DuplexStream) {
        let (mut client, near) = duplex(1 << 16);
        let (far, mut server) = duplex(1 << 16);
        let plant = Arc::new(Plant::new(&Mutant { habit, ..MUTANT }));
        tokio::spawn(relay(near, far, plant, Arc::default()));
        let startup = [&16_u32.to_be_bytes()[..], &196_608_u32.to_be_bytes(), b"user\0\0\0\0"].concat();
        client.write_all(&startup).await.unwrap();
        assert_eq!(said(&mut server, startup.len()).await, startup);
        (client, server)
    }

    async fn said(stream: &mut DuplexStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    async fn arrives(stream: &mut DuplexStream, expected: &[u8]) {
        assert_eq!(String::from_utf8_lossy(&said(stream, expected.len()).await), String::from_utf8_lossy(expected));
    }

    fn parse(sql: &str) -> Vec<u8> {
        framed(b'P', &[b"s\0", sql.as_bytes(), b"\0\0\0"].concat())
    }

    /// Bind, Execute, Sync.
    fn execution() -> Vec<u8> {
        [framed(b'B', b"\0s\0\0\0\0\0\0\0"), framed(b'E', b"\0\0\0\0\0"), framed(b'S', b"")].concat()
    }

    #[tokio::test]
    async fn encryption_is_declined_and_the_startup_passes() {
        let (mut client, near) = duplex(64);
        let (far, mut server) = duplex(64);
        tokio::spawn(relay(near, far, Arc::new(Plant::new(&MUTANT)), Arc::default()));
        for request in [SSL_REQUEST, GSS_REQUEST] {
            client.write_all(&[8_u32.to_be_bytes(), request.to_be_bytes()].concat()).await.unwrap();
            arrives(&mut client, b"N").await;
        }
        let startup = [9_u32.to_be_bytes().as_slice(), &196_608_u32.to_be_bytes(), b"\0"].concat();
        client.write_all(&startup).await.unwrap();
        arrives(&mut server, &startup).await;
    }

    #[tokio::test]
    async fn a_text_that_comes_in_pieces_is_changed_and_its_length_is_put_right() {
        let (mut client, mut server) = ends(Habit::None).await;
        for byte in parse(RESERVE) {
            client.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        arrives(&mut server, &parse(CHANGED)).await;
        client.write_all(&parse("select 1")).await.unwrap();
        arrives(&mut server, &parse("select 1")).await;
    }

    #[tokio::test]
    async fn copies_unknown_messages_and_large_ones_pass_as_they_are() {
        let (mut client, mut server) = ends(Habit::None).await;
        let large = vec![b'x'; 3 << 20];
        let messages = [
            framed(b'd', RESERVE.as_bytes()),
            framed(b'c', b""),
            framed(b'?', &[0, 255, 10]),
            framed(b'd', &large),
            query(&format!("{RESERVE}{}", " ".repeat(2 << 20))),
        ]
        .concat();
        let sent = messages.clone();
        let sending = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client
        });
        assert!(said(&mut server, messages.len()).await == messages);
        let mut client = sending.await.unwrap();
        let answers = [framed(b'G', b"\0\0\0"), framed(b'?', b"abc"), framed(b'D', &large[..9_000])].concat();
        server.write_all(&answers).await.unwrap();
        assert!(said(&mut client, answers.len()).await == answers);
    }

    #[tokio::test]
    async fn a_forgotten_execution_is_answered_as_done_and_rolled_back() {
        let (mut client, mut server) = ends(Habit::Forget { every: 2 }).await;
        client.write_all(&[parse(RESERVE), framed(b'S', b"")].concat()).await.unwrap();
        let prepared = [parse(CHANGED), framed(b'S', b"")].concat();
        arrives(&mut server, &prepared).await;
        server.write_all(&framed(b'Z', b"I")).await.unwrap();
        arrives(&mut client, &framed(b'Z', b"I")).await;

        client.write_all(&execution()).await.unwrap();
        arrives(&mut server, &execution()).await;
        server.write_all(&framed(b'Z', b"I")).await.unwrap();
        arrives(&mut client, &framed(b'Z', b"I")).await;

        client.write_all(&execution()).await.unwrap();
        arrives(&mut server, &[query("begin"), execution(), query("rollback")].concat()).await;
        let begun = [framed(b'C', b"BEGIN\0"), framed(b'Z', b"T")].concat();
        let done = [framed(b'D', b"row"), framed(b'C', b"SELECT 1\0"), framed(b'Z', b"T")].concat();
        let undone = [framed(b'C', b"ROLLBACK\0"), framed(b'Z', b"I")].concat();
        server.write_all(&[begun, done, undone, framed(b'N', b"notice")].concat()).await.unwrap();
        let heard = [framed(b'D', b"row"), framed(b'C', b"SELECT 1\0"), framed(b'Z', b"I"), framed(b'N', b"notice")];
        arrives(&mut client, &heard.concat()).await;
    }

    #[tokio::test]
    async fn a_mutex_lets_the_next_execution_pass_when_the_answer_is_complete() {
        let plant = Arc::new(Plant::new(&Mutant { habit: Habit::Mutex, ..MUTANT }));
        let mutex = Arc::<tokio::sync::Mutex<()>>::default();
        let mut ends = Vec::new();
        for _ in 0..2 {
            let (mut client, near) = duplex(1 << 16);
            let (far, mut server) = duplex(1 << 16);
            tokio::spawn(relay(near, far, Arc::clone(&plant), Arc::clone(&mutex)));
            client.write_all(&[9, 196_608].map(u32::to_be_bytes).concat()).await.unwrap();
            client.write_all(&[&[0], parse(BATCH).as_slice()].concat()).await.unwrap();
            said(&mut server, 9 + parse(BATCH).len()).await;
            ends.push((client, server));
        }
        let [(one, first), (other, second)] = ends.as_mut_slice() else { panic!("two") };
        one.write_all(&execution()).await.unwrap();
        arrives(first, &execution()).await;
        other.write_all(&execution()).await.unwrap();
        let mut early = [0];
        let waits = tokio::time::timeout(std::time::Duration::from_millis(50), second.read_exact(&mut early)).await;
        assert!(waits.is_err(), "the second execution has passed");
        first.write_all(&framed(b'Z', b"I")).await.unwrap();
        arrives(second, &execution()).await;
    }
}
