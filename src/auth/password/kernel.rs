//! Computation of argon2 hashes by the crate argon2 or, with the feature `fast-argon2`, by argon2-rust.

use super::scheme::Scheme;

/// Allocates with transparent huge pages, which `main` turns off: argon2's random access takes a tenth less time with them.
#[cfg(not(feature = "fast-argon2"))]
fn with_huge_pages<R>(allocate: impl FnOnce() -> R) -> R {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(false);
    let allocated = allocate();
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    allocated
}

/// Work memory of a hash; grows to what a scheme needs.
#[cfg(not(feature = "fast-argon2"))]
#[derive(Default)]
pub(super) struct Memory(Vec<argon2::Block>);

#[cfg(not(feature = "fast-argon2"))]
impl Memory {
    /// Computes a hash.
    pub(super) fn hash(
        &mut self,
        scheme: &Scheme,
        password: &[u8],
        salt: &[u8],
        output: &mut [u8],
    ) -> anyhow::Result<()> {
        let Self(blocks) = self;
        let missing = scheme.params.block_count().saturating_sub(blocks.len());
        if missing > 0 {
            // Fails if memory is short, where `resize` alone would abort the process.
            let reserved = with_huge_pages(|| {
                blocks.try_reserve_exact(missing)?;
                blocks.resize(blocks.len() + missing, argon2::Block::new());
                Ok::<_, std::collections::TryReserveError>(())
            });
            reserved?;
        }
        let argon2 = argon2::Argon2::new(scheme.algorithm, scheme.version, scheme.params.clone());
        Ok(argon2.hash_password_into_with_memory(password, salt, output, blocks)?)
    }
}

/// Work memory of a hash; grows to what a scheme needs.
#[cfg(feature = "fast-argon2")]
pub(super) struct Memory(argon2_rust::Hasher);

#[cfg(feature = "fast-argon2")]
impl Default for Memory {
    fn default() -> Self {
        use argon2_rust::{Algorithm, Argon2, Params, Version};

        // Placeholder: each hash sets its own scheme.
        Self(Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default()).hasher())
    }
}

#[cfg(feature = "fast-argon2")]
impl Memory {
    /// Computes a hash.
    pub(super) fn hash(
        &mut self,
        scheme: &Scheme,
        password: &[u8],
        salt: &[u8],
        output: &mut [u8],
    ) -> anyhow::Result<()> {
        self.0.set_argon2(translate(scheme, output.len())?);
        Ok(self.0.hash_into_with_ad(password, salt, &[], scheme.params.data(), output)?)
    }
}

/// Translates a scheme to the types of argon2-rust.
#[cfg(feature = "fast-argon2")]
fn translate(scheme: &Scheme, output_len: usize) -> Result<argon2_rust::Argon2, argon2_rust::Error> {
    use argon2_rust::params::{Memory, TagLen};

    let algorithm = match scheme.algorithm {
        argon2::Algorithm::Argon2d => argon2_rust::Algorithm::Argon2d,
        argon2::Algorithm::Argon2i => argon2_rust::Algorithm::Argon2i,
        argon2::Algorithm::Argon2id => argon2_rust::Algorithm::Argon2id,
    };
    let version = match scheme.version {
        argon2::Version::V0x10 => argon2_rust::Version::V0x10,
        argon2::Version::V0x13 => argon2_rust::Version::V0x13,
    };
    let params = argon2_rust::Params::builder()
        .memory(Memory::kib(scheme.params.m_cost().into()))
        .passes(scheme.params.t_cost())
        .lanes(scheme.params.p_cost())
        .tag_len(TagLen::bytes(output_len as u64));
    Ok(argon2_rust::Argon2::new(algorithm, version, params.build()?))
}

#[cfg(all(test, feature = "fast-argon2"))]
mod tests {
    use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
    use proptest::prelude::*;

    use super::*;

    const ALGORITHMS: [Algorithm; 3] = [Algorithm::Argon2d, Algorithm::Argon2i, Algorithm::Argon2id];

    fn scheme(lanes: u32, memory: u32, passes: u32, data: &[u8]) -> Scheme {
        let mut params = ParamsBuilder::new();
        params.p_cost(lanes).m_cost(8 * lanes + memory).t_cost(passes);
        params.data(AssociatedData::new(data).unwrap());
        Scheme { algorithm: Algorithm::Argon2id, version: Version::V0x13, params: params.build().unwrap() }
    }

    /// RFC 9106, section 5.
    #[test]
    fn computes_the_test_vectors_of_rfc_9106() {
        for (algorithm, tag) in ALGORITHMS.into_iter().zip([
            "512b391b6f1162975371d30919734294f868e3be3984f3c1a13a4db9fabe4acb",
            "c814d9d1dc7f37aa13f0d77f2494bda1c8de6b016dd388d29952a4c4672b6ce8",
            "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659",
        ]) {
            let scheme = Scheme { algorithm, ..scheme(4, 0, 3, &[]) };
            let mut output = [0; 32];
            let argon2 = translate(&scheme, 32).unwrap();
            argon2.hash_into_with_ad(&[1; 32], &[2; 16], &[3; 8], &[4; 12], &mut output).unwrap();
            assert_eq!(hex::encode(output), tag, "{algorithm}");
        }
    }

    proptest! {
        /// Reuses the memory of earlier hashes, as the service does.
        #[test]
        fn computes_the_same_as_the_crate_argon2(
            cases in prop::collection::vec((
                (prop::sample::select(&ALGORITHMS), prop::bool::ANY),
                (1_u32..=8, 0_u32..=600, 1_u32..=4),
                prop::collection::vec(any::<u8>(), 0..=1024),
                prop::collection::vec(any::<u8>(), 8..=48),
                prop::collection::vec(any::<u8>(), 0..=32),
                4_usize..=200,
            ), 1..4),
        ) {
            let mut memory = Memory::default();
            for ((algorithm, is_old), (lanes, kib, passes), password, salt, data, length) in cases {
                let version = if is_old { Version::V0x10 } else { Version::V0x13 };
                let scheme = Scheme { algorithm, version, ..scheme(lanes, kib, passes, &data) };
                let mut output = vec![0; length];
                let mut expected = vec![0; length];
                memory.hash(&scheme, &password, &salt, &mut output).unwrap();
                let argon2 = Argon2::new(algorithm, version, scheme.params.clone());
                argon2.hash_password_into(&password, &salt, &mut expected).unwrap();
                prop_assert_eq!(output, expected);
            }
        }
    }
}
