//! Connections that tell "closed before a byte of the answer" from "cut short".
//!
//! hyper says the same of both. So the stream counts: when it ends, or fails, after something was
//! written and before anything was read, it fails with [`BeforeAnswer`].

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

/// The connection was lost before a byte of the answer.
#[derive(Debug, thiserror::Error)]
#[error("closed before a byte of the answer")]
pub(super) struct BeforeAnswer {
    #[source]
    source: Option<io::Error>,
}

impl BeforeAnswer {
    fn error(source: Option<io::Error>) -> io::Error {
        let kind = source
            .as_ref()
            .map_or(io::ErrorKind::UnexpectedEof, io::Error::kind);
        io::Error::new(kind, Self { source })
    }
}

/// A connector whose connections are watched.
#[derive(Clone, Debug)]
pub(super) struct Watching<C>(pub(super) C);

type BoxError = Box<dyn Error + Send + Sync>;

impl<C> Service<Uri> for Watching<C>
where
    C: Service<Uri>,
    C::Response: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = TokioIo<Watched<TokioIo<C::Response>>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            let stream = connecting.await.map_err(Into::into)?;
            Ok(TokioIo::new(Watched {
                stream: TokioIo::new(stream),
                awaits_answer: false,
            }))
        })
    }
}

/// A stream that knows whether something was written since it was last read.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    awaits_answer: bool,
}

impl<S> Watched<S> {
    fn written(&mut self, result: io::Result<usize>) -> io::Result<usize> {
        match result {
            Ok(bytes) => {
                self.awaits_answer = true;
                Ok(bytes)
            }
            Err(error) => Err(BeforeAnswer::error(Some(error))),
        }
    }
}

impl<S> Connection for Watched<S> {
    /// Says nothing of itself: what is said here is copied into every answer.
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        let has_read = buffer.filled().len() > before;
        Poll::Ready(match result {
            Ok(()) if has_read => {
                self.awaits_answer = false;
                Ok(())
            }
            Ok(()) if self.awaits_answer => Err(BeforeAnswer::error(None)),
            Ok(()) => Ok(()),
            Err(error) if self.awaits_answer => Err(BeforeAnswer::error(Some(error))),
            Err(error) => Err(error),
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write(context, buffer));
        Poll::Ready(self.written(result))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, buffers));
        Poll::Ready(self.written(result))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
