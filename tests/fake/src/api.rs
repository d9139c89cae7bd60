//! The REST API: a person, companies and projects, with the rules for tokens and companies that all of Procore's API has.

use serde_json::{Value, json};

use crate::bearer;
use crate::bulk;
use crate::environment::Environment;
use crate::ledger::Grant;
use crate::projects::Project;
use crate::reply::Reply;
use crate::request::Request;
use crate::request_log::Commit;
use crate::world::{Handled, World, not_found};

/// Answers an API call. Each call counts against the rate limit, also one that fails.
pub(crate) fn call(world: &mut World, environment: Environment, request: &Request) -> Handled {
    let grant = bearer::accept(world, environment, request).map(|row| world.ledger.row(row).grant);
    let caller = (environment, grant.as_ref().ok().map(|grant| grant.app));
    let now = world.now_ms();
    let standing = world.rates.count(caller, world.policy.rate_limit, now);
    let reply = match grant {
        _ if standing.exceeded => Reply::too_many_requests(None, None),
        Ok(grant) => route(world, grant, request).unwrap_or_else(|refusal| refusal),
        Err(refusal) => refusal,
    };
    let commit = (200..300)
        .contains(&reply.status)
        .then_some(Commit::Execution);
    Handled {
        reply: standing.mark(reply),
        commit,
    }
}

type Answered = Result<Reply, Reply>;

fn route(world: &mut World, grant: Grant, request: &Request) -> Answered {
    let path: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    let ["rest", "v1.0", resource @ ..] = path.as_slice() else {
        return Err(not_found());
    };
    match (request.method.as_str(), resource) {
        ("GET", ["me"]) => {
            company_unless_exempt(world, grant, request)?;
            me(world, grant)
        }
        ("GET", ["companies"]) => {
            company_unless_exempt(world, grant, request)?;
            Ok(companies(world, grant))
        }
        ("POST" | "PUT", ["bulk"]) => {
            company(world, grant, request)?;
            Ok(bulk::uploaded(request))
        }
        ("GET", ["bulk", size]) => {
            company(world, grant, request)?;
            bulk::download(size).ok_or_else(not_found)
        }
        ("GET", ["projects"]) => list_projects(world, grant, company(world, grant, request)?),
        ("POST", ["projects"]) => {
            create_project(world, grant, company(world, grant, request)?, request)
        }
        (method @ ("GET" | "PATCH" | "DELETE"), ["projects", id]) => one_project(
            world,
            grant,
            company(world, grant, request)?,
            method,
            id,
            request,
        ),
        _ => Err(not_found()),
    }
}

/// Lets user tokens through without a company; a service account needs one everywhere.
fn company_unless_exempt(world: &World, grant: Grant, request: &Request) -> Result<(), Reply> {
    match grant.user {
        Some(_) => Ok(()),
        None => company(world, grant, request).map(drop),
    }
}

/// Returns the company of the call, if the app is connected to it and the person may see it.
fn company(world: &World, grant: Grant, request: &Request) -> Result<u64, Reply> {
    let Some(header) = request.header("procore-company-id") else {
        return Err(errors(
            world.policy.missing_company_status,
            "Missing Procore-Company-Id header!",
        ));
    };
    let id: u64 = header
        .trim()
        .parse()
        .map_err(|_| errors(400, "Invalid Procore-Company-Id header!"))?;
    if !world.registry.app(grant.app).companies.contains(&id) {
        return Err(errors(403, "App is not connected to this company."));
    }
    match grant.user.and_then(|user| world.registry.user(user)) {
        Some(user) if !user.companies.contains(&id) => {
            Err(errors(403, "You do not have access to this company."))
        }
        _ => Ok(id),
    }
}

fn errors(status: u16, text: &str) -> Reply {
    Reply::json(status, &json!({"errors": [text]}))
}

fn me(world: &World, grant: Grant) -> Answered {
    let app = world.registry.app(grant.app);
    match grant.user {
        None => Ok(Reply::json(
            200,
            &json!({"id": 700, "login": format!("{}@dmsa.example", app.client_id), "name": "Service Account"}),
        )),
        Some(id) => {
            let user = world.registry.user(id).ok_or_else(not_found)?;
            Ok(Reply::json(
                200,
                &json!({"id": user.id, "login": user.login, "name": user.name}),
            ))
        }
    }
}

fn companies(world: &World, grant: Grant) -> Reply {
    let user = grant.user.and_then(|id| world.registry.user(id));
    let seen = world
        .registry
        .app(grant.app)
        .companies
        .iter()
        .filter(|id| user.is_none_or(|user| user.companies.contains(id)));
    let list: Vec<Value> = seen
        .map(|id| json!({"id": id, "name": format!("Company {id}"), "is_active": true}))
        .collect();
    Reply::json(200, &Value::Array(list))
}

fn permitted(world: &World, grant: Grant, project: u64) -> bool {
    let account = world.registry.app(grant.app).service_account.as_ref();
    let projects = account.and_then(|account| account.permitted_projects.as_ref());
    grant.user.is_some() || projects.is_none_or(|projects| projects.contains(&project))
}

fn show(project: &Project) -> Value {
    json!({"id": project.id, "name": project.name, "company": {"id": project.company}})
}

fn list_projects(world: &World, grant: Grant, company: u64) -> Answered {
    let all = world.projects.of(grant.environment, company);
    Ok(Reply::json(
        200,
        &all.filter(|project| permitted(world, grant, project.id))
            .map(show)
            .collect(),
    ))
}

fn create_project(world: &mut World, grant: Grant, company: u64, request: &Request) -> Answered {
    let name = project_name(request)?;
    Ok(Reply::json(
        201,
        &show(world.projects.create(grant.environment, company, &name)),
    ))
}

fn one_project(
    world: &mut World,
    grant: Grant,
    company: u64,
    method: &str,
    id: &str,
    request: &Request,
) -> Answered {
    let id: u64 = id.parse().map_err(|_| not_found())?;
    let allowed = permitted(world, grant, id);
    let project = world
        .projects
        .find_mut(grant.environment, company, id)
        .ok_or_else(not_found)?;
    if !allowed {
        return Err(errors(
            403,
            "You do not have permission to access this project.",
        ));
    }
    match method {
        "PATCH" => {
            project.name = project_name(request)?;
            Ok(Reply::json(200, &show(project)))
        }
        "DELETE" => {
            world.projects.delete(id);
            Ok(Reply::empty(204))
        }
        _ => Ok(Reply::json(200, &show(project))),
    }
}

/// Reads `{"project": {"name": "…"}}`.
fn project_name(request: &Request) -> Result<String, Reply> {
    let body: Value = serde_json::from_slice(&request.body)
        .map_err(|_| errors(400, "The request body is not valid JSON."))?;
    match body["project"]["name"].as_str() {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(Reply::json(
            422,
            &json!({"errors": {"name": ["can't be blank"]}}),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use crate::environment::{CredentialPair, Place};
    use crate::policy::Options;
    use crate::registry::ServiceAccount;
    use crate::token_endpoint::Issuing;

    const SANDBOX: Environment = Environment::Sandbox;

    fn token(world: &mut World, user: Option<u64>) -> String {
        let client_id = Options::demo_client_id(CredentialPair::Sandbox);
        let app = world.registry.find(SANDBOX, client_id).unwrap();
        let grant = Grant {
            environment: SANDBOX,
            app,
            user,
        };
        let row = world
            .ledger
            .issue(&mut world.mint, &world.policy, grant, false, 0);
        world.ledger.row(row).access_token().to_owned()
    }

    fn status(world: &mut World, token: &str, path: &str, company: Option<&str>) -> u16 {
        let mut request = Request::to(Place::Api(SANDBOX), "GET", path)
            .with_header("authorization", &format!("Bearer {token}"));
        if let Some(company) = company {
            request = request.with_header("procore-company-id", company);
        }
        world.handle(&request, Issuing::Honest).reply.status
    }

    #[test]
    fn only_user_tokens_may_leave_out_the_company_and_only_for_me_and_companies() {
        let mut world = World::demo(&VirtualClock::at(0));
        let (user, service) = (
            token(&mut world, Some(Options::DEMO_USER)),
            token(&mut world, None),
        );
        for path in ["/rest/v1.0/me", "/rest/v1.0/companies"] {
            assert_eq!(status(&mut world, &user, path, None), 200);
            assert_eq!(status(&mut world, &service, path, None), 400);
            assert_eq!(status(&mut world, &service, path, Some("4001")), 200);
        }
        assert_eq!(status(&mut world, &user, "/rest/v1.0/projects", None), 400);
        assert_eq!(
            status(&mut world, &user, "/rest/v1.0/projects", Some("many")),
            400
        );
        world.policy.missing_company_status = 403;
        assert_eq!(status(&mut world, &user, "/rest/v1.0/projects", None), 403);
    }

    #[test]
    fn a_service_account_sees_the_projects_permitted_to_it() {
        let mut world = World::demo(&VirtualClock::at(0));
        let (user, service) = (
            token(&mut world, Some(Options::DEMO_USER)),
            token(&mut world, None),
        );
        let [open, closed] =
            ["open", "closed"].map(|name| world.projects.create(SANDBOX, 4001, name).id);
        let client_id = Options::demo_client_id(CredentialPair::Sandbox);
        let app = world.registry.find(SANDBOX, client_id).unwrap();
        let permitted_projects = Some([open].into());
        world.registry.app_mut(app).service_account = Some(ServiceAccount { permitted_projects });
        let mut get = |token: &str, id: u64| {
            status(
                &mut world,
                token,
                &format!("/rest/v1.0/projects/{id}"),
                Some("4001"),
            )
        };
        assert_eq!((get(&service, open), get(&service, closed)), (200, 403));
        assert_eq!((get(&user, closed), get(&user, 1)), (200, 404));
    }
}
