//! A TCP proxy between the store and its database that can be cut and mended.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

pub(crate) struct Proxy {
    whole: watch::Sender<bool>,
}

impl Proxy {
    /// Stands before the server of `url`. Ends with the test's runtime.
    pub(crate) async fn before(url: &str) -> (Self, String) {
        let mut url = url::Url::parse(url).unwrap();
        let port = url
            .port()
            .unwrap_or(if url.scheme() == "mysql" { 3306 } else { 5432 });
        let server = format!("{}:{port}", url.host_str().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (whole, seen) = watch::channel(true);
        TaskTracker::new().spawn(serve(listener, server, seen));
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(address.port())).unwrap();
        (Self { whole }, url.to_string())
    }

    /// Ends every connection, and every new one as soon as it is made.
    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn serve(listener: TcpListener, server: String, whole: watch::Receiver<bool>) {
    let connections = TaskTracker::new();
    while let Ok((mut inside, _)) = listener.accept().await {
        let mut whole = whole.clone();
        if !*whole.borrow_and_update() {
            continue;
        }
        let server = server.clone();
        connections.spawn(async move {
            let Ok(mut outside) = TcpStream::connect(server).await else {
                return;
            };
            inside.set_nodelay(true).unwrap();
            outside.set_nodelay(true).unwrap();
            tokio::select! {
                _ = copy_bidirectional(&mut inside, &mut outside) => {}
                _ = whole.wait_for(|whole| !whole) => {}
            }
        });
    }
}
