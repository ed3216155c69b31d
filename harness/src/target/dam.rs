//! A dam in a connection: what is written gathers behind it, and while it is closed no flush lets it go. Opened, it lets
//! everything go in one write, so that "in one write" needs no word from whoever wrote it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream with a dam in its way out. Cheap to clone: all clones are one stream, so that whoever owns the protocol may
/// keep one and whoever opens the dam another.
pub struct Dam<S> {
    shared: Arc<Mutex<Shared<S>>>,
}

struct Shared<S> {
    stream: S,
    closed: bool,
    held: Vec<u8>,
}

impl<S> Clone for Dam<S> {
    fn clone(&self) -> Self {
        Dam { shared: Arc::clone(&self.shared) }
    }
}

impl<S> Dam<S> {
    /// An open one.
    pub fn new(stream: S) -> Self {
        Dam { shared: Arc::new(Mutex::new(Shared { stream, closed: false, held: Vec::new() })) }
    }

    /// From here on nothing leaves.
    pub fn close(&self) {
        self.shared().closed = true;
    }

    fn shared(&self) -> MutexGuard<'_, Shared<S>> {
        // A panic while the lock was held leaves nothing half-done here.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Dam<S> {
    /// Lets go what gathered: one write, unless the stream below takes less than all of it.
    pub async fn open(&self) -> io::Result<()> {
        self.shared().closed = false;
        std::future::poll_fn(|context| self.shared().poll_let_go(context)).await
    }
}

impl<S: AsyncWrite + Unpin> Shared<S> {
    fn poll_let_go(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.drain(..written);
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Dam<S> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.shared().held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared();
        if shared.closed { Poll::Ready(Ok(())) } else { shared.poll_let_go(context) }
    }

    /// What a closed dam holds never leaves.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared();
        if !shared.closed {
            ready!(shared.poll_let_go(context))?;
        }
        Pin::new(&mut shared.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Dam<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.shared().stream).poll_read(context, into)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Every write that reached it.
    #[derive(Default)]
    struct Sink(Vec<Vec<u8>>);

    impl AsyncWrite for Sink {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_closed_dam_lets_nothing_go_and_an_opened_one_everything_at_once() -> io::Result<()> {
        let mut dam = Dam::new(Sink::default());
        dam.write_all(b"before").await?;
        dam.flush().await?;
        dam.close();
        for part in [b"a", b"b", b"c"] {
            dam.write_all(part).await?;
            dam.flush().await?;
        }
        assert_eq!(dam.shared().stream.0, [b"before"]);
        dam.clone().open().await?;
        assert_eq!(dam.shared().stream.0, [b"before".as_slice(), b"abc"]);

        dam.close();
        dam.write_all(b"never").await?;
        dam.shutdown().await?;
        assert_eq!(dam.shared().stream.0.len(), 2, "a connection that ends takes what is held with it");
        Ok(())
    }
}
