use axum::extract::ws::CloseFrame;

/// Reason to close a socket; converts into the protocol's close code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// The client has ended the connection.
    Normal,
    /// The service shuts down; clients reconnect.
    GoingAway,
    /// A frame that violates RFC 6455.
    ProtocolError,
    /// A text message that is not UTF-8.
    InvalidText,
    /// A message beyond the limit.
    TooBig,
    /// The client reads too slowly; it reconnects and resumes after the last event it has seen.
    TooSlow,
    /// The user has too many sockets, or the service is busy.
    TryAgainLater(&'static str),
    /// A message that violates the protocol.
    BadRequest(&'static str),
    /// An operation before the connection was acknowledged.
    Unauthorized,
    /// The token is bad or has expired, or its session has ended; clients reconnect with a new one.
    Forbidden,
    /// An unsupported subprotocol.
    SubprotocolNotAcceptable,
    /// No `connection_init` within the time limit.
    InitTimeout,
    /// An identifier of an operation in progress.
    SubscriberExists(String),
    /// A second `connection_init`.
    TooManyInits,
}

impl From<Close> for CloseFrame {
    fn from(close: Close) -> Self {
        let (code, reason) = match close {
            Close::Normal => (1000, String::new()),
            Close::GoingAway => (1001, "Going away".into()),
            Close::ProtocolError => (1002, "Protocol error".into()),
            Close::InvalidText => (1007, "Messages must be UTF-8".into()),
            Close::TooBig => (1009, "Message too big".into()),
            Close::TooSlow => (1013, "Too slow: resume after the last event received".into()),
            Close::TryAgainLater(reason) => (1013, reason.into()),
            Close::BadRequest(reason) => (4400, reason.into()),
            Close::Unauthorized => (4401, "Unauthorized".into()),
            Close::Forbidden => (4403, "Forbidden".into()),
            Close::SubprotocolNotAcceptable => (4406, "Subprotocol not acceptable".into()),
            Close::InitTimeout => (4408, "Connection initialisation timeout".into()),
            // A reason has at most 123 bytes.
            Close::SubscriberExists(id) if id.len() < 80 => {
                (4409, format!("Subscriber for {id} already exists"))
            }
            Close::SubscriberExists(_) => (4409, "Subscriber already exists".into()),
            Close::TooManyInits => (4429, "Too many initialisation requests".into()),
        };
        Self { code, reason: reason.into() }
    }
}

impl Close {
    /// Returns the reason to close a socket whose connection fails; `None` if the client is gone.
    pub(super) fn for_failure(error: &axum::Error) -> Option<Self> {
        // tungstenite's error type is not exported by axum, so its text has to do.
        let text = error.to_string();
        if text.contains("too long") {
            Some(Self::TooBig)
        } else if text.starts_with("UTF-8") {
            Some(Self::InvalidText)
        } else if text.starts_with("WebSocket protocol error") {
            Some(Self::ProtocolError)
        } else {
            None
        }
    }
}
