use apollo_compiler::executable::ExecutableDocument;
use apollo_compiler::validation::Valid;

use super::lines::Lines;

/// A document that is valid by chapter 5 of the specification.
pub(super) struct ValidDocument {
    pub(super) executable: Valid<ExecutableDocument>,
    pub(super) lines: Lines,
    /// Number of tokens, as the grammar counts them.
    pub(super) tokens: usize,
}
