use std::fmt::Write;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// Severity of a finding, from good to bad.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    #[default]
    #[serde(rename = "ok")]
    Fine,
    Note,
    /// Works, but should be changed.
    Warning,
    Error,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The outcome of a check.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Finding {
    pub(super) name: String,
    #[serde(rename = "status")]
    pub(super) severity: Severity,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Finding {
    /// Formats the finding in columns, with the fix and further lines below the last one.
    fn text(&self, width: usize) -> String {
        let margin = format!("\n{:indent$}", "", indent = 7 + 2 + width + 2);
        let fix = self.fix.as_ref().map(|fix| fix.replace('\n', &format!("{margin}     ")));
        let fix = fix.map(|fix| format!("{margin}fix: {fix}")).unwrap_or_default();
        let found = self.found.replace('\n', &margin);
        format!("{:7}  {:width$}  {found}{fix}\n", self.severity.as_str(), self.name)
    }
}

/// The findings of one run, and the URLs to use, with `$PASSWORD` in place of the password.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    /// `DATABASE_URL` of the service.
    pub(super) service_url: Option<String>,
    /// `DATABASE_URL` of the diesel CLI: without a pooler and in libpq's spelling.
    pub(super) diesel_cli_url: Option<String>,
}

impl Report {
    /// Adds a finding; an empty fix is none.
    pub(super) fn add(
        &mut self,
        name: &str,
        severity: Severity,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let fix = Some(fix.into()).filter(|fix| !fix.is_empty());
        self.findings.push(Finding { name: name.to_owned(), severity, found: found.into(), fix });
    }

    fn severity(&self) -> Severity {
        self.findings.iter().map(|finding| finding.severity).max().unwrap_or_default()
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.severity() {
            Severity::Fine | Severity::Note => 0,
            Severity::Warning => 1,
            Severity::Error => 2,
        })
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let urls = serde_json::json!({ "service": self.service_url, "dieselCli": self.diesel_cli_url });
        serde_json::json!({ "status": self.severity(), "findings": self.findings, "urls": urls })
    }

    pub(super) fn text(&self) -> String {
        let width = self.findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
        let mut text: String = self.findings.iter().map(|finding| finding.text(width)).collect();
        for (user, url) in [("the service", &self.service_url), ("the diesel CLI", &self.diesel_cli_url)] {
            if let Some(url) = url {
                let _ = write!(text, "\nfor {user}:\n  export DATABASE_URL=\"{url}\"\n");
            }
        }
        if text.contains("$PASSWORD") {
            text += "\n$PASSWORD stands for the password, which is not shown; in it, @ is written %40, / %2F, ...\n";
        }
        text + &format!("\noverall: {}\n", self.severity().as_str())
    }
}
