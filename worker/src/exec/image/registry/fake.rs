//! A registry of a few answers, over plain http on this machine: for what a real one does not do on command.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The connection breaks after so many bytes of the body.
    pub(super) breaks_after: usize,
}

impl Answer {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            breaks_after: usize::MAX,
        }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A request: `GET /path`, and its headers in small letters.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) line: String,
    pub(super) headers: BTreeMap<String, String>,
}

type Answering = Arc<dyn Fn(&Asked) -> Answer + Send + Sync>;

pub(super) struct Fake {
    pub(super) address: SocketAddr,
    pub(super) asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// Answers by `handler` until the test ends.
    pub(super) async fn start(handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (handler, log): (Answering, _) = (Arc::new(handler), asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, handler.clone(), log.clone()));
            }
        });
        Self { address, asked }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|one| one.line.clone()).collect()
    }
}

async fn serve(mut stream: TcpStream, handler: Answering, log: Arc<Mutex<Vec<Asked>>>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte).await {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
            // A TLS greeting is no request.
            if head[0] == 0x16 {
                return;
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.lines();
        let line = lines.next().unwrap().replace(" HTTP/1.1", "");
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let asked = Asked {
            line,
            headers: headers.collect(),
        };
        log.lock().unwrap().push(asked.clone());
        let answer = handler(&asked);
        let mut out = format!(
            "HTTP/1.1 {} X\r\ncontent-length: {}\r\n",
            answer.status,
            answer.body.len()
        );
        for (name, value) in &answer.headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str("\r\n");
        let body = match asked.line.starts_with("HEAD") {
            true => &[],
            false => &answer.body[..answer.body.len().min(answer.breaks_after)],
        };
        if stream.write_all(out.as_bytes()).await.is_err() || stream.write_all(body).await.is_err()
        {
            return;
        }
        if answer.breaks_after < answer.body.len() {
            return;
        }
    }
}
