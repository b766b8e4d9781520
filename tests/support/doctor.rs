use std::process::Output;

use super::Service;

/// The output of `todo-api doctor`.
pub(crate) struct Page {
    pub(crate) code: i32,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn of(url: &str, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::TempDir::new().unwrap();
        let mut command = Service::command();
        command.env("TODO_DATA_DIR", dir.path()).envs(settings.iter().copied()).args(["doctor", url]);
        Self::from(&Service::run(&mut command), url)
    }

    /// Parses an output, and asserts that it does not contain the URL's password.
    pub(crate) fn from(output: &Output, url: &str) -> Self {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let said = String::from_utf8(output.stderr.clone()).unwrap();
        let login = url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(login, _)| login);
        if let Some((_, password)) = login.and_then(|login| login.split_once(':')) {
            assert!(!text.contains(password) && !said.contains(password), "{text}\n{said}");
        }
        assert!(text.contains("overall: "), "{text}\n{said}");
        Self { code: output.status.code().unwrap(), text }
    }

    /// Returns the lines of a finding.
    #[track_caller]
    pub(crate) fn finding(&self, status: &str, name: &str) -> String {
        let start = format!("{status:7}  {name}  ");
        let found = self
            .text
            .lines()
            .position(|line| line.starts_with(&start) || line.starts_with(&format!("{status:7}  {name} ")));
        let lines: Vec<_> = self.text.lines().collect();
        let first = found.unwrap_or_else(|| panic!("no {status} on {name}:\n{}", self.text));
        let rest = lines[first + 1..].iter().take_while(|line| line.starts_with("         "));
        [lines[first]].into_iter().chain(rest.copied()).collect::<Vec<_>>().join("\n")
    }

    #[track_caller]
    pub(crate) fn assert(&self, code: i32, status: &str, name: &str, parts: &[&str]) {
        let finding = self.finding(status, name);
        for part in parts {
            assert!(finding.contains(part), "{part}: {finding}");
        }
        assert_eq!(self.code, code, "{}", self.text);
    }
}
