use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

const SSL_REQUEST: u32 = 80_877_103;

/// A proxy for PostgreSQL as Neon's is to a client: it answers the first messages itself, and may refuse logins.
///
/// It has threads of its own, as tests block their runtime while they wait for a program.
pub(crate) struct RefusingProxy {
    pub(crate) address: SocketAddr,
}

/// Treatment of a login.
#[derive(Clone)]
pub(crate) enum Login {
    /// An error with this SQLSTATE and text.
    Refuse(&'static str, String),
    /// Silence.
    Ignore,
    /// A connection to this port.
    Pass(u16),
}

impl RefusingProxy {
    /// Starts with the treatment of the first logins, and of all further ones.
    pub(crate) fn start(first: Vec<Login>, then: Login) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut first = first.into_iter();
            for client in listener.incoming().map_while(Result::ok) {
                let treatment = first.next().unwrap_or_else(|| then.clone());
                std::thread::spawn(move || treat(client, &treatment));
            }
        });
        Self { address }
    }

    /// Starts with one answer to all.
    pub(crate) fn refusing(sqlstate: &'static str, text: &str) -> Self {
        Self::start(Vec::new(), Login::Refuse(sqlstate, text.into()))
    }
}

/// Ends with the connection: an error is the client's way to close it.
fn treat(mut client: TcpStream, treatment: &Login) -> Option<()> {
    let startup = read_startup(&mut client)?;
    match treatment {
        Login::Refuse(sqlstate, text) => client.write_all(&error_response(sqlstate, text)).ok(),
        Login::Ignore => client.read(&mut [0]).ok().map(drop),
        Login::Pass(port) => {
            let mut server = TcpStream::connect(("127.0.0.1", *port)).ok()?;
            server.write_all(&startup).ok()?;
            let mut from_client = client.try_clone().ok()?;
            let mut to_server = server.try_clone().ok()?;
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_server);
                to_server.shutdown(Shutdown::Write)
            });
            let copied = std::io::copy(&mut server, &mut client);
            let _ = client.shutdown(Shutdown::Both);
            copied.ok().map(drop)
        }
    }
}

/// Reads the startup message, after an offer of TLS that is declined.
fn read_startup(client: &mut TcpStream) -> Option<Vec<u8>> {
    loop {
        let mut message = vec![0; 8];
        client.read_exact(&mut message).ok()?;
        let length = u32::from_be_bytes(*message.first_chunk()?);
        message.resize(length as usize, 0);
        client.read_exact(&mut message[8..]).ok()?;
        if message[4..8] != SSL_REQUEST.to_be_bytes() {
            return Some(message);
        }
        client.write_all(b"N").ok()?;
    }
}

fn error_response(sqlstate: &str, text: &str) -> Vec<u8> {
    let fields = format!("SERROR\0VERROR\0C{sqlstate}\0M{text}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap();
    [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat()
}
