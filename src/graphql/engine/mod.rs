//! Prepares requests by the specification of September 2025 and passes them to async-graphql for execution.
//!
//! | step | section | module |
//! | --- | --- | --- |
//! | limits on text and structure | | `source`, `structure` |
//! | parsing and validation, by apollo-compiler | 2, 5 | `validation`, `values`, `overlaps`, `suggestions` |
//! | coercion of variables | 6.1.2 | `variables` |
//! | collection of fields: fragments, `@skip` and `@include`, merging | 6.3.2 | `planner`, `plan` |
//! | arguments with the variables' values | 6.4.1 | `executable` |
//! | limits on the fields that run | | `complexity`, `multiplier` |
//! | order and nulls of the response | 6.3.2, 6.4.4 | `response` |
//!
//! async-graphql executes the result: one operation without variables, directives, fragments on objects or repeated
//! response keys. docs/graphql.md lists the bugs of async-graphql and apollo-compiler that this works around.

mod complexity;
mod convert;
mod document;
mod document_cache;
mod executable;
mod limits;
mod lines;
mod multiplier;
mod overlaps;
mod plan;
mod planner;
mod request;
mod response;
mod source;
mod structure;
mod suggestions;
mod trusted;
mod type_system;
mod validation;
mod values;
mod variables;

use std::sync::Arc;
use std::time::Duration;

use apollo_compiler::Node;
use apollo_compiler::executable::{ExecutableDocument, Operation as Definition};
use async_graphql::futures_util::stream::{BoxStream, Stream, StreamExt};
use async_graphql::parser::types::OperationType;
use async_graphql::{Executor, Name, Request, Response, ServerError, Variables};

use self::document_cache::{Document, DocumentCache};
pub(super) use self::limits::MAX_RECURSION;
pub(crate) use self::limits::exceeded;
use self::plan::Plan;
use self::planner::{Conditions, Planner};
pub use self::request::{GraphqlRequest, InvalidRequest};
pub use self::trusted::TrustedDocuments;
use self::type_system::TypeSystem;
use super::context::{Caller, RequestId};
use super::errors::{self, request_error, wire_error};
use crate::config::{Config, Limits};
use crate::graphql::error_code::ErrorCode;
use crate::{crypto, db};

/// Preparation and execution of requests, for all transports.
pub struct Engine<E> {
    executor: E,
    types: TypeSystem,
    limits: Limits,
    introspection: bool,
    documents: DocumentCache,
    trusted: Option<TrustedDocuments>,
    /// Time limit of an operation for getting connections to the database.
    connect_timeout: Duration,
}

/// A valid request within the limits, ready to be executed.
pub struct Operation {
    request: Request,
    plan: Arc<Plan>,
}

impl Operation {
    /// Returns the kind: query, mutation or subscription.
    pub fn kind(&self) -> OperationType {
        self.plan.kind
    }

    /// Returns the name of the operation in its document.
    pub fn name(&self) -> Option<&Name> {
        self.plan.name.as_ref()
    }
}

impl<E: Executor> Engine<E> {
    /// Creates an engine for an executor of the schema that `sdl` describes.
    pub fn new(
        executor: E,
        sdl: &str,
        config: &Config,
        trusted: Option<TrustedDocuments>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            executor,
            types: TypeSystem::parse(sdl)?,
            limits: config.limits,
            introspection: config.introspection(),
            documents: DocumentCache::new(),
            trusted,
            connect_timeout: config.database.connect_timeout(),
        })
    }

    /// Returns the limits on requests.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Validates a request and plans its operation. Executes nothing.
    pub fn prepare(&self, request: GraphqlRequest) -> Result<Operation, InvalidRequest> {
        let GraphqlRequest { query, operation_name, variables, document_id } = request;
        let name = operation_name.as_deref().filter(|name| !name.is_empty());
        let document = self.find_document(query, document_id.as_deref(), name)?;
        let definition = select(&document.valid.executable, name)?;
        let operation = self.plan_operation(&document, definition, variables);
        let kind = Some(plan::operation_type(definition.operation_type));
        operation.map_err(|error| InvalidRequest { errors: vec![error], kind })
    }

    fn plan_operation(
        &self,
        document: &Document,
        definition: &Definition,
        variables: Variables,
    ) -> Result<Operation, ServerError> {
        let variables = variables::coerce(&self.types, &document.valid.executable, definition, variables);
        let variables = variables.map_err(request_error)?;
        let plan = self.find_plan(document, definition, &variables)?;
        plan.check_nulls(&variables)?;
        let executable = executable::build(&self.types, &plan, &variables);
        complexity::check_complexity(executable.complexity, &self.limits)?;
        let mut request = Request::new(String::new());
        request.set_parsed_query(executable.document);
        Ok(Operation { request, plan })
    }

    /// Returns the plan of an operation within the limits. Caches it if it fits later requests too.
    fn find_plan(
        &self,
        document: &Document,
        definition: &Definition,
        variables: &Variables,
    ) -> Result<Arc<Plan>, ServerError> {
        if let Some(plan) = &document.plan {
            return Ok(Arc::clone(plan));
        }
        let conditions = Conditions::Variables(variables);
        let plan = Planner::new(&self.types, &document.valid, definition, conditions, &self.limits).plan()?;
        complexity::check_plan(&plan, &self.limits, self.introspection)?;
        let plan = Arc::new(plan);
        if plan.reusable && document.valid.executable.operations.len() == 1 {
            self.documents.insert_plan(document, &plan);
        }
        Ok(plan)
    }

    /// Executes a query or mutation.
    pub async fn execute(&self, operation: Operation, caller: Caller, request_id: &RequestId) -> Response {
        let execution = self.executor.execute(operation.request.data(caller));
        let mut response = db::share_deadline(self.connect_timeout, execution).await;
        finish(&operation.plan, &mut response, request_id);
        response
    }

    /// Executes an operation of any kind; a subscription yields one response per event.
    pub fn stream(
        self: Arc<Self>,
        operation: Operation,
        caller: Caller,
        request_id: RequestId,
    ) -> impl Stream<Item = Response> + Send {
        let Operation { request, plan } = operation;
        let stream: BoxStream<'static, Response> = self.executor.execute_stream(request.data(caller), None);
        stream.map(move |mut response| {
            finish(&plan, &mut response, &request_id);
            response
        })
    }

    /// Returns the valid document that a request contains or identifies.
    fn find_document(
        &self,
        query: Option<String>,
        id: Option<&str>,
        operation: Option<&str>,
    ) -> Result<Arc<Document>, InvalidRequest> {
        let text = match &self.trusted {
            Some(trusted) => Some(trusted.resolve(query, id)?),
            None => query,
        };
        let claimed = id.and_then(document_cache::parse_hash);
        let Some(text) = text else {
            let document = claimed.and_then(|hash| self.documents.get(&hash));
            // Apollo's clients look for this message.
            return document.ok_or_else(|| {
                wire_error(ErrorCode::PersistedQueryNotFound, "PersistedQueryNotFound").into()
            });
        };
        let hash = crypto::sha256(text.as_bytes());
        if self.trusted.is_none() && id.is_some() && claimed != Some(hash) {
            return Err(wire_error(ErrorCode::BadRequest, "The hash does not match the document.").into());
        }
        if let Some(document) = self.documents.get(&hash) {
            return Ok(document);
        }
        // Without introspection, errors must not reveal names of the schema either.
        let suggest = self.introspection;
        let valid = validation::validate(&self.types, &text, operation, &self.limits, suggest)?;
        Ok(self.documents.insert(hash, valid))
    }
}

/// Returns the operation that a request selects (6.1, `GetOperation`).
fn select<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a Node<Definition>, ServerError> {
    document.operations.get(name).map_err(|_| {
        let message = match name {
            Some(name) => format!("Unknown operation named \"{name}\"."),
            None => "The document has several operations; operationName must name one of them.".into(),
        };
        wire_error(ErrorCode::OperationResolutionFailure, message)
    })
}

fn finish(plan: &Plan, response: &mut Response, request_id: &RequestId) {
    errors::finish(response, request_id);
    response::fill_in(plan, &mut response.data);
}
