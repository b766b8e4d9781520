//! The computation of argon2.

use super::recipe::Recipe;

/// Work memory of a hash; grows to what a recipe needs.
#[derive(Default)]
pub(super) struct Memory(Vec<argon2::Block>);

impl Memory {
    /// Computes a hash.
    pub(super) fn hash(
        &mut self,
        recipe: &Recipe,
        password: &[u8],
        salt: &[u8],
        output: &mut [u8],
    ) -> anyhow::Result<()> {
        let Self(blocks) = self;
        let missing = recipe.params.block_count().saturating_sub(blocks.len());
        // Fails where `resize` alone would abort the process.
        blocks.try_reserve_exact(missing)?;
        blocks.resize(blocks.len() + missing, argon2::Block::new());
        let argon2 = argon2::Argon2::new(recipe.algorithm, recipe.version, recipe.params.clone());
        Ok(argon2.hash_password_into_with_memory(password, salt, output, blocks)?)
    }
}
