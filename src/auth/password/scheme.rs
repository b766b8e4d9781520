use argon2::password_hash::phc::{Ident, Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Params, Version};
use secrecy::SecretString;

/// Memory in KiB, passes and lanes of new hashes: OWASP's first choice for argon2id, 19 MiB, 2 and 1
/// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>).
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Bounds on the parameters of stored hashes: imported ones cost what they say at each login.
const MAX_MEMORY_KIB: u32 = 262_144;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;

/// Type, version and parameters of an argon2 hash.
pub(super) struct Scheme {
    pub(super) algorithm: Algorithm,
    pub(super) version: Version,
    pub(super) params: Params,
}

impl Scheme {
    /// Returns the scheme of new hashes.
    pub(super) fn current() -> anyhow::Result<Self> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(Params::DEFAULT_OUTPUT_LEN))?;
        Ok(Self { algorithm: Algorithm::Argon2id, version: Version::V0x13, params })
    }

    /// Parses the scheme of a stored hash; fails if it asks for more work than is allowed.
    pub(super) fn parse(hash: &PasswordHash) -> anyhow::Result<Self> {
        let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
        let version = hash.version.map(Version::try_from).transpose()?.unwrap_or(Version::V0x13);
        let params = Params::try_from(hash)?;
        let is_affordable = params.m_cost() <= MAX_MEMORY_KIB
            && params.t_cost() <= MAX_PASSES
            && params.p_cost() <= MAX_LANES;
        anyhow::ensure!(is_affordable, "a stored password hash asks for more work than is allowed");
        Ok(Self { algorithm, version, params })
    }

    /// Returns true if new hashes use this scheme.
    pub(super) fn is_current(&self) -> bool {
        let params = (self.params.m_cost(), self.params.t_cost(), self.params.p_cost());
        self.algorithm == Algorithm::Argon2id
            && self.version == Version::V0x13
            && params == (MEMORY_KIB, PASSES, LANES)
    }

    /// Returns true if a hash needs no more memory than new ones do.
    pub(super) fn fits_pooled_memory(&self) -> bool {
        self.params.block_count() <= MEMORY_KIB as usize
    }

    /// Formats a hash as a PHC string.
    pub(super) fn encode(&self, salt: &[u8], output: &[u8]) -> anyhow::Result<SecretString> {
        let hash = PasswordHash {
            algorithm: Ident::new(self.algorithm.as_str())?,
            version: Some(self.version.into()),
            params: ParamsString::try_from(&self.params)?,
            salt: Some(Salt::new(salt)?),
            hash: Some(Output::new(output)?),
        };
        Ok(hash.to_string().into())
    }
}
