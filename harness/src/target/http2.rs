//! A burst's calls to one instance over HTTP/2: a stream each on one connection, and what completes them in one write.
//! The frames are the crate `h2`'s, which retries nothing; when they leave is the dam's affair.
//!
//! A server may begin as soon as it has the head (most do, where they expect no body) or a whole JSON value (Go's decoder
//! asks for no more), END_STREAM or not. A confirm whose head left early would take effect before it was invoked. So the
//! frame that is held back is one without which nobody can begin: the body's last byte, or the head where there is no body.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::Poll,
    time::{Duration, Instant},
};

use axum::{
    body::Bytes,
    http::{self, header},
};
use futures::future::join_all;
use h2::{
    Ping, PingPong, Reason, SendStream,
    client::{Builder, Connection as Driver, ResponseFuture, SendRequest},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use crate::target::{
    connection::{BODY_BYTES_MAX, Origin, Response, Stream},
    dam::Dam,
};

/// What all bodies of one connection may have together until the server says more (RFC 9113, section 6.9.2).
const WINDOW_BYTES: usize = 65_535;
/// So much may be under way to us: an answer never waits for our leave.
const ANSWERS_BYTES: u32 = 64 * 1024 * 1024;

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}
type Dammed = Dam<Box<dyn Wire>>;

/// A request to be made.
pub struct Ask {
    head: http::Request<()>,
    body: Bytes,
}

impl Ask {
    /// The request that `Origin::request` writes for HTTP/1.1.
    pub fn new(
        origin: &Origin,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Self, http::Error> {
        let mut head = http::Request::builder()
            .method(method)
            .uri(origin.uri(path))
            .header(header::USER_AGENT, concat!("stockhold-harness/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json");
        for (name, value) in headers {
            head = head.header(*name, *value);
        }
        if body.is_some() {
            head = head.header(header::CONTENT_TYPE, "application/json");
        }
        // Some frameworks take a request without a length for one without a body, over HTTP/2 too.
        if body.is_some() || method != "GET" {
            head = head.header(header::CONTENT_LENGTH, body.map_or(0, str::len));
        }
        Ok(Ask { head: head.body(())?, body: Bytes::copy_from_slice(body.unwrap_or_default().as_bytes()) })
    }
}

/// How a call ended that has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The server says that it did not begin (RFC 9113, section 8.7): nothing happened.
    NotExecuted,
    /// It may have happened, at any later time.
    Unknown(String),
}

/// Whether an instance speaks HTTP/2; if not, why.
pub async fn is_spoken(origin: &Origin, wait: Duration) -> Result<(), String> {
    match Connection::open(origin, wait).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Err(error.to_string()),
        Err(error) => Err(format!("the deployment does not answer: {error}")),
    }
}

/// Loads calls onto as few connections as the instance allows, each call with its place in the burst. Calls that are
/// missing in what it returns did not leave and never will.
pub async fn load(origin: &Origin, calls: Vec<(usize, Ask)>, wait: Duration) -> Vec<(Vec<usize>, Armed)> {
    let mut armed = Vec::new();
    let mut calls = calls.into_iter().peekable();
    while calls.peek().is_some() {
        let one = async {
            let mut connection = Connection::open(origin, wait).await?;
            let mut places = Vec::new();
            while let Some((place, ask)) = calls.next_if(|(_, ask)| connection.has_room(ask)) {
                connection.load(ask).await?;
                places.push(place);
            }
            Ok::<_, io::Error>((places, connection.arm().await?))
        };
        match timeout(wait, one).await {
            Ok(Ok((places, connection))) if !places.is_empty() => armed.push((places, connection)),
            _ => break,
        }
    }
    armed
}

/// A connection on which nothing was completed yet.
pub struct Connection {
    requests: SendRequest<Bytes>,
    driver: Driver<Dammed, Bytes>,
    pings: PingPong,
    dam: Dammed,
    loaded: Vec<Loaded>,
    window: usize,
}

/// What of a call is held back.
enum Loaded {
    Head(http::Request<()>),
    LastByte(ResponseFuture, SendStream<Bytes>, Bytes),
}

impl Connection {
    /// Connects, and waits until the server has answered in HTTP/2: by ALPN where the URL says https, without asking
    /// first where it says http. An error of the kind `Unsupported` says that it does not speak it.
    pub async fn open(origin: &Origin, wait: Duration) -> io::Result<Self> {
        let stream = timeout(wait, origin.connect(&["h2", "http/1.1"])).await??;
        let wire: Box<dyn Wire> = match stream {
            Stream::Plain(tcp) => Box::new(tcp),
            Stream::Tls(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2") => tls,
            Stream::Tls(_) => return Err(not_spoken()),
        };
        timeout(wait, Connection::over(wire)).await.map_err(|_| not_spoken())?.map_err(|_| not_spoken())
    }

    /// The same over a wire that is there already.
    pub async fn over(wire: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> io::Result<Self> {
        let dam = Dam::new(Box::new(wire) as Box<dyn Wire>);
        let (requests, mut driver) = Builder::new()
            .enable_push(false)
            .initial_window_size(ANSWERS_BYTES)
            .initial_connection_window_size(ANSWERS_BYTES)
            .handshake(dam.clone())
            .await
            .map_err(io::Error::other)?;
        let pings = driver.ping_pong().ok_or_else(|| io::Error::other("no ping"))?;
        let mut connection = Connection { requests, driver, pings, dam, loaded: Vec::new(), window: WINDOW_BYTES };
        // The server's settings are its first frame (RFC 9113, section 3.4), so they are known after any other.
        connection.heard().await?;
        Ok(connection)
    }

    /// Whether one more call fits.
    pub fn has_room(&self, ask: &Ask) -> bool {
        self.loaded.len() < self.requests.current_max_send_streams() && ask.body.len() <= self.window
    }

    /// Sends as much of a call as no server can act on.
    pub async fn load(&mut self, ask: Ask) -> io::Result<()> {
        let Ask { head, mut body } = ask;
        if body.is_empty() {
            self.loaded.push(Loaded::Head(head));
            return Ok(());
        }
        self.window = self.window.saturating_sub(body.len());
        let (response, mut stream) = self.requests.send_request(head, false).map_err(io::Error::other)?;
        stream.reserve_capacity(body.len());
        tokio::select! {
            biased;
            ended = &mut self.driver => return Err(over(ended)),
            () = capacity(&mut stream, body.len()) => {}
        }
        let last = body.split_off(body.len() - 1);
        if !body.is_empty() {
            // Where the server ended the stream meanwhile, its answer or reset is still to be read.
            let _ = stream.send_data(body, false);
        }
        self.loaded.push(Loaded::LastByte(response, stream, last));
        Ok(())
    }

    /// Waits until the server has read what was loaded, then hands every last frame to the dam, which keeps them.
    pub async fn arm(mut self) -> io::Result<Armed> {
        self.heard().await?;
        self.dam.close();
        let mut answers = Vec::with_capacity(self.loaded.len());
        for loaded in std::mem::take(&mut self.loaded) {
            answers.push(match loaded {
                Loaded::Head(head) => self.requests.send_request(head, true).map_err(io::Error::other)?.0,
                Loaded::LastByte(response, mut stream, last) => {
                    // As above.
                    let _ = stream.send_data(last, true);
                    response
                }
            });
        }
        self.turn().await?;
        Ok(Armed { _requests: self.requests, driver: self.driver, dam: self.dam, answers })
    }

    /// A server answers a ping after it has read what came before.
    async fn heard(&mut self) -> io::Result<()> {
        // A ping overtakes what is queued, but not what is written.
        self.turn().await?;
        tokio::select! {
            biased;
            ended = &mut self.driver => Err(over(ended)),
            pong = self.pings.ping(Ping::opaque()) => pong.map(|_| ()).map_err(io::Error::other),
        }
    }

    /// Writes whatever is queued. The dam takes all of it, so once is enough.
    async fn turn(&mut self) -> io::Result<()> {
        poll_fn(|context| match Pin::new(&mut self.driver).poll(context) {
            Poll::Ready(ended) => Poll::Ready(Err(over(ended))),
            Poll::Pending => Poll::Ready(Ok(())),
        })
        .await
    }
}

/// A connection whose calls want nothing but one write.
pub struct Armed {
    /// A connection whose requests nobody makes any more closes itself.
    _requests: SendRequest<Bytes>,
    driver: Driver<Dammed, Bytes>,
    dam: Dammed,
    answers: Vec<ResponseFuture>,
}

impl Armed {
    /// Completes every call, in one write.
    pub async fn release(&self) -> io::Result<()> {
        self.dam.open().await
    }

    /// What the calls came to, in the order in which they were loaded.
    pub async fn answers(self, wait: Duration) -> Vec<Result<Response, End>> {
        let waiting = self.answers.into_iter().map(|response| async move {
            let late = |_| Err(End::Unknown("no answer in time".to_owned()));
            timeout(wait, answer(response)).await.unwrap_or_else(late)
        });
        let mut answers = pin!(join_all(waiting));
        tokio::select! {
            biased;
            answers = &mut answers => return answers,
            // Its end is every stream's end, and told there.
            _ = self.driver => {}
        }
        answers.await
    }
}

async fn answer(response: ResponseFuture) -> Result<Response, End> {
    let unreadable = |error: h2::Error| End::Unknown(error.to_string());
    let (head, mut stream) = response.await.map_err(|error| end(&error))?.into_parts();
    let answered = Instant::now();
    let retry_after = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part.map_err(unreadable)?;
        if body.len() + part.len() > BODY_BYTES_MAX {
            return Err(End::Unknown("the response is too large".to_owned()));
        }
        stream.flow_control().release_capacity(part.len()).map_err(unreadable)?;
        body.extend_from_slice(&part);
    }
    Ok(Response { status: head.status.as_u16(), retry_after, body, answered })
}

fn end(error: &h2::Error) -> End {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    // A stream sees the server's GOAWAY as its end only where its number is above the last one that is named there.
    if error.is_remote() && (refused || error.is_go_away()) {
        End::NotExecuted
    } else {
        End::Unknown(error.to_string())
    }
}

/// Waits until so much may be sent, or the stream has ended.
async fn capacity(stream: &mut SendStream<Bytes>, wanted: usize) {
    while stream.capacity() < wanted {
        match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}

fn over(ended: Result<(), h2::Error>) -> io::Error {
    ended.err().map_or_else(|| io::Error::other("the server closed the connection"), io::Error::other)
}

fn not_spoken() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "does not speak HTTP/2: leave out --http2")
}
