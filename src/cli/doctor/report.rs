use std::process::ExitCode;

use serde::Serialize;

/// How bad something is, from well to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    /// Worth knowing.
    Note,
    /// Works, and should be otherwise.
    Warning,
    /// Does not work.
    Error,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What was found about one thing.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) status: Status,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), fix: None }
    }

    pub(super) fn note(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: Status::Note, found: found.into(), fix: Some(fix.into()) }
    }

    pub(super) fn warning(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: Status::Warning, found: found.into(), fix: Some(fix.into()) }
    }

    pub(super) fn error(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: Status::Error, found: found.into(), fix: Some(fix.into()) }
    }
}

/// The URLs to use, with `$PASSWORD` in place of the password.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Urls {
    /// `DATABASE_URL` of the service.
    pub(super) service: Option<String>,
    /// `DATABASE_URL` of the diesel CLI, past a pooler and as libpq spells it.
    pub(super) diesel_cli: Option<String>,
}

/// The page.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) urls: Urls,
}

impl Report {
    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// The worst that was found.
    pub(super) fn status(&self) -> Status {
        self.findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok)
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.status() {
            Status::Ok | Status::Note => 0,
            Status::Warning => 1,
            Status::Error => 2,
        })
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({ "status": self.status(), "findings": self.findings, "urls": self.urls })
    }

    pub(super) fn text(&self) -> String {
        let width = self.findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
        // Status, name and what was found in columns; the fix and further lines below the last one.
        let below = format!("\n{:indent$}", "", indent = 7 + 2 + width + 2);
        let mut text = String::new();
        for Finding { name, status, found, fix } in &self.findings {
            text += &format!("{:7}  {name:width$}  {}\n", status.as_str(), found.replace('\n', &below));
            if let Some(fix) = fix {
                text += &format!("{}fix: {}\n", &below[1..], fix.replace('\n', &format!("{below}     ")));
            }
        }
        for (whom, url) in [("the service", &self.urls.service), ("the diesel CLI", &self.urls.diesel_cli)] {
            if let Some(url) = url {
                text += &format!("\nfor {whom}:\n  export DATABASE_URL=\"{url}\"\n");
            }
        }
        if text.contains("$PASSWORD") {
            text += "\n$PASSWORD stands for the password, which is not shown; special characters in it are written %40 for @, \
                     %2F for /, ...\n";
        }
        text + &format!("\nthe worst of it: {}\n", self.status().as_str())
    }
}
