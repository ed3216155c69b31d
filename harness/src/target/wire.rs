//! A TCP relay in front of one server, which can hold bytes back, lose answers or cut connections: the network's part in
//! what goes wrong between a client and a service, or between a service and its database.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
};

const CHUNK_BYTES: usize = 64 * 1024;

/// What a relay does with the bytes that reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Passes them on.
    Passing,
    /// Keeps them, in both directions, until it passes them on again.
    Frozen,
    /// Passes requests on; the first byte of an answer closes its connection instead.
    LosingAnswers,
    /// Closes every connection, and each new one.
    Cut,
}

/// A relay that runs until it is dropped; its connections end with it.
pub struct Wire {
    /// The port it listens on, on the loopback interface.
    pub port: u16,
    flow: watch::Sender<Flow>,
    lost: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Wire {
    /// Listens on a port of the system's choice and connects to `server` (host and port) for each connection.
    pub async fn lay(server: String) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let port = listener.local_addr()?.port();
        let (flow, flows) = watch::channel(Flow::Passing);
        let lost = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lost);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(relay(near, server.clone(), flows.clone(), Arc::clone(&counted)));
            }
        });
        Ok(Wire { port, flow, lost, accepting })
    }

    /// Changes what it does, for the connections there are and for new ones.
    pub fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }

    /// How many connections were closed in place of an answer.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }
}

async fn relay(near: TcpStream, server: String, flow: watch::Receiver<Flow>, lost: Arc<AtomicUsize>) {
    if *flow.borrow() == Flow::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect(server).await else { return };
    // A delayed byte is no fault; a relay that cannot ask for it is no worse.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    // The end of one direction ends both.
    tokio::select! {
        _ = carry(near_read, far_write, flow.clone(), None) => {}
        _ = carry(far_read, near_write, flow, Some(&lost)) => {}
    }
}

/// Carries bytes until one end closes; with a counter, they are answers.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut flow: watch::Receiver<Flow>,
    lost: Option<&AtomicUsize>,
) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK_BYTES];
    loop {
        let count = tokio::select! {
            count = from.read(&mut bytes) => count?,
            _ = flow.wait_for(|flow| *flow == Flow::Cut) => return Ok(()),
        };
        if count == 0 {
            return Ok(());
        }
        loop {
            let now = *flow.borrow_and_update();
            match (now, lost) {
                (Flow::Cut, _) => return Ok(()),
                (Flow::LosingAnswers, Some(lost)) => {
                    lost.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                (Flow::Passing, _) | (Flow::LosingAnswers, None) => break,
                (Flow::Frozen, _) if flow.changed().await.is_err() => return Ok(()),
                (Flow::Frozen, _) => {}
            }
        }
        to.write_all(&bytes[..count]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// A server that answers each byte with itself, behind a wire, and a client's connection to it.
    async fn echo() -> io::Result<(Wire, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let wire = Wire::lay(address).await?;
        let client = TcpStream::connect(("127.0.0.1", wire.port)).await?;
        Ok((wire, client))
    }

    #[tokio::test]
    async fn bytes_pass_and_wait_while_it_is_frozen() -> io::Result<()> {
        let (wire, mut client) = echo().await?;
        client.write_u8(7).await?;
        assert_eq!(client.read_u8().await?, 7);
        wire.set(Flow::Frozen);
        client.write_u8(8).await?;
        assert!(timeout(Duration::from_millis(100), client.read_u8()).await.is_err(), "a byte passed a frozen wire");
        wire.set(Flow::Passing);
        assert_eq!(client.read_u8().await?, 8);
        Ok(())
    }

    #[tokio::test]
    async fn an_answer_is_lost_with_its_connection_and_the_next_one_is_not() -> io::Result<()> {
        let (wire, mut client) = echo().await?;
        wire.set(Flow::LosingAnswers);
        client.write_u8(7).await?;
        assert!(client.read_u8().await.is_err());
        assert_eq!(wire.lost(), 1);
        wire.set(Flow::Passing);
        let mut next = TcpStream::connect(("127.0.0.1", wire.port)).await?;
        next.write_u8(8).await?;
        assert_eq!(next.read_u8().await?, 8);
        Ok(())
    }

    #[tokio::test]
    async fn a_cut_closes_what_rests_and_what_comes() -> io::Result<()> {
        let (wire, mut client) = echo().await?;
        client.write_u8(7).await?;
        assert_eq!(client.read_u8().await?, 7);
        wire.set(Flow::Cut);
        assert!(client.read_u8().await.is_err());
        let mut next = TcpStream::connect(("127.0.0.1", wire.port)).await?;
        assert!(next.read_u8().await.is_err());
        Ok(())
    }
}
