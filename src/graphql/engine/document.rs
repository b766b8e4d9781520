use std::collections::HashSet;

use apollo_compiler::Name;
use apollo_compiler::executable::ExecutableDocument;
use apollo_compiler::validation::Valid;

use super::lines::Lines;

/// A document that is valid by chapter 5 of the specification.
pub(super) struct ValidDocument {
    pub(super) executable: Valid<ExecutableDocument>,
    pub(super) lines: Lines,
    /// Operations that are deeper than `MAX_DEPTH`. The others of the document may run.
    pub(super) too_deep: HashSet<Option<Name>>,
    /// Number of tokens, as the grammar counts them.
    pub(super) tokens: usize,
}
