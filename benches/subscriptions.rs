//! Measures the memory of connections and of idle subscriptions, and the time until one change has reached all
//! subscribers of a user: `cargo bench --bench subscriptions`.
//!
//! The service is a process of its own, so that its memory and CPU time are measured without those of the load generator, which
//! uses blocking sockets and hardly parses. Both processes need some 10,100 file descriptors: see `ulimit -n`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program to be read by its author"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Sockets with one subscription each, all of one user.
const SOCKETS: usize = 10_000;
const CHANGES: usize = 10;
const CONNECTIONS: usize = 256;
const REQUESTS: usize = 100_000;
/// Time for the allocator to return free memory to the kernel.
const SETTLING: Duration = Duration::from_secs(3);

fn main() {
    measure_requests();
    measure_subscriptions();
}

fn measure_requests() {
    let service = Service::start();
    let token = service.register();
    println!("at the start: {} MiB resident", service.resident() >> 20);
    ask_me(&service, &token);
    sleep(SETTLING);
    let resident = service.resident() >> 20;
    println!("after {REQUESTS} `me` on {CONNECTIONS} connections: {resident} MiB resident");
}

fn measure_subscriptions() {
    let service = Service::start();
    let token = service.register();
    // With `after`, a change made before a subscription has started is delivered too, so there is no need to wait for each.
    let start = service.ask(&token, "{ todos { eventId } }")["data"]["todos"]["eventId"].clone();
    let subscription = format!(
        "subscription {{ todoChanged(after: {start}) {{ eventId kind at todoId todo {{ id title completed }} }} }}"
    );
    // Warm-up: allocations made once per process belong to no socket.
    drop(Socket::subscribe(&service, &token, &subscription));
    sleep(SETTLING);
    let before = service.resident();
    let mut sockets: Vec<_> =
        (0..SOCKETS).map(|_| Socket::subscribe(&service, &token, &subscription)).collect();
    sleep(SETTLING);
    println!("{SOCKETS} idle subscriptions: {:.1} KiB each", per_socket(service.resident() - before));
    measure_changes(&service, &token, &mut sockets);
    sleep(SETTLING);
    println!("{SOCKETS} subscriptions afterwards: {:.1} KiB each", per_socket(service.resident() - before));
}

fn measure_changes(service: &Service, token: &str, sockets: &mut [Socket]) {
    let mut times = Vec::new();
    let cpu = service.cpu();
    for number in 0..CHANGES {
        let began = Instant::now();
        service.ask(
            token,
            &format!("mutation {{ createTodo(input: {{ title: \"{number}\" }}) {{ eventId }} }}"),
        );
        sockets.iter_mut().for_each(Socket::expect_change);
        times.push(began.elapsed());
    }
    let cpu = service.cpu().saturating_sub(cpu) / u32::try_from(CHANGES).expect("it is small");
    let best = times.iter().min().expect("there are some");
    println!("one change reaches all: {best:.2?} at best of {times:.2?}; CPU of the service {cpu:.2?}");
}

#[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
fn per_socket(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / SOCKETS as f64
}

/// Sends the requests, one at a time on each connection.
fn ask_me(service: &Service, token: &str) {
    let request = service.request(token, "{ me { id email name createdAt updatedAt } }");
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| service.connect()).collect();
    for _ in 0..REQUESTS / CONNECTIONS {
        for connection in &mut connections {
            connection.get_mut().write_all(request.as_bytes()).expect("the socket is writable");
        }
        for connection in &mut connections {
            assert!(response(connection).contains("ada@example.com"));
        }
    }
}

/// A running service with a database of its own, stopped on drop.
struct Service {
    process: Child,
    address: String,
    _data_dir: tempfile::TempDir,
}

impl Service {
    fn start() -> Self {
        let data_dir = tempfile::tempdir().expect("there is room");
        let mut process = Command::new(env!("CARGO_BIN_EXE_todo-api"))
            .env("TODO_DATA_DIR", data_dir.path())
            .env("PORT", "0")
            .args([format!("--max-sockets={}", 2 * SOCKETS), format!("--max-sockets-per-user={SOCKETS}")])
            .arg("--socket-ping-interval=1h")
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines =
            BufReader::new(process.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        let ready = lines.find(|line| line.contains("is ready: http://")).expect("it gets ready");
        std::thread::spawn(move || lines.for_each(drop));
        let (_, url) = ready.split_once("http://").expect("it has a URL");
        let address = url.split('/').next().expect("it has a host").to_owned();
        Self { process, address, _data_dir: data_dir }
    }

    fn connect(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_nodelay(true).expect("it can be set");
        stream.set_read_timeout(Some(Duration::from_mins(1))).expect("it can be set");
        BufReader::with_capacity(1024, stream)
    }

    fn request(&self, token: &str, query: &str) -> String {
        let body = json!({ "query": query }).to_string();
        format!(
            "POST /graphql HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Authorization: {token}\r\n\r\n{body}",
            self.address,
            body.len()
        )
    }

    fn ask(&self, token: &str, query: &str) -> Value {
        let mut connection = self.connect();
        connection
            .get_mut()
            .write_all(self.request(token, query).as_bytes())
            .expect("the socket is writable");
        serde_json::from_str(&response(&mut connection)).expect("it is JSON")
    }

    /// Registers a user; returns the value of `Authorization`.
    fn register(&self) -> String {
        let input = r#"{ email: "ada@example.com", name: "Ada", password: "analytical engine 1843" }"#;
        let answer = self.ask("", &format!("mutation {{ register(input: {input}) {{ accessToken }} }}"));
        format!("Bearer {}", answer["data"]["register"]["accessToken"].as_str().expect("a token"))
    }

    /// Returns the resident memory in bytes.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("it is a number");
        kib << 10
    }

    /// Returns the CPU time in user and kernel mode; Linux counts it in hundredths of a second.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("it runs");
        let (_, fields) = stat.rsplit_once(") ").expect("it has a name");
        let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number"));
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // SIGTERM, not SIGKILL: it has to stop its PostgreSQL.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

/// Reads a response; returns the body.
fn response(connection: &mut BufReader<TcpStream>) -> String {
    let mut length = 0;
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).expect("it answers");
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().expect("it is a number");
        }
        if line == "\r\n" {
            let mut body = vec![0; length];
            connection.read_exact(&mut body).expect("the body is complete");
            return String::from_utf8(body).expect("it is text");
        }
    }
}

/// A WebSocket with a subscription.
struct Socket(BufReader<TcpStream>);

impl Socket {
    fn subscribe(service: &Service, token: &str, subscription: &str) -> Self {
        let mut socket = Self(service.connect());
        let request = format!(
            "GET /graphql/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n",
            service.address
        );
        socket.0.get_mut().write_all(request.as_bytes()).expect("the socket is writable");
        response(&mut socket.0);
        socket.send(&json!({ "type": "connection_init", "payload": { "Authorization": token } }));
        assert_eq!(socket.receive(), r#"{"type":"connection_ack"}"#);
        socket.send(&json!({ "type": "subscribe", "id": "1", "payload": { "query": subscription } }));
        socket
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        let mut frame = vec![0x81];
        match u16::try_from(text.len()).expect("it is short") {
            short @ ..126 => frame.push(0x80 | short.to_be_bytes()[1]),
            length => frame.extend([&[0x80 | 0x7e], &length.to_be_bytes()[..]].concat()),
        }
        // A mask of zeros changes nothing.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.get_mut().write_all(&frame).expect("the socket is writable");
    }

    fn receive(&mut self) -> String {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).expect("the socket is open");
        let mut length = u16::from(head[1]);
        if length == 126 {
            let mut long = [0; 2];
            self.0.read_exact(&mut long).expect("the socket is open");
            length = u16::from_be_bytes(long);
        }
        let mut text = vec![0; length.into()];
        self.0.read_exact(&mut text).expect("the socket is open");
        String::from_utf8(text).expect("it is text")
    }

    fn expect_change(&mut self) {
        let message = self.receive();
        assert!(message.contains(r#""kind":"CREATED""#), "{message}");
    }
}
