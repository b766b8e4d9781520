use apollo_compiler::ast::{Definition, Document};
use apollo_compiler::diagnostic::ToCliReport;
use apollo_compiler::executable::ExecutableDocument;
use apollo_compiler::parser::Parser;
use apollo_compiler::validation::{DiagnosticList, Valid};
use async_graphql::ServerError;
use async_graphql::parser::types::OperationType;

use super::lines::Lines;
use super::plan::operation_type;
use super::source::{self, Source};
use super::suggestions::Suggestions;
use super::type_system::TypeSystem;
use super::values;
use super::{InvalidRequest, overlaps, structure};
use crate::config::Limits;
use crate::error::ErrorCode;
use crate::graphql::errors::coded;

/// Errors of one document that are reported; apollo-compiler finds any number.
const MAX_ERRORS: usize = 10;

/// A document that is valid by chapter 5 of the specification.
pub(super) struct ValidDocument {
    pub(super) executable: Valid<ExecutableDocument>,
    pub(super) lines: Lines,
    /// Number of tokens, as the grammar counts them.
    pub(super) tokens: usize,
}

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
        // After the first error the parser guesses.
        errors(&invalid.errors, &lines, ErrorCode::GraphqlParseFailed).into_iter().take(1).collect::<Vec<_>>()
    })?;
    if let Some(offset) = source::find_dropped(lines.text(), &ast.serialize().no_indent().to_string())
        && ast.definitions.iter().all(Definition::is_executable_definition)
    {
        let error =
            ServerError::new("Syntax error: a name without a value.", Some(lines.position_at(offset)));
        return Err(coded(error, ErrorCode::GraphqlParseFailed).into());
    }
    let invalid = |errors| InvalidRequest { errors, kind: kind(&ast, operation) };
    structure::check(&ast, &lines, operation, limits).map_err(|error| invalid(vec![error]))?;
    // What does not exist is reported alone: without it, the rest would look invalid in places where it is not.
    let refuse = |found: &DiagnosticList| {
        let offsets: Vec<_> =
            found.iter().take(MAX_ERRORS).filter_map(|it| Some(it.error.location()?.offset())).collect();
        let mut found = errors(found, &lines, ErrorCode::GraphqlValidationFailed);
        if suggest {
            Suggestions::find(types, &ast, &lines, &offsets).add_to(&mut found);
        }
        invalid(found)
    };
    let built = ast.to_executable(types.schema()).map_err(|found| refuse(&found.errors))?;
    let executable = built.validate(types.schema()).map_err(|found| refuse(&found.errors))?;
    let document = ValidDocument { executable, lines, tokens: source.tokens };
    let mut found = values::check(types, &document);
    found.extend(overlaps::check(types, &document, limits));
    found.truncate(MAX_ERRORS);
    if found.is_empty() { Ok(document) } else { Err(invalid(found)) }
}

/// Returns the kind of the operation that an invalid document means, for the log.
fn kind(document: &Document, name: Option<&str>) -> Option<OperationType> {
    let operations = document.definitions.iter().filter_map(Definition::as_operation_definition);
    let mut meant =
        operations.filter(|operation| name.is_none_or(|name| operation.name.as_deref() == Some(name)));
    meant.next().map(|operation| operation_type(operation.operation_type))
}

fn errors(found: &DiagnosticList, lines: &Lines, code: ErrorCode) -> Vec<ServerError> {
    let wire = found.iter().take(MAX_ERRORS).map(|found| {
        coded(
            ServerError::new(
                sentence(&found.error.to_string()),
                Some(lines.position(found.error.location())),
            ),
            code,
        )
    });
    wire.collect()
}

/// Returns a message of apollo-compiler as a sentence in the words of GraphQL.
fn sentence(message: &str) -> String {
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
