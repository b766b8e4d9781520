use clap::ValueEnum;

/// The attribute `SameSite` of a cookie.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum SameSite {
    /// Sent from pages of the service's own site, and when one follows a link to it
    Lax,
    /// Sent from pages of the service's own site only
    Strict,
    /// Sent from pages of other sites, too
    None,
}

impl SameSite {
    /// Returns the attribute's value.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::Strict => "Strict",
            Self::None => "None",
        }
    }
}
