use uuid::Uuid;

use super::Todo;

/// The todos that a write addresses, each once.
#[derive(Clone, Debug, Default)]
pub struct TodoTargets {
    /// Identifiers, in the order given.
    pub(super) ids: Vec<Uuid>,
    /// Version that the todo of the same index must have; `None` for any.
    pub(super) expected_versions: Vec<Option<i64>>,
}

impl TodoTargets {
    /// Adds a todo unless it is there. Returns false if it is there with another expected version.
    pub fn insert(&mut self, id: Uuid, expected_version: Option<i64>) -> bool {
        if self.ids.contains(&id) {
            return self.expected_version(id) == expected_version;
        }
        self.ids.push(id);
        self.expected_versions.push(expected_version);
        true
    }

    /// Returns the identifiers, in the order given.
    pub fn ids(&self) -> &[Uuid] {
        &self.ids
    }

    /// Returns the version that a todo must have; `None` for any.
    pub(super) fn expected_version(&self, id: Uuid) -> Option<i64> {
        self.iter().find(|target| target.0 == id).and_then(|target| target.1)
    }

    /// Returns the targets other than `todos`.
    pub(super) fn without(&self, todos: &[Todo]) -> Self {
        let left = self.iter().filter(|(id, _)| todos.iter().all(|todo| todo.id != *id));
        let (ids, expected_versions) = left.unzip();
        Self { ids, expected_versions }
    }

    fn iter(&self) -> impl Iterator<Item = (Uuid, Option<i64>)> {
        self.ids.iter().copied().zip(self.expected_versions.iter().copied())
    }
}
