//! Messages of the client.

use std::sync::Arc;
use std::time::Instant;

use async_graphql::Executor;
use axum::extract::ws::Message;
use futures_util::{Sink, Stream};

use super::Socket;
use crate::auth::Requester;
use crate::graphql::{ErrorCode, GraphqlRequest, InvalidRequest, Operation, exceeded};
use crate::transport::errors::code;
use crate::transport::observation::Observation;
use crate::transport::websocket::close::Close;
use crate::transport::websocket::message::ClientMessage;
use crate::transport::websocket::operation::{OperationContext, ResultSender, RunningOperation};
use crate::transport::websocket::protocol::{ACK, KEEP_ALIVE, PONG, Protocol, complete_message};

/// Operations in progress on one socket. A client needs one per open view; more are a leak of the client.
const MAX_OPERATIONS: usize = 50;

impl<W, E> Socket<W, E>
where
    W: Stream<Item = Result<Message, axum::Error>> + Sink<Message> + Unpin,
    E: Executor,
{
    /// Handles a message; an error closes the socket.
    pub(super) async fn receive(&mut self, text: &str) -> Result<(), Option<Close>> {
        match ClientMessage::parse(self.protocol, text).map_err(Close::BadRequest)? {
            ClientMessage::ConnectionInit(payload) if self.requester.is_none() => {
                self.initialize(payload).await?;
                self.acknowledge().await
            }
            ClientMessage::Subscribe { .. } | ClientMessage::Complete { .. } if self.awaits_init() => {
                Ok(self.postpone(text)?)
            }
            message => self.handle(message).await,
        }
    }

    /// Acknowledges the connection, and handles the postponed messages.
    async fn acknowledge(&mut self) -> Result<(), Option<Close>> {
        self.send(ACK).await?;
        if self.protocol == Protocol::Legacy {
            self.send(KEEP_ALIVE).await?;
        }
        for text in std::mem::take(&mut self.early) {
            self.handle(ClientMessage::parse(self.protocol, &text).map_err(Close::BadRequest)?).await?;
        }
        Ok(())
    }

    /// Returns true if operations have to wait for `connection_init`.
    fn awaits_init(&self) -> bool {
        self.protocol == Protocol::Legacy && self.requester.is_none()
    }

    /// Keeps a message until the connection is initialized.
    fn postpone(&mut self, text: &str) -> Result<(), Close> {
        let bytes = self.early.iter().map(String::len).sum::<usize>() + text.len();
        if self.early.len() == MAX_OPERATIONS || bytes > self.transport.engine.limits().max_body {
            return Err(Close::BadRequest("Too many messages before connection_init"));
        }
        self.early.push(text.to_owned());
        Ok(())
    }

    /// Handles any message but the first `connection_init` and those that wait for it.
    async fn handle(&mut self, message: ClientMessage<'_>) -> Result<(), Option<Close>> {
        match message {
            ClientMessage::ConnectionInit(_) => Err(Some(Close::TooManyInits)),
            ClientMessage::Ping => self.send(PONG).await,
            ClientMessage::Pong => Ok(()),
            ClientMessage::Subscribe { id, payload } => match self.subscribe(id, payload)? {
                Some(refusal) => self.send(&refusal).await,
                None => Ok(()),
            },
            ClientMessage::Complete { id } => {
                let is_running = self.operations.remove(&id).is_some();
                // Some clients of the older protocol wait for this.
                if is_running && self.protocol == Protocol::Legacy {
                    self.send(&complete_message(&id)).await?;
                }
                Ok(())
            }
            ClientMessage::Terminate => Err(Some(Close::Normal)),
        }
    }

    /// Starts an operation; returns the answer to an invalid one. An error closes the socket.
    fn subscribe(&mut self, id: String, payload: &str) -> Result<Option<String>, Close> {
        let requester = self.requester.ok_or(Close::Unauthorized)?;
        match self.protocol {
            Protocol::Current if self.operations.contains_key(&id) => {
                return Err(Close::SubscriberExists(id));
            }
            Protocol::Current => {}
            // The older protocol replaces an operation by the next one with its identifier.
            Protocol::Legacy => drop(self.operations.remove(&id)),
        }
        let observation = self.transport.observe(Instant::now(), &self.request_id).with_requester(requester);
        let request = match GraphqlRequest::from_json(payload, self.transport.engine.limits()) {
            Err(error) if code(&error) == ErrorCode::BadRequest => {
                observation.refuse(&error);
                return Err(Close::BadRequest("The payload is not a GraphQL request"));
            }
            request => request,
        };
        match request.map_err(InvalidRequest::from).and_then(|request| self.prepare(request)) {
            Ok(operation) => {
                self.start(id, operation, requester, observation);
                Ok(None)
            }
            Err(invalid) => {
                observation.refuse_invalid(&invalid);
                Ok(Some(self.protocol.errors(&id, &invalid.errors)))
            }
        }
    }

    fn prepare(&self, request: GraphqlRequest) -> Result<Operation, InvalidRequest> {
        if self.operations.len() >= MAX_OPERATIONS {
            let what = "operations on its socket";
            return Err(exceeded(ErrorCode::TooManyOperations, MAX_OPERATIONS, what).into());
        }
        self.transport.engine.prepare(request)
    }

    fn start(&mut self, id: String, operation: Operation, requester: Requester, observation: Observation) {
        self.started += 1;
        let number = self.started;
        let context = OperationContext {
            transport: Arc::clone(&self.transport),
            client: Arc::clone(&self.client),
            request_id: self.request_id.clone(),
            requester,
            results: ResultSender {
                protocol: self.protocol,
                id: id.clone(),
                number,
                sender: self.sender.clone(),
            },
        };
        self.operations.insert(id, RunningOperation::start(context, operation, observation));
    }
}
