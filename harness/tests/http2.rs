//! Bursts over HTTP/2: what leaves when, what an end without an answer means, and the same verdicts as over HTTP/1.1.
#![cfg(feature = "race")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    pin::Pin,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use rstest::rstest;
use stockhold_harness::internal::{
    check::Verdict,
    control::{Control, Fault},
    drive::{Options, Silent, find, race},
    history::{Recorder, Request},
    target::{
        Crew, Dialect, Keys, Origin, Target,
        http2::{Ask, Connection, End, is_spoken, load},
    },
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

const WAIT: Duration = Duration::from_secs(10);
const LONG: usize = 1 << 16;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

/// A frame as RFC 9113, section 4.1, has it.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn ends(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// A server that does as a test says, frame by frame; only pings it answers by itself.
struct Server(DuplexStream);

impl Server {
    async fn greet(mut stream: DuplexStream) -> Self {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut server = Server(stream);
        server.send(SETTINGS, 0, 0, &[]).await;
        server
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.0.write_all(&bytes).await.unwrap();
    }

    /// Static entry 8 of HPACK is `:status: 200`.
    async fn answer(&mut self, stream: u32) {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &[0x88]).await;
    }

    async fn reset(&mut self, stream: u32, code: u32) {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    /// The next frame, unless nothing comes for a while.
    async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        tokio::time::timeout(Duration::from_millis(100), self.0.read_exact(&mut head)).await.ok()?.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.unwrap();
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if frame.kind == PING && frame.flags & ACK == 0 {
            self.send(PING, ACK, 0, &frame.payload).await;
        }
        Some(frame)
    }

    /// Everything that comes until nothing comes any more.
    async fn heard(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }
}

/// A wire that counts the writes to it.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn ask(method: &str, body: Option<&str>) -> Ask {
    let origin = Origin::parse(&"http://127.0.0.1:1/base".parse().unwrap()).unwrap();
    Ask::new(&origin, method, "/v1/reservations", &[], body).unwrap()
}

fn target(urls: &[url::Url]) -> Target {
    let recorder = Recorder::start(None).unwrap();
    Target::new(urls, Dialect::default(), Keys::default(), WAIT, recorder).unwrap().over_http2()
}

#[tokio::test]
async fn nothing_that_completes_a_call_leaves_before_the_release_and_then_all_of_it_in_one_write() {
    const CALLS: usize = 100;
    let body = "{\"quantity\":1}";
    let (ours, theirs) = tokio::io::duplex(LONG);
    let writes = Arc::new(AtomicUsize::new(0));
    let (released, mut server_may_end) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let mut server = Server::greet(theirs).await;
        let (mut early, mut late) = (Vec::new(), Vec::new());
        while let Err(tokio::sync::oneshot::error::TryRecvError::Empty) = server_may_end.try_recv() {
            early.extend(server.heard().await);
        }
        late.extend(server.heard().await);
        // A frame that was read after the release, but before this task knew of it, is late too.
        let first_end = early.iter().position(Frame::ends).unwrap_or(early.len());
        late.splice(0..0, early.split_off(first_end));
        (early, late)
    });

    let mut connection = Connection::over(Counted(ours, Arc::clone(&writes))).await.unwrap();
    for _ in 0..CALLS {
        connection.load(ask("POST", Some(body))).await.unwrap();
        connection.load(ask("POST", None)).await.unwrap();
    }
    let armed = connection.arm().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = writes.load(Ordering::SeqCst);
    armed.release().await.unwrap();
    assert_eq!(writes.load(Ordering::SeqCst) - before, 1, "the release is one write");
    released.send(()).unwrap();

    let (early, late) = server.await.unwrap();
    let of = |frames: &[Frame], kind| frames.iter().filter(|frame| frame.kind == kind).count();
    assert_eq!(
        (of(&early, HEADERS), of(&early, DATA)),
        (CALLS, CALLS),
        "every head that a body follows, and that body"
    );
    assert!(early.iter().filter(|frame| frame.kind == DATA).all(|frame| frame.payload == body.as_bytes()[..13]));
    assert_eq!((of(&late, HEADERS), of(&late, DATA)), (CALLS, CALLS), "every head that nothing follows");
    assert!(late.iter().filter(|frame| frame.kind == DATA).all(|frame| frame.payload == b"}"));
    let ended: BTreeSet<u32> = late.iter().filter(|frame| frame.ends()).map(|frame| frame.stream).collect();
    assert_eq!(ended.len(), 2 * CALLS);
}

#[tokio::test]
async fn before_the_release_the_server_has_nothing_to_end() {
    let (ours, theirs) = tokio::io::duplex(LONG);
    let server = tokio::spawn(async move { Server::greet(theirs).await.heard().await });
    let mut connection = Connection::over(ours).await.unwrap();
    connection.load(ask("POST", Some("{}"))).await.unwrap();
    connection.load(ask("GET", None)).await.unwrap();
    let armed = connection.arm().await.unwrap();
    let frames = server.await.unwrap();
    assert!(frames.iter().any(|frame| frame.kind == DATA) && !frames.iter().any(Frame::ends), "{frames:?}");
    drop(armed);
}

/// Four calls, streams 1 to 7, and a server that ends them as it is told.
async fn ends<F: Future<Output = ()> + Send>(serve: impl FnOnce(Server) -> F + Send + 'static) -> Vec<Option<End>> {
    let (ours, theirs) = tokio::io::duplex(LONG);
    tokio::spawn(async move {
        let mut server = Server::greet(theirs).await;
        let mut ended = 0;
        while ended < 4 {
            ended += usize::from(server.next().await.is_some_and(|frame| frame.ends()));
        }
        serve(server).await;
    });
    let mut connection = Connection::over(ours).await.unwrap();
    for _ in 0..4 {
        connection.load(ask("POST", Some("{}"))).await.unwrap();
    }
    let armed = connection.arm().await.unwrap();
    armed.release().await.unwrap();
    armed.answers(WAIT).await.into_iter().map(Result::err).collect()
}

fn unknown(end: &Option<End>) -> bool {
    matches!(end, Some(End::Unknown(_)))
}

#[tokio::test]
async fn a_refused_stream_was_not_executed_and_any_other_reset_is_unknown() {
    let ends = ends(async |mut server| {
        server.reset(3, REFUSED_STREAM).await;
        server.reset(5, CANCEL).await;
        // No end but a refusal after half an answer: the service did begin.
        server.send(HEADERS, END_HEADERS, 7, &[0x88]).await;
        server.reset(7, REFUSED_STREAM).await;
        server.answer(1).await;
        server.heard().await;
    })
    .await;
    assert_eq!((&ends[0], &ends[1]), (&None, &Some(End::NotExecuted)));
    assert!(unknown(&ends[2]) && unknown(&ends[3]), "{ends:?}");
}

#[tokio::test]
async fn streams_above_the_last_of_a_goaway_were_not_executed_and_those_below_are_unknown_once_it_ends() {
    for code in [0_u32, 11] {
        let ends = ends(async move |mut server| {
            let mut payload = 3_u32.to_be_bytes().to_vec();
            payload.extend(code.to_be_bytes());
            server.send(GOAWAY, 0, 0, &payload).await;
            server.answer(1).await;
        })
        .await;
        assert_eq!(ends[0], None, "an answer after a GOAWAY counts");
        assert!(unknown(&ends[1]), "{ends:?}");
        assert_eq!(ends[2..], [Some(End::NotExecuted), Some(End::NotExecuted)]);
    }
}

#[tokio::test]
async fn no_answer_in_time_is_unknown() {
    let (ours, theirs) = tokio::io::duplex(LONG);
    tokio::spawn(async move {
        let mut server = Server::greet(theirs).await;
        loop {
            server.next().await;
        }
    });
    let mut connection = Connection::over(ours).await.unwrap();
    connection.load(ask("GET", None)).await.unwrap();
    let armed = connection.arm().await.unwrap();
    armed.release().await.unwrap();
    let ends = armed.answers(Duration::from_millis(50)).await;
    assert_eq!(ends[0].as_ref().err(), Some(&End::Unknown("no answer in time".to_owned())));
}

#[rstest]
#[case(None, "burst", Verdict::Held)]
#[case(None, "confirm_deadline", Verdict::Held)]
#[case(None, "walk", Verdict::Held)]
#[case(Some(Fault::ReadModifyWrite), "burst", Verdict::Broken)]
#[case(Some(Fault::CheckThenTake), "burst", Verdict::Broken)]
#[case(Some(Fault::DoubleDeduct), "confirm_confirm", Verdict::Broken)]
#[case(Some(Fault::DoubleRelease), "cancel_cancel", Verdict::Broken)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_over_http2_says_what_it_says_over_http1(
    #[case] fault: Option<Fault>,
    #[case] scenario: &str,
    #[case] verdict: Verdict,
) {
    let control = Control::start(2, fault).await.unwrap();
    let options = Options { rounds: Some(6), ..Options::new(1, "test") };
    let scenario = find(scenario).unwrap();
    let result = race(&target(&control.urls), &[scenario], &options, &mut Silent).await.unwrap();
    let row = &result.scenarios[0];
    assert_eq!(result.verdict, verdict, "{:?} {:?}", row.undecided, row.failure);
    if let Some(failure) = &row.failure {
        let command = failure.reproduce.last().unwrap();
        assert!(command.starts_with("stockhold-harness replay") && command.ends_with(" --http2"), "{command}");
    }
}

/// Axum begins with a call whose body nobody reads as soon as it has the head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_a_body_takes_effect_only_after_its_release() {
    let confirmed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&confirmed);
    let confirm = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        std::future::ready("{}")
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let router = axum::Router::new().route("/confirm", axum::routing::post(confirm));
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });

    let origin = Origin::parse(&url).unwrap();
    let calls = (0..20).map(|place| (place, Ask::new(&origin, "POST", "/confirm", &[], None).unwrap())).collect();
    let (places, armed) = load(&origin, calls, WAIT).await.pop().unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(confirmed.load(Ordering::SeqCst), 0, "confirmed before it was released");
    armed.release().await.unwrap();
    let answers = armed.answers(WAIT).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|response| response.body == b"{}")), "{answers:?}");
    assert_eq!((places.len(), confirmed.load(Ordering::SeqCst)), (20, 20));
}

/// The control allows 200 streams on a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_a_connection_allows_take_another_and_overlap_all_the_same() {
    let control = Control::start(1, None).await.unwrap();
    let mut crew = Crew::new(target(&control.urls));
    let made = crew.call(0, Request::CreateItem { name: "an item".to_owned(), total: 1, key: None }, None).await;
    let item = made.item.unwrap();
    let requests = (0..450).map(|_| (Request::GetItem { item: item.clone() }, Some(item.clone()))).collect();
    let (calls, spread) = crew.burst(requests, None).await;
    assert!(calls.iter().all(|call| call.outcome.is_ok()));
    let mut invoked: Vec<u64> = calls.iter().map(|call| call.invoked_ns).collect();
    invoked.dedup();
    assert_eq!(invoked.len(), 3, "each connection's calls are invoked at one instant");
    assert!(spread.overlapped >= 200 && spread.released_us > 0, "{spread:?}");
    assert!(u128::from(spread.released_us) * 1_000 >= u128::from(invoked[2] - invoked[0]));
}

/// Its HTTP/1.1 is good enough to say no.
fn speaks_http1() -> url::Url {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    url
}

#[rstest]
#[case(&["race"])]
#[case(&["walk"])]
#[case(&["replay", "burst/1/1"])]
fn a_server_without_http2_is_told_in_a_line_before_anything_is_raced(#[case] command: &[&str]) {
    let url = speaks_http1();
    let program = env!("CARGO_BIN_EXE_stockhold-harness");
    let ran = Command::new(program).args(command).args(["--http2", "--url", url.as_str()]).output().unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(4), "{told}");
    assert_eq!(told, format!("stockhold-harness: {url}: does not speak HTTP/2: leave out --http2\n"));
    assert!(ran.stdout.is_empty());
}

#[tokio::test]
async fn nobody_there_is_another_line() {
    let origin = Origin::parse(&"http://127.0.0.1:1".parse().unwrap()).unwrap();
    let why = is_spoken(&origin, WAIT).await.unwrap_err();
    assert!(why.starts_with("the deployment does not answer"), "{why}");
    let mut crew = Crew::new(target(&["http://127.0.0.1:1".parse().unwrap()]));
    let (calls, _) = crew.burst(vec![(Request::Expire, None)], None).await;
    assert!(calls[0].outcome.is_unsent(), "{calls:?}");
}
