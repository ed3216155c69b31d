//! A TCP proxy that lets every byte arrive later by a fixed time, in order, both ways at once, and holds nothing back
//! otherwise: distance, without a network.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::mpsc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{JoinHandle, JoinSet},
};

const CHUNK_BYTES: usize = 64 * 1024;

/// A proxy that runs until it is dropped.
pub struct Delay {
    /// Where it listens.
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Bytes on their way.
struct Parcel {
    due: Instant,
    bytes: Vec<u8>,
    to: UnboundedSender<Vec<u8>>,
}

impl Delay {
    /// Listens on the loopback interface and connects to `upstream` for each connection; `one_way` is the delay of each
    /// direction, half of what a round trip costs.
    pub async fn start(upstream: String, one_way: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let address = listener.local_addr()?;
        let (road, parcels) = mpsc::channel();
        std::thread::spawn(move || deliver(&parcels));
        let accepting = tokio::spawn(async move {
            // Its connections end with it.
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(connect(near, upstream.clone(), one_way, road.clone()));
            }
        });
        Ok(Delay { address, accepting })
    }
}

/// Every parcel is delayed alike, so the first sent is the first due. A thread, because the runtime's timer counts whole
/// milliseconds.
fn deliver(parcels: &mpsc::Receiver<Parcel>) {
    for parcel in parcels {
        std::thread::sleep(parcel.due.saturating_duration_since(Instant::now()));
        // Whoever waits no more has hung up.
        let _ = parcel.to.send(parcel.bytes);
    }
}

async fn connect(near: TcpStream, upstream: String, one_way: Duration, road: mpsc::Sender<Parcel>) {
    let Ok(far) = TcpStream::connect(upstream).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let there = carry(near_read, far_write, one_way, road.clone());
    let back = carry(far_read, near_write, one_way, road);
    tokio::join!(there, back);
}

async fn carry(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    one_way: Duration,
    road: mpsc::Sender<Parcel>,
) {
    let (arriving, arrived) = unbounded_channel();
    tokio::join!(send_off(from, arriving, one_way, road), receive(to, arrived));
}

async fn send_off(
    mut from: impl AsyncRead + Unpin,
    to: UnboundedSender<Vec<u8>>,
    one_way: Duration,
    road: mpsc::Sender<Parcel>,
) {
    loop {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES);
        match from.read_buf(&mut bytes).await {
            // The end travels behind what was sent before: the last parcel under way keeps the other end open.
            Ok(0) | Err(_) => bytes.clear(),
            Ok(_) => {}
        }
        let ended = bytes.is_empty();
        let parcel = Parcel { due: Instant::now() + one_way, bytes, to: to.clone() };
        if road.send(parcel).is_err() || ended {
            return;
        }
    }
}

async fn receive(mut to: impl AsyncWrite + Unpin, mut arrived: UnboundedReceiver<Vec<u8>>) {
    while let Some(bytes) = arrived.recv().await {
        if bytes.is_empty() || to.write_all(&bytes).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_WAY: Duration = Duration::from_micros(2_500);

    async fn echo() -> io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        Ok(address)
    }

    #[tokio::test]
    async fn a_round_trip_takes_both_delays() -> io::Result<()> {
        let delay = Delay::start(echo().await?.to_string(), ONE_WAY).await?;
        let mut stream = TcpStream::connect(delay.address).await?;
        stream.set_nodelay(true)?;
        let mut fastest = Duration::MAX;
        for number in 0..20_u8 {
            let sent = Instant::now();
            stream.write_all(&[number]).await?;
            assert_eq!(stream.read_u8().await?, number);
            let took = sent.elapsed();
            assert!(took >= ONE_WAY * 2, "{took:?}");
            fastest = fastest.min(took);
        }
        assert!(fastest < ONE_WAY * 4, "{fastest:?}");
        Ok(())
    }

    /// Four megabytes there and back: intact, in order, both ways at once, and not chunk by chunk, each with its delay.
    #[tokio::test]
    async fn bytes_arrive_intact_and_both_ways_at_once() -> io::Result<()> {
        let delay = Delay::start(echo().await?.to_string(), ONE_WAY).await?;
        let sent: Vec<u8> = (0..4_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let (mut read, mut write) = TcpStream::connect(delay.address).await?.into_split();
        let started = Instant::now();
        let mut received = Vec::new();
        // One buffer's worth at most fits between the two ends, so reading must go on while writing does.
        let (written, got) = tokio::join!(
            async {
                write.write_all(&sent).await?;
                write.shutdown().await
            },
            read.read_to_end(&mut received)
        );
        written?;
        assert_eq!(got?, sent.len());
        assert!(received == sent, "the bytes differ");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        Ok(())
    }

    #[tokio::test]
    async fn the_end_arrives_behind_the_bytes() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let delay = Delay::start(listener.local_addr()?.to_string(), ONE_WAY).await?;
        let mut stream = TcpStream::connect(delay.address).await?;
        stream.write_all(b"last words").await?;
        drop(stream);
        let (mut far, _) = listener.accept().await?;
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await?;
        assert_eq!(heard, b"last words");
        Ok(())
    }
}
