//! Observes what the server sends below the driver, which keeps the SQLSTATE of most errors to itself
//! (<https://github.com/diesel-rs/diesel/issues/2342>).

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The message `ErrorResponse`
/// (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
const ERROR_RESPONSE: u8 = b'E';
/// Bytes of an error that are read, far beyond its code and text.
const MAX_ERROR: usize = 64 << 10;
/// Errors that are kept: others may follow before a statement's is asked for, as PgBouncer's about a server that ended the
/// session.
const KEPT_ERRORS: usize = 4;
/// SQLSTATE of statements behind a failed one in its transaction. Not kept: a pipeline has one for each, and all that they say is
/// that another error is the cause.
const IN_FAILED_TRANSACTION: &str = "25P02";

/// The parts of a server's error that the driver drops, with the text by which it is recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerError {
    /// The SQLSTATE.
    pub(super) code: String,
    /// PostgreSQL's function that raised it; a pooler names none.
    pub(super) routine: String,
    /// The file of that function.
    pub(super) file: String,
    pub(super) message: String,
}

/// Observations on one connection; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire(Arc<Mutex<Observed>>);

#[derive(Debug, Default)]
struct Observed {
    /// The last errors, the latest first.
    errors: VecDeque<ServerError>,
    /// Reason why the connection has ended, if it has failed.
    failure: Option<Failure>,
}

/// The end of a connection that was not closed from here.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// True if the kernel gave up the connection because nothing was acknowledged.
    pub(super) timed_out: bool,
}

impl Wire {
    /// Returns the latest of the last errors that has this text, so that another one is not taken for it.
    pub(super) fn error(&self, message: &str) -> Option<ServerError> {
        self.0.lock().errors.iter().find(|error| error.message == message).cloned()
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.0.lock().failure.clone()
    }

    pub(super) fn note_failure(&self, failure: Failure) {
        self.0.lock().failure = Some(failure);
    }

    fn note_error(&self, body: &[u8]) {
        let error = parse_error(body);
        if error.code == IN_FAILED_TRANSACTION {
            return;
        }
        let errors = &mut self.0.lock().errors;
        errors.truncate(KEPT_ERRORS - 1);
        errors.push_front(error);
    }
}

/// Parses the fields of an error: each is a byte for its kind and a text that ends with a zero.
fn parse_error(body: &[u8]) -> ServerError {
    let field = |kind: u8| {
        let mut fields = body.split(|byte| *byte == 0).filter_map(<[u8]>::split_first);
        let text = fields.find(|(first, _)| **first == kind).map(|(_, text)| text);
        String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
    };
    ServerError { code: field(b'C'), routine: field(b'R'), file: field(b'F'), message: field(b'M') }
}

/// Finds the errors among the server's messages, which arrive in pieces of any length. Skips other messages by their
/// length.
#[derive(Debug, Default)]
struct Framer {
    /// Bytes of the present header, its tag and its length, as a number.
    header: u64,
    header_bytes: u8,
    /// Bytes of the present message that have not arrived.
    left: usize,
    /// Body of the present message, if it is an error.
    error: Option<Vec<u8>>,
}

impl Framer {
    /// Length of a header.
    const HEADER: u8 = 5;

    fn read(&mut self, mut bytes: &[u8], mut on_error: impl FnMut(&[u8])) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.header_bytes < Self::HEADER {
                self.header = self.header << 8 | u64::from(*first);
                self.header_bytes += 1;
                bytes = rest;
                if self.header_bytes == Self::HEADER {
                    let [.., tag, a, b, c, d] = self.header.to_be_bytes();
                    // The length counts itself.
                    self.left = u32::from_be_bytes([a, b, c, d]).saturating_sub(4) as usize;
                    self.error = (tag == ERROR_RESPONSE).then(Vec::new);
                }
            } else {
                let (body, rest) = bytes.split_at(self.left.min(bytes.len()));
                if let Some(error) = &mut self.error {
                    let room = MAX_ERROR.saturating_sub(error.len()).min(body.len());
                    error.extend_from_slice(body.split_at(room).0);
                }
                self.left -= body.len();
                bytes = rest;
            }
            if self.header_bytes == Self::HEADER && self.left == 0 {
                if let Some(error) = self.error.take() {
                    on_error(&error);
                }
                *self = Self::default();
            }
        }
    }
}

/// A stream whose errors are noted.
pub(super) struct ObservedStream<S> {
    stream: S,
    binding: fn(&S) -> ChannelBinding,
    framer: Framer,
    wire: Wire,
}

impl<S> ObservedStream<S> {
    /// Observes a stream without TLS.
    pub(super) fn plain(stream: S, wire: Wire) -> Self {
        Self { stream, binding: |_| ChannelBinding::none(), framer: Framer::default(), wire }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ObservedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let Self { framer, wire, .. } = &mut *self;
        framer.read(buffer.filled().split_at(before).1, |error| wire.note_error(error));
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ObservedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for ObservedStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        (self.binding)(&self.stream)
    }
}

/// Opens observed streams, with TLS or with `NoTls`.
#[derive(Clone)]
pub(super) struct Observing<T> {
    pub(super) tls: T,
    pub(super) wire: Wire,
}

/// The step after the TCP connection.
pub(super) struct Handshake<S>(
    Box<dyn FnOnce(Socket) -> BoxFuture<'static, io::Result<ObservedStream<S>>> + Send>,
);

type RustlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

impl MakeTlsConnect<Socket> for Observing<MakeRustlsConnect> {
    type Stream = ObservedStream<RustlsStream>;
    type TlsConnect = Handshake<RustlsStream>;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Handshake<RustlsStream>> {
        let Ok(tls) = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.tls, domain);
        let wire = self.wire.clone();
        Ok(Handshake(Box::new(|socket| {
            let framer = Framer::default();
            let connect = async move {
                let stream = tls.connect(socket).await?;
                Ok(ObservedStream { stream, binding: TlsStream::channel_binding, framer, wire })
            };
            connect.boxed()
        })))
    }
}

/// A session without TLS, which the driver takes for one that begins with TLS at once: it lets nothing but TLS be put
/// between itself and its socket.
impl MakeTlsConnect<Socket> for Observing<NoTls> {
    type Stream = ObservedStream<Socket>;
    type TlsConnect = Handshake<Socket>;
    type Error = io::Error;

    fn make_tls_connect(&mut self, _: &str) -> io::Result<Handshake<Socket>> {
        let wire = self.wire.clone();
        Ok(Handshake(Box::new(|socket| ready(Ok(ObservedStream::plain(socket, wire))).boxed())))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsConnect<Socket> for Handshake<S> {
    type Stream = ObservedStream<S>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<ObservedStream<S>>>;

    fn connect(self, socket: Socket) -> Self::Future {
        (self.0)(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag], &length[..], body].concat()
    }

    fn errors(pieces: &[&[u8]]) -> Vec<ServerError> {
        let mut framer = Framer::default();
        let mut found = Vec::new();
        for piece in pieces {
            framer.read(piece, |body| found.push(parse_error(body)));
        }
        found
    }

    #[test]
    fn errors_are_found_however_the_stream_is_cut() {
        let stream = [
            message(b'Z', b"I"),
            // A row whose contents look like an error's header.
            message(b'D', b"E\0\0\0\x08abcd"),
            message(ERROR_RESPONSE, b"SFEHLER\0VERROR\0C55P03\0MSperre\0Fproc.c\0RProcSleep\0\0"),
            message(b'2', b""),
            message(ERROR_RESPONSE, b"C57014\0Mabgebrochen\0\0"),
            message(b'Z', b"I"),
        ]
        .concat();
        let expected = [
            ServerError {
                code: "55P03".into(),
                routine: "ProcSleep".into(),
                file: "proc.c".into(),
                message: "Sperre".into(),
            },
            ServerError { code: "57014".into(), message: "abgebrochen".into(), ..ServerError::default() },
        ];
        assert_eq!(errors(&[&stream]), expected);
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(errors(&bytes), expected);
        for cut in 0..stream.len() {
            let (first, second) = stream.split_at(cut);
            assert_eq!(errors(&[first, second]), expected, "{cut}");
        }
    }

    #[test]
    fn an_error_without_end_is_read_up_to_a_limit() {
        let body = [b"C53100\0MDisk voll\0D".to_vec(), vec![b'x'; MAX_ERROR * 2]].concat();
        let [error] = &errors(&[&message(ERROR_RESPONSE, &body)])[..] else { panic!("one error") };
        assert_eq!((error.code.as_str(), error.message.as_str()), ("53100", "Disk voll"));
        assert_eq!(errors(&[&message(b'E', b"")]).len(), 1, "without fields");
    }

    #[test]
    fn statements_that_fail_with_another_do_not_displace_its_error() {
        let wire = Wire::default();
        wire.note_error(b"C53100\0MDisk voll\0\0");
        for _ in 0..2 * KEPT_ERRORS {
            wire.note_error(b"C25P02\0Maborted\0\0");
        }
        assert_eq!(wire.error("Disk voll").unwrap().code, "53100");
    }

    #[test]
    fn another_error_is_not_taken_for_the_one_in_question() {
        let wire = Wire::default();
        wire.note_error(b"C55P03\0Mlock\0\0");
        assert_eq!(wire.error("lock").unwrap().code, "55P03");
        assert_eq!(wire.error("another"), None);
        wire.note_error(b"C57014\0Mlock\0\0");
        assert_eq!(wire.error("lock").unwrap().code, "57014", "the latest");
    }

    #[test]
    fn an_error_is_found_though_others_followed_it() {
        let wire = Wire::default();
        wire.note_error(b"C57P01\0Mterminating connection\0\0");
        wire.note_error(b"C08P01\0Mserver conn crashed?\0\0");
        assert_eq!(wire.error("terminating connection").unwrap().code, "57P01");
        for _ in 0..KEPT_ERRORS {
            wire.note_error(b"C08P01\0Munknown\0\0");
        }
        assert_eq!(wire.error("terminating connection"), None);
        assert_eq!(wire.0.lock().errors.len(), KEPT_ERRORS);
    }
}
