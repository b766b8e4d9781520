use apollo_compiler::ast::{Definition, Document};
use apollo_compiler::diagnostic::ToCliReport;
use apollo_compiler::parser::Parser;
use apollo_compiler::validation::DiagnosticList;
use async_graphql::ServerError;
use async_graphql::parser::types::OperationType;

use super::document::ValidDocument;
use super::lines::Lines;
use super::plan::operation_type;
use super::planner::{Conditions, Planner};
use super::request::InvalidRequest;
use super::source::{self, Source};
use super::suggestions::Suggestions;
use super::type_system::TypeSystem;
use super::{structure, values};
use crate::config::Limits;
use crate::graphql::error_code::ErrorCode;
use crate::graphql::errors::coded;

/// Largest number of errors reported for a document; apollo-compiler finds any number.
const MAX_ERRORS: usize = 10;

/// Parses and validates a document. `operation` is the `operationName` of the request.
pub(super) fn validate(
    types: &TypeSystem,
    text: &str,
    operation: Option<&str>,
    limits: &Limits,
    suggest: bool,
) -> Result<ValidDocument, InvalidRequest> {
    let source = Source::check(text, limits)?;
    let lines = Lines::new(source.text.into_owned());
    let ast = Parser::new().parse_ast(lines.text(), "document").map_err(|invalid| {
        // Errors after the first are follow-ups: the parser guesses how to go on.
        to_errors(&invalid.errors, &lines, ErrorCode::GraphqlParseFailed)
            .into_iter()
            .take(1)
            .collect::<Vec<_>>()
    })?;
    if let Some(offset) = source::find_dropped(lines.text(), &ast.serialize().no_indent().to_string())
        && ast.definitions.iter().all(Definition::is_executable_definition)
    {
        let error =
            ServerError::new("Syntax error: a name without a value.", Some(lines.position_at(offset)));
        return Err(coded(error, ErrorCode::GraphqlParseFailed).into());
    }
    let invalid =
        |errors| InvalidRequest { kind: find_kind(&ast, operation), ..InvalidRequest::from(errors) };
    let too_deep = structure::check(&ast, &lines, operation, limits).map_err(|error| invalid(vec![error]))?;
    // Unknown names end validation: rules that see the document without them would report follow-up errors.
    let refuse = |found: &DiagnosticList| {
        let offsets: Vec<_> =
            found.iter().take(MAX_ERRORS).filter_map(|it| Some(it.error.location()?.offset())).collect();
        let mut found = to_errors(found, &lines, ErrorCode::GraphqlValidationFailed);
        if suggest {
            Suggestions::find(types, &ast, &lines, &offsets).add_to(&mut found);
        }
        invalid(found)
    };
    let built = ast.to_executable(types.schema()).map_err(|found| refuse(&found.errors))?;
    let executable = built.validate(types.schema()).map_err(|found| refuse(&found.errors))?;
    let document = ValidDocument { executable, lines, too_deep, tokens: source.tokens };
    let mut found = values::check(types, &document);
    found.extend(find_conflicts(types, &document, limits));
    found.truncate(MAX_ERRORS);
    if found.is_empty() { Ok(document) } else { Err(invalid(found)) }
}

/// Finds fields with one response key but different arguments (5.3.2), as planning reports them.
fn find_conflicts(types: &TypeSystem, document: &ValidDocument, limits: &Limits) -> Vec<ServerError> {
    let operations = document.executable.operations.iter();
    let plans = operations
        .map(|operation| Planner::new(types, document, operation, Conditions::Ignored, limits).plan());
    plans.filter_map(Result::err).collect()
}

/// Returns the kind of the operation that an invalid document selects, for the log.
fn find_kind(document: &Document, name: Option<&str>) -> Option<OperationType> {
    let operations = document.definitions.iter().filter_map(Definition::as_operation_definition);
    let mut meant =
        operations.filter(|operation| name.is_none_or(|name| operation.name.as_deref() == Some(name)));
    meant.next().map(|operation| operation_type(operation.operation_type))
}

fn to_errors(found: &DiagnosticList, lines: &Lines, code: ErrorCode) -> Vec<ServerError> {
    let wire = found.iter().take(MAX_ERRORS).map(|found| {
        coded(
            ServerError::new(
                to_sentence(&found.error.to_string()),
                Some(lines.position(found.error.location())),
            ),
            code,
        )
    });
    wire.collect()
}

/// Turns a message of apollo-compiler into a sentence in GraphQL's words.
fn to_sentence(message: &str) -> String {
    let words = [
        ("R_CURLY", "}"),
        ("L_CURLY", "{"),
        ("R_PAREN", ")"),
        ("L_PAREN", "("),
        ("R_BRACK", "]"),
        ("L_BRACK", "["),
        ("got EOF", "got the end of the document"),
        ("Unexpected <EOF>", "the document is empty"),
        ("StringValue, Name or OperationDefinition", "operation or fragment"),
        ("expected a operation", "expected an operation"),
        ("in a Const context", "in a constant value"),
        ("in this document", "in the schema"),
        ("`", "\""),
    ];
    let message = words.iter().fold(message.to_owned(), |text, (word, better)| text.replace(word, better));
    let mut letters = message.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let end = if message.ends_with(['.', '?', '!']) { "" } else { "." };
    first.into_iter().chain(letters).chain(end.chars()).collect()
}
