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

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use apollo_compiler::Node;
use apollo_compiler::executable::{ExecutableDocument, Operation as Definition};
use async_graphql::futures_util::stream::{self, BoxStream, StreamExt};
use async_graphql::parser::types::OperationType;
use async_graphql::{Executor, Name, Request, Response, ServerError, Variables};

pub use self::complexity::Cost;
use self::document_cache::{Document, DocumentCache, PreparedPlan};
pub(super) use self::limits::MAX_RECURSION;
pub(crate) use self::limits::exceeded;
use self::plan::Plan;
pub(super) use self::plan::{Arguments, PlannedField};
use self::planner::{Conditions, Planner};
pub(crate) use self::request::parse_json_object;
pub use self::request::{GraphqlRequest, InvalidRequest};
pub use self::trusted::TrustedDocuments;
use self::type_system::TypeSystem;
use super::context::{Caller, RequestId};
use super::errors::{self, request_error, wire_error};
use super::written::WrittenQuery;
use crate::config::{Config, Limits};
use crate::db;
use crate::graphql::error_code::ErrorCode;
use crate::state::AppState;

/// Preparation and execution of requests, for all transports.
pub struct Engine<E> {
    executor: E,
    types: TypeSystem,
    limits: Limits,
    introspection: bool,
    documents: DocumentCache,
    trusted: Option<TrustedDocuments>,
    /// State for queries that bypass the executor; `None` if all are resolved.
    state: Option<AppState>,
    /// Time limit of an operation for getting connections to the database.
    connect_timeout: Duration,
}

/// A valid request within the limits, ready to be executed.
pub struct Operation {
    prepared: Arc<PreparedPlan>,
    cost: Cost,
    execution: Execution,
}

enum Execution {
    /// Resolved by the executor.
    Resolve(Box<Request>),
    /// Written as JSON without the executor.
    Write(Arc<WrittenQuery>, AppState, Arguments),
}

impl Operation {
    /// Returns the kind: query, mutation or subscription.
    pub fn kind(&self) -> OperationType {
        self.prepared.plan.kind
    }

    /// Returns the name of the operation in its document.
    pub fn name(&self) -> Option<&Name> {
        self.prepared.plan.name.as_ref()
    }

    /// Returns the cost.
    pub fn cost(&self) -> Cost {
        self.cost
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
            state: None,
            connect_timeout: config.database.connect_timeout(),
        })
    }

    /// Lets queries that have a written form bypass the executor and read from `state`.
    #[must_use]
    pub fn writing(self, state: AppState) -> Self {
        Self { state: Some(state), ..self }
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
        operation.map_err(|invalid| InvalidRequest { kind, ..invalid })
    }

    fn plan_operation(
        &self,
        document: &Document,
        definition: &Definition,
        variables: Variables,
    ) -> Result<Operation, InvalidRequest> {
        if document.valid.too_deep.contains(&definition.name) {
            return Err(structure::too_deep(&self.limits).into());
        }
        let executable = &document.valid.executable;
        let suggest = self.introspection;
        let variables = variables::coerce(&self.types, executable, definition, variables, suggest);
        let variables = variables.map_err(request_error)?;
        let prepared = self.find_plan(document, definition, &variables)?;
        let PreparedPlan { plan, written } = &*prepared;
        plan.check_nulls(&variables)?;
        let cost = Cost::measure(&self.types, plan, &variables, &self.limits);
        cost.check().map_err(|error| InvalidRequest { cost: Some(cost), ..error.into() })?;
        let execution = if let (Some(query), Some(state)) = (written, &self.state) {
            let arguments = plan.root().iter().flat_map(|field| field.arguments(&self.types, &variables));
            Execution::Write(Arc::clone(query), state.clone(), arguments.collect())
        } else {
            let mut request = Request::new(String::new());
            request.set_parsed_query(executable::build(&self.types, plan, &variables));
            Execution::Resolve(Box::new(request))
        };
        Ok(Operation { prepared, cost, execution })
    }

    /// Returns the cached plan of an operation, or plans it, checks it against the limits, and caches the plan.
    fn find_plan(
        &self,
        document: &Document,
        definition: &Definition,
        variables: &Variables,
    ) -> Result<Arc<PreparedPlan>, ServerError> {
        let name = definition.name.as_deref();
        if let Some(plan) = document.find_plan(name, variables) {
            return Ok(Arc::clone(plan));
        }
        let conditions = Conditions::Variables(variables);
        let plan = Planner::new(&self.types, &document.valid, definition, conditions, &self.limits).plan()?;
        complexity::check_plan(&plan, &self.limits, self.introspection)?;
        let is_written = self.state.is_some() && plan.kind == OperationType::Query;
        let written = if is_written { WrittenQuery::compile(plan.root()).map(Arc::new) } else { None };
        let plan = Arc::new(PreparedPlan { plan, written });
        self.documents.insert_plan(document, &plan);
        Ok(plan)
    }

    /// Executes a query or mutation.
    pub async fn execute(&self, operation: Operation, caller: Caller, request_id: &RequestId) -> Response {
        let Operation { prepared, execution, .. } = operation;
        let execution = pin!(async {
            match execution {
                // Boxed: the futures around it are moved several times, which copied 30 KB per operation.
                Execution::Resolve(request) => {
                    Box::pin(self.resolve(request.data(caller), &prepared.plan)).await
                }
                Execution::Write(query, state, arguments) => query.execute(&state, &caller, arguments).await,
            }
        });
        let mut response = db::share_deadline(self.connect_timeout, execution).await;
        errors::finish(&mut response, request_id);
        response
    }

    async fn resolve(&self, request: Request, plan: &Plan) -> Response {
        let mut response = self.executor.execute(request).await;
        response::fill_in(plan, &mut response.data);
        response
    }

    /// Executes an operation of any kind; a subscription yields one response per event.
    pub fn stream(
        self: Arc<Self>,
        operation: Operation,
        caller: Caller,
        request_id: RequestId,
    ) -> BoxStream<'static, Response> {
        let request = match operation.execution {
            Execution::Resolve(request) => request.data(caller),
            Execution::Write(..) => {
                return stream::once(async move { self.execute(operation, caller, &request_id).await })
                    .boxed();
            }
        };
        let prepared = operation.prepared;
        let responses = self.executor.execute_stream(request, None);
        let finished = responses.map(move |mut response| {
            errors::finish(&mut response, &request_id);
            response::fill_in(&prepared.plan, &mut response.data);
            response
        });
        finished.boxed()
    }

    /// Returns the valid document that a request contains or identifies.
    fn find_document(
        &self,
        query: Option<Arc<str>>,
        id: Option<&str>,
        operation: Option<&str>,
    ) -> Result<Arc<Document>, InvalidRequest> {
        let (text, new_hash) = match (&self.trusted, query) {
            (Some(trusted), query) => (trusted.resolve(query, id)?, None),
            (None, Some(text)) => {
                let hash = id.map(|id| DocumentCache::check_hash(id, &text)).transpose()?;
                (text, hash)
            }
            (None, None) => (self.documents.find_persisted(id)?, None),
        };
        let document = if let Some(document) = self.documents.get(&text) {
            document
        } else {
            // Without introspection, errors must not reveal names of the schema either.
            let suggest = self.introspection;
            let valid = validation::validate(&self.types, &text, operation, &self.limits, suggest)?;
            self.documents.insert(text, valid)
        };
        if let Some(hash) = new_hash {
            self.documents.persist(hash, &document);
        }
        Ok(document)
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
