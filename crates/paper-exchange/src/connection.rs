//! The listener: bounds the number of connections, and lets a handler close its own without
//! an answer.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub address: IpAddr,
    inner: Arc<PeerInner>,
}

#[derive(Debug)]
struct PeerInner {
    /// A second handle to the socket, to close it under the HTTP machinery.
    socket: Option<std::net::TcpStream>,
    /// Held for as long as the connection lives.
    _place: OwnedSemaphorePermit,
}

impl Peer {
    /// Closes the connection; whatever is answered afterwards reaches nobody.
    pub(crate) fn cut(&self) {
        if let Some(socket) = &self.inner.socket {
            // An error means that it is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// A TCP listener with places.
#[derive(Debug)]
pub(crate) struct Doorway {
    listener: TcpListener,
    places: Arc<Semaphore>,
    address: SocketAddr,
}

impl Doorway {
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            address,
        })
    }

    async fn try_accept(&self) -> io::Result<(TcpStream, Peer)> {
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_| io::Error::other("the listener is closed"))?;
        let (stream, address) = self.listener.accept().await?;
        // Small messages must not wait for each other.
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        let socket = stream.try_clone().ok();
        let stream = TcpStream::from_std(stream)?;
        let inner = Arc::new(PeerInner {
            socket,
            _place: place,
        });
        Ok((
            stream,
            Peer {
                address: address.ip(),
                inner,
            },
        ))
    }
}

impl Listener for Doorway {
    type Io = TcpStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.try_accept().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept a connection");
                    // Out of descriptors: give those that are open time to close.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Err(io::Error::other(format!(
            "the listener at {} has no peer",
            self.address
        )))
    }
}

impl Connected<IncomingStream<'_, Doorway>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Doorway>) -> Self {
        stream.remote_addr().clone()
    }
}
