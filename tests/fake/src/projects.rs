//! The projects of the API.

use crate::environment::Environment;

/// Describes a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The project's id, unique in the server.
    pub id: u64,
    /// The environment that holds it.
    pub environment: Environment,
    /// The company that owns it.
    pub company: u64,
    /// Its name.
    pub name: String,
}

/// Holds all projects.
#[derive(Debug, Default)]
pub(crate) struct Projects {
    projects: Vec<Project>,
    created: u64,
}

impl Projects {
    pub(crate) fn create(
        &mut self,
        environment: Environment,
        company: u64,
        name: &str,
    ) -> &Project {
        self.created += 1;
        let project = Project {
            id: 9000 + self.created,
            environment,
            company,
            name: name.to_owned(),
        };
        let last = self.projects.len();
        self.projects.push(project);
        &self.projects[last]
    }

    pub(crate) fn all(&self) -> &[Project] {
        &self.projects
    }

    pub(crate) fn of(
        &self,
        environment: Environment,
        company: u64,
    ) -> impl Iterator<Item = &Project> {
        self.projects
            .iter()
            .filter(move |project| project.environment == environment && project.company == company)
    }

    pub(crate) fn find_mut(
        &mut self,
        environment: Environment,
        company: u64,
        id: u64,
    ) -> Option<&mut Project> {
        self.projects.iter_mut().find(|project| {
            project.id == id && project.environment == environment && project.company == company
        })
    }

    pub(crate) fn delete(&mut self, id: u64) {
        self.projects.retain(|project| project.id != id);
    }
}
