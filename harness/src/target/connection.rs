//! One HTTP/1.1 connection: one call at a time, no pool, no retry, no redirect, no proxy.
//! Written here rather than taken from a client library because a silently repeated POST, or a last byte that leaves
//! when the library pleases, would make every race a guess.

use std::{io, time::Instant};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::Url;

use crate::target::trust::Trust;

/// A response may not be larger: an endless one must not eat the machine.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Where one instance listens.
#[derive(Clone)]
pub struct Origin {
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    /// The `Host` header.
    authority: String,
    /// What stands before every path, without a slash at its end.
    prefix: String,
    /// The base URL, fit to be printed.
    shown: String,
}

impl Origin {
    /// Reads a base URL, `http` or `https`, where https is as trustworthy as the public roots say.
    pub fn parse(url: &Url) -> Result<Self, String> {
        Origin::trusting(url, &Trust::default())
    }

    /// The same with another trust.
    pub fn trusting(url: &Url, trust: &Trust) -> Result<Self, String> {
        let host = url.host_str().ok_or_else(|| format!("{url} names no host"))?;
        let port = url.port_or_known_default().ok_or_else(|| format!("{url} names no port"))?;
        let tls = match url.scheme() {
            "http" => None,
            "https" => Some(trust.connector()?),
            other => return Err(format!("{url}: {other} is neither http nor https")),
        };
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Origin {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            tls,
            authority,
            prefix: url.path().trim_end_matches('/').to_owned(),
            shown: without_secrets(url),
        })
    }

    /// The base URL, fit to be printed.
    pub fn shown(&self) -> String {
        self.shown.clone()
    }

    /// Connects, and shakes hands where the URL says https, offering these protocols.
    pub(crate) async fn connect(&self, protocols: &[&str]) -> io::Result<Stream> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let Some(connector) = &self.tls else { return Ok(Stream::Plain(tcp)) };
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Ok(Stream::Tls(Box::new(connector.with_alpn(protocols).connect(name, tcp).await?)))
    }

    /// Where a path of this instance is, in full.
    pub(crate) fn uri(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}{path}", self.authority, self.prefix)
    }

    /// A request as bytes.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
        let mut text = format!(
            "{method} {}{path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: stockhold-harness/{}\r\nAccept: application/json\r\n",
            self.prefix,
            self.authority,
            env!("CARGO_PKG_VERSION"),
        );
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        } else if method == "GET" {
            text.push_str("\r\n");
        } else {
            text.push_str("Content-Length: 0\r\n\r\n");
        }
        text.into_bytes()
    }
}

fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail on a URL that has a host, which `Origin::trusting` has seen to.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.to_string()
}

/// The wire below a protocol.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// An answer as it came.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The `Retry-After` header, where there was one.
    pub retry_after: Option<String>,
    /// The body, decoded from its framing.
    pub body: Vec<u8>,
    /// When the head had been parsed.
    pub answered: Instant,
}

/// A connection that is open, or was.
pub struct Connection {
    stream: Stream,
    received: Vec<u8>,
    held_back: Option<u8>,
    last_used: Instant,
    reusable: bool,
}

impl Connection {
    /// Connects, and shakes hands where the URL says https.
    pub async fn open(origin: &Origin) -> io::Result<Self> {
        let stream = origin.connect(&[]).await?;
        Ok(Connection { stream, received: Vec::new(), held_back: None, last_used: Instant::now(), reusable: true })
    }

    /// Whether a call may leave on it: a server that closes idle connections after a few seconds must never turn a
    /// call into an unknown, so one that rested longer than a second is not used again.
    pub fn is_warm(&self) -> bool {
        let rested = self.last_used.elapsed().as_millis() >= 1_000;
        if !self.reusable || rested || !self.received.is_empty() {
            return false;
        }
        let tcp = match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        };
        // Nothing was asked, so anything to read, its end above all, means that it is over.
        let mut byte = [0_u8; 1];
        match tcp.try_read(&mut byte) {
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            Ok(_) => false,
        }
    }

    /// Writes all but the last byte. No server can act on a request whose last byte it has not seen: with a body the
    /// body is incomplete, without one the head is.
    pub async fn load(&mut self, request: &[u8]) -> io::Result<()> {
        self.reusable = false;
        let Some((last, first)) = request.split_last() else {
            return Err(io::Error::other("an empty request"));
        };
        self.held_back = Some(*last);
        self.write(first).await
    }

    /// Writes the last byte.
    pub async fn release(&mut self) -> io::Result<()> {
        match self.held_back.take() {
            Some(last) => self.write(&[last]).await,
            None => Err(io::Error::other("nothing was loaded")),
        }
    }

    /// Makes one call whose moment does not matter.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Response> {
        self.reusable = false;
        self.write(request).await?;
        self.response().await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(bytes).await,
            Stream::Tls(tls) => {
                tls.write_all(bytes).await?;
                tls.flush().await
            }
        }
    }

    /// Reads the answer to what was released.
    pub async fn response(&mut self) -> io::Result<Response> {
        let head = self.head().await?;
        let answered = Instant::now();
        let body = match head.framing {
            Framing::Nothing => Vec::new(),
            Framing::Length(length) => self.take(length).await?,
            Framing::Chunked => self.chunks().await?,
            Framing::UntilClosed => self.rest().await?,
        };
        self.last_used = Instant::now();
        self.reusable = head.keep_alive && !matches!(head.framing, Framing::UntilClosed);
        Ok(Response { status: head.status, retry_after: head.retry_after, body, answered })
    }

    async fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some((head, length)) = Head::parse(&self.received)? {
                self.received.drain(..length);
                // An interim answer (100, 103) precedes the real one.
                if head.status >= 200 {
                    return Ok(head);
                }
            } else if self.received.len() > HEAD_BYTES_MAX {
                return Err(io::Error::other("the response's head has no end"));
            } else {
                self.more().await?;
            }
        }
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > BODY_BYTES_MAX {
            return Err(io::Error::other("the response is too large"));
        }
        while self.received.len() < length {
            self.more().await?;
        }
        Ok(self.received.drain(..length).collect())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).map_err(io::Error::other);
            }
            if self.received.len() > HEAD_BYTES_MAX {
                return Err(io::Error::other("a chunk's size has no end"));
            }
            self.more().await?;
        }
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16).map_err(io::Error::other)?;
            if length == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(body);
            }
            if body.len() + length > BODY_BYTES_MAX {
                return Err(io::Error::other("the response is too large"));
            }
            body.extend(self.take(length).await?);
            self.line().await?;
        }
    }

    async fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.more().await {
                Ok(()) if self.received.len() > BODY_BYTES_MAX => {
                    return Err(io::Error::other("the response is too large"));
                }
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.received));
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        let read = match &mut self.stream {
            Stream::Plain(tcp) => tcp.read_buf(&mut self.received).await?,
            Stream::Tls(tls) => tls.read_buf(&mut self.received).await?,
        };
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Framing {
    Nothing,
    Length(usize),
    Chunked,
    UntilClosed,
}

struct Head {
    status: u16,
    keep_alive: bool,
    retry_after: Option<String>,
    framing: Framing,
}

impl Head {
    /// The head and its length, or nothing while it is incomplete. Framing as RFC 9112 section 6.3 orders it.
    fn parse(bytes: &[u8]) -> io::Result<Option<(Head, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; 96];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes).map_err(io::Error::other)? {
            httparse::Status::Partial => return Ok(None),
            httparse::Status::Complete(length) => length,
        };
        let value = |name: &str| {
            let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok()
        };
        let status = response.code.unwrap_or_default();
        let connection = value("connection").unwrap_or_default().to_ascii_lowercase();
        let chunked = value("transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"));
        let framing = if status < 200 || status == 204 || status == 304 {
            Framing::Nothing
        } else if chunked {
            Framing::Chunked
        } else if let Some(digits) = value("content-length") {
            Framing::Length(digits.trim().parse().map_err(io::Error::other)?)
        } else {
            Framing::UntilClosed
        };
        let keep_alive = match response.version {
            Some(0) => connection.contains("keep-alive"),
            _ => !connection.contains("close"),
        };
        Ok(Some((Head { status, keep_alive, retry_after: value("retry-after").map(str::to_owned), framing }, length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_byte_waits_for_its_release() -> io::Result<()> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/base/", listener.local_addr()?);
        let origin = Origin::parse(&Url::parse(&url).map_err(io::Error::other)?).map_err(io::Error::other)?;
        let mut connection = Connection::open(&origin).await?;
        let (mut server, _) = listener.accept().await?;
        let request = origin.request("POST", "/v1/items", &[], Some("{}"));
        connection.load(&request).await?;

        let mut seen = vec![0_u8; request.len() - 1];
        server.read_exact(&mut seen).await?;
        assert!(seen.starts_with(b"POST /base/v1/items HTTP/1.1\r\n"));
        assert!(server.try_read(&mut [0_u8; 1]).is_err(), "the last byte left too early");

        connection.release().await?;
        assert_eq!(server.read_u8().await?, b'}');
        server.write_all(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n").await?;
        let response = connection.response().await?;
        assert_eq!((response.status, response.body.as_slice()), (201, b"{}".as_slice()));
        assert!(connection.is_warm());
        drop(server);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(!connection.is_warm(), "a closed connection is not used again");
        Ok(())
    }
}
