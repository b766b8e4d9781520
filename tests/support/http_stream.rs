use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::TestApp;

const LIMIT: Duration = Duration::from_secs(30);

/// A chunk of a response as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    Data(String),
    /// End of the response.
    End,
    /// End of the connection before that of the response.
    Cut,
}

/// A response read by its raw bytes, chunk by chunk.
pub(crate) struct HttpStream {
    connection: TcpStream,
    unread: Vec<u8>,
    /// Status line and headers.
    pub(crate) head: String,
}

impl HttpStream {
    /// Sends a request and reads the head of the response. `headers` are whole lines.
    pub(crate) async fn send(app: &TestApp, request: &str, headers: &[String], body: &str) -> Self {
        Self::send_to(app.address, request, headers, body).await
    }

    pub(crate) async fn send_to(address: SocketAddr, request: &str, headers: &[String], body: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // So that little has to be made until a write blocks.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut connection = socket.connect(address).await.unwrap();
        let headers = headers.join("\r\n");
        let length = body.len();
        let request =
            format!("{request} HTTP/1.1\r\nHost: x\r\n{headers}\r\nContent-Length: {length}\r\n\r\n{body}");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Self { connection, unread: Vec::new(), head: String::new() };
        stream.head = stream.line("\r\n\r\n").await.expect("a response");
        stream
    }

    /// Posts an operation; a blank token is not sent.
    pub(crate) async fn post(app: &TestApp, accept: &str, token: &str, query: &str) -> Self {
        Self::post_json(app, accept, token, &json!({ "query": query })).await
    }

    pub(crate) async fn post_json(app: &TestApp, accept: &str, token: &str, body: &Value) -> Self {
        let mut headers = vec![format!("Accept: {accept}"), "Content-Type: application/json".to_owned()];
        if !token.is_empty() {
            headers.push(format!("Authorization: Bearer {token}"));
        }
        Self::send(app, "POST /graphql", &headers, &body.to_string()).await
    }

    pub(crate) fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Waits for the next chunk.
    pub(crate) async fn next(&mut self) -> Chunk {
        let Some(size) = self.line("\r\n").await else { return Chunk::Cut };
        let size = usize::from_str_radix(&size, 16).unwrap();
        match self.take(size + 2).await {
            None => Chunk::Cut,
            Some(_) if size == 0 => Chunk::End,
            Some(data) => Chunk::Data(data.strip_suffix("\r\n").unwrap().to_owned()),
        }
    }

    /// Waits for the next chunk with data.
    pub(crate) async fn data(&mut self) -> String {
        match self.next().await {
            Chunk::Data(data) => data,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the next chunk other than a heartbeat, and returns its JSON.
    pub(crate) async fn json(&mut self) -> Value {
        loop {
            let chunk = self.data().await;
            if let (Some(start), Some(end)) = (chunk.find("{\""), chunk.rfind('}')) {
                return serde_json::from_str(&chunk[start..=end]).unwrap();
            }
        }
    }

    /// Reads a response with a length.
    pub(crate) async fn body(&mut self) -> String {
        let length = self.header("content-length").expect("a length").parse().unwrap();
        self.take(length).await.unwrap()
    }

    async fn line(&mut self, end: &str) -> Option<String> {
        loop {
            let found = self.unread.windows(end.len()).position(|window| window == end.as_bytes());
            if let Some(length) = found {
                let line = self.take(length + end.len()).await?;
                return Some(line[..length].to_owned());
            }
            self.read().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Option<String> {
        while self.unread.len() < length {
            self.read().await?;
        }
        Some(String::from_utf8(self.unread.drain(..length).collect()).unwrap())
    }

    /// Reads some bytes; returns `None` at the end of the connection.
    async fn read(&mut self) -> Option<()> {
        let read = timeout(LIMIT, self.connection.read_buf(&mut self.unread)).await;
        let read = read.expect("the service sends something").unwrap_or(0);
        (read > 0).then_some(())
    }
}
