use std::sync::Arc;

use async_graphql::futures_util::stream::{BoxStream, Stream, StreamExt};
use async_graphql::parser::parse_query;
use async_graphql::parser::types::{ExecutableDocument, OperationDefinition, OperationType};
use async_graphql::{Executor, Name, Request, Response, ServerError, Value, Variables};

use super::documents::{Document, DocumentCache, Hash, TrustedDocuments};
use super::errors::{self, wire_error};
use super::extension::Validated;
use super::limits::{self, Lists};
use super::{Caller, GraphqlRequest, RequestId, Schema};
use crate::config::{Config, Limits};
use crate::crypto;
use crate::error::ErrorCode;

/// Executes requests, whatever transport they come by: finds the document, holds it against the limits, and gives
/// every error its code.
pub struct Engine<E = Schema> {
    executor: E,
    limits: Limits,
    lists: Lists,
    introspection: bool,
    known: DocumentCache,
    trusted: Option<TrustedDocuments>,
}

/// A request that has passed the limits.
pub struct Operation {
    request: Request,
    kind: OperationType,
    name: Option<Name>,
    /// The document, where it is to be kept if it turns out valid.
    new: Option<(Hash, Arc<Document>)>,
}

impl Operation {
    /// Whether it reads, writes or subscribes.
    pub fn kind(&self) -> OperationType {
        self.kind
    }

    /// Its name in the document.
    pub fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// Whether its document has been found to fit the schema before.
    pub fn is_known(&self) -> bool {
        self.new.is_none()
    }
}

impl<E: Executor> Engine<E> {
    /// An engine for an executor of the schema that `sdl` describes.
    pub fn new(
        executor: E,
        sdl: &str,
        config: &Config,
        trusted: Option<TrustedDocuments>,
    ) -> anyhow::Result<Self> {
        let (lists, known) = (Lists::new(sdl)?, DocumentCache::new());
        Ok(Self {
            executor,
            limits: config.limits,
            lists,
            introspection: config.introspection(),
            known,
            trusted,
        })
    }

    /// The bounds on requests.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Finds the document and the operation, and refuses what is beyond a limit.
    pub fn prepare(&self, request: GraphqlRequest) -> Result<Operation, ServerError> {
        let GraphqlRequest { query, operation_name, variables, document_id } = request;
        let (hash, document, known) = self.document(query, document_id.as_deref())?;
        limits::check_document(&document.parsed, &variables, &self.limits, &self.lists, self.introspection)?;
        let (name, operation) = select(&document.parsed, operation_name.as_deref())?;
        check_variables(operation, &variables)?;
        let (kind, name) = (operation.ty, name.cloned());
        let mut request = Request::new(String::new()).variables(variables);
        request.operation_name = operation_name.filter(|name| !name.is_empty());
        request.set_parsed_query(document.parsed.clone());
        if known && !document.has_variables {
            request = request.data(Validated);
        }
        Ok(Operation { request, kind, name, new: (!known).then_some((hash, document)) })
    }

    /// Executes a query or mutation.
    pub async fn execute(&self, operation: Operation, caller: Caller, request_id: &RequestId) -> Response {
        let mut response = self.executor.execute(operation.request.data(caller)).await;
        self.finish(&mut response, operation.new, request_id);
        response
    }

    /// Executes an operation of any kind; a subscription answers many times.
    pub fn stream(
        self: Arc<Self>,
        operation: Operation,
        caller: Caller,
        request_id: RequestId,
    ) -> impl Stream<Item = Response> + Send {
        let request = operation.request.data(caller);
        let stream: BoxStream<'static, Response> = self.executor.execute_stream(request, None);
        let mut new = operation.new;
        stream.map(move |mut response| {
            self.finish(&mut response, new.take(), &request_id);
            response
        })
    }

    fn finish(&self, response: &mut Response, new: Option<(Hash, Arc<Document>)>, request_id: &RequestId) {
        errors::finish(response, request_id);
        if let Some((hash, document)) = new.filter(|_| !errors::is_request_error(response)) {
            self.known.keep(hash, document);
        }
    }

    /// The document of a request, and whether it has passed the validation before.
    fn document(
        &self,
        query: Option<String>,
        id: Option<&str>,
    ) -> Result<(Hash, Arc<Document>, bool), ServerError> {
        let text = match &self.trusted {
            Some(trusted) => Some(trusted.resolve(query, id)?),
            None => query,
        };
        let claimed = id.and_then(parse_hash);
        let Some(text) = text else {
            let document = claimed.and_then(|hash| Some((hash, self.known.get(&hash)?, true)));
            // The message is what Apollo's clients look for.
            return document
                .ok_or_else(|| wire_error(ErrorCode::PersistedQueryNotFound, "PersistedQueryNotFound"));
        };
        let hash = crypto::sha256(text.as_bytes());
        if self.trusted.is_none() && id.is_some() && claimed != Some(hash) {
            return Err(wire_error(ErrorCode::BadRequest, "The hash is not that of the document."));
        }
        if let Some(document) = self.known.get(&hash) {
            return Ok((hash, document, true));
        }
        let tokens = limits::check_source(&text, &self.limits)?;
        let parsed = parse_query(&text).map_err(|error| errors::syntax_error(&error))?;
        Ok((hash, Arc::new(Document::new(tokens, parsed)), false))
    }
}

/// The operation that a request means, and its name in the document.
fn select<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<(Option<&'a Name>, &'a OperationDefinition), ServerError> {
    let name = name.filter(|name| !name.is_empty());
    let mut meant = document
        .operations
        .iter()
        .filter(|(known, _)| name.is_none_or(|name| known.is_some_and(|known| known.as_str() == name)));
    let wrong = |message: String| Err(wire_error(ErrorCode::OperationResolutionFailure, message));
    match (meant.next(), meant.next(), name) {
        (Some((name, operation)), None, _) => Ok((name, &operation.node)),
        (_, _, Some(name)) => wrong(format!("The document has no operation \"{name}\".")),
        _ => wrong("The document has several operations; operationName must say which one is meant.".into()),
    }
}

/// The executor notices a missing variable only in the middle of its work, and one that nothing uses not at all.
fn check_variables(operation: &OperationDefinition, variables: &Variables) -> Result<(), ServerError> {
    for definition in operation.variable_definitions.iter().map(|definition| &definition.node) {
        let required = !definition.var_type.node.nullable && definition.default_value.is_none();
        let given = variables.get(&definition.name.node).is_some_and(|value| *value != Value::Null);
        if required && !given {
            let (name, kind) = (&definition.name.node, &definition.var_type.node);
            let message = format!("The variable \"${name}\" of type \"{kind}\" is required.");
            return Err(errors::bad_value(
                ServerError::new(message.clone(), None),
                vec![name.to_string()],
                message,
            ));
        }
    }
    Ok(())
}

fn parse_hash(text: &str) -> Option<Hash> {
    let text = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
    if text.len() != 64 {
        return None;
    }
    let mut hash = Hash::default();
    for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}
