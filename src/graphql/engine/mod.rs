//! Reads requests by the specification of September 2025 and has them executed.
//!
//! | step | section | module |
//! | --- | --- | --- |
//! | limits on the text and the structure | | `source`, `structure` |
//! | parsing and validation, by apollo-compiler | 2, 5 | `validation`, `values`, `overlaps` |
//! | coercion of variables | 6.1.2 | `variables` |
//! | fields in order, without fragments, directives and repetitions | 6.3.2 | `planner`, `plan` |
//! | arguments with variables in place | 6.4.1 | `executable` |
//! | limits on what will run | | `complexity` |
//! | order and nulls of the response | 6.3.2, 6.4.4 | `response` |
//!
//! async-graphql executes what comes out: one operation without variables, directives, fragments on objects or keys
//! that occur twice. docs/graphql.md lists the faults of
//! async-graphql and apollo-compiler that are worked around here.

mod complexity;
mod convert;
mod documents;
mod executable;
mod limits;
mod lines;
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

use apollo_compiler::Node;
use apollo_compiler::executable::{ExecutableDocument, Operation as Definition};
use async_graphql::futures_util::stream::{BoxStream, Stream, StreamExt};
use async_graphql::parser::types::OperationType;
use async_graphql::{Executor, Name, Request, Response, ServerError, Variables};

use self::documents::{Document, DocumentCache};
pub(super) use self::limits::MAX_RECURSION;
pub(crate) use self::limits::exceeded;
use self::plan::Plan;
use self::planner::{Conditions, Planner};
pub use self::request::GraphqlRequest;
pub use self::trusted::TrustedDocuments;
use self::type_system::TypeSystem;
use super::errors::{self, request_error, wire_error};
use super::{Caller, RequestId, Schema};
use crate::config::{Config, Limits};
use crate::crypto;
use crate::domain::Problem;
use crate::error::{AppError, ErrorCode, FieldProblem};

/// Prepares and executes requests of all transports.
pub struct Engine<E = Schema> {
    executor: E,
    types: TypeSystem,
    limits: Limits,
    introspection: bool,
    known: DocumentCache,
    trusted: Option<TrustedDocuments>,
}

/// A valid request within the limits, ready to be executed.
pub struct Operation {
    request: Request,
    plan: Arc<Plan>,
}

/// A request that cannot be executed.
pub struct InvalidRequest {
    /// Reasons, at least one.
    pub errors: Vec<ServerError>,
    /// Kind of its operation, if the document could be parsed.
    pub kind: Option<OperationType>,
}

impl From<Vec<ServerError>> for InvalidRequest {
    fn from(errors: Vec<ServerError>) -> Self {
        Self { errors, kind: None }
    }
}

impl From<ServerError> for InvalidRequest {
    fn from(error: ServerError) -> Self {
        vec![error].into()
    }
}

impl Operation {
    /// Query, mutation or subscription.
    pub fn kind(&self) -> OperationType {
        self.plan.kind
    }

    /// Name of the operation in its document.
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
            known: DocumentCache::new(),
            trusted,
        })
    }

    /// Limits on requests.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Validates a request and plans its operation. Nothing has been executed when it fails.
    pub fn prepare(&self, request: GraphqlRequest) -> Result<Operation, InvalidRequest> {
        let GraphqlRequest { query, operation_name, variables, document_id } = request;
        let name = operation_name.as_deref().filter(|name| !name.is_empty());
        let document = self.document(query, document_id.as_deref(), name)?;
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
        let plan = self.plan(document, definition, &variables)?;
        let nulls: Vec<_> = plan.forbidden_nulls(&variables).map(<[String]>::to_vec).collect();
        if !nulls.is_empty() {
            return Err(null_not_allowed(nulls));
        }
        let executable = executable::write(&self.types, &plan, &variables);
        complexity::check_complexity(executable.complexity, &self.limits)?;
        let mut request = Request::new(String::new());
        request.set_parsed_query(executable.document);
        Ok(Operation { request, plan })
    }

    /// Returns the plan of an operation within the limits; that of a document's only operation is kept.
    fn plan(
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
        complexity::check(&plan, &self.limits, self.introspection)?;
        let plan = Arc::new(plan);
        if plan.reusable && document.valid.executable.operations.len() == 1 {
            self.known.keep_plan(document, &plan);
        }
        Ok(plan)
    }

    /// Executes a query or mutation.
    pub async fn execute(&self, operation: Operation, caller: Caller, request_id: &RequestId) -> Response {
        let mut response = self.executor.execute(operation.request.data(caller)).await;
        finish(&operation.plan, &mut response, request_id);
        response
    }

    /// Executes an operation of any kind; a subscription answers many times.
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

    /// Returns the valid document that a request names or contains.
    fn document(
        &self,
        query: Option<String>,
        id: Option<&str>,
        operation: Option<&str>,
    ) -> Result<Arc<Document>, InvalidRequest> {
        let text = match &self.trusted {
            Some(trusted) => Some(trusted.resolve(query, id)?),
            None => query,
        };
        let claimed = id.and_then(documents::parse_hash);
        let Some(text) = text else {
            let document = claimed.and_then(|hash| self.known.get(&hash));
            // The message is what Apollo's clients look for.
            return document.ok_or_else(|| {
                wire_error(ErrorCode::PersistedQueryNotFound, "PersistedQueryNotFound").into()
            });
        };
        let hash = crypto::sha256(text.as_bytes());
        if self.trusted.is_none() && id.is_some() && claimed != Some(hash) {
            return Err(wire_error(ErrorCode::BadRequest, "The hash is not that of the document.").into());
        }
        if let Some(document) = self.known.get(&hash) {
            return Ok(document);
        }
        // Where introspection is off, errors name nothing that the request did not.
        let suggest = self.introspection;
        let valid = validation::validate(&self.types, &text, operation, &self.limits, suggest)?;
        Ok(self.known.keep(hash, valid))
    }
}

/// Returns the operation that a request means (6.1, `GetOperation`).
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

/// Returns the error for variables that are null where null is not allowed.
fn null_not_allowed(paths: Vec<Vec<String>>) -> ServerError {
    let problem = Problem { code: "REQUIRED", message: "This value is required.".into() };
    let problems = paths.into_iter().map(|path| {
        let path = path.into_iter().map(Into::into).collect();
        FieldProblem { path, problem: problem.clone() }
    });
    request_error(AppError::BadUserInput(problems.collect()))
}

fn finish(plan: &Plan, response: &mut Response, request_id: &RequestId) {
    errors::finish(response, request_id);
    response::complete(plan, &mut response.data);
}
