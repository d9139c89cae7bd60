//! Signs a service account in, and calls Procore with it.

use std::{env, error::Error, path::Path, sync::Arc};

use procore_auth_host::{
    ApiRequest, Connection, Environment, FileStore, Grant, HttpsClient, Outcome, Plugin, Policy,
    Secret, Settings,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = Settings {
        name: "robot".parse()?,
        environment: Environment::Sandbox,
        client_id: env::var("PROCORE_CLIENT_ID")?,
        client_secret: Secret::new(env::var("PROCORE_CLIENT_SECRET")?),
        grant: Grant::ClientCredentials,
        company_id: env::var("PROCORE_COMPANY_ID")?.parse().ok(),
        policy: Policy::default(),
    };
    let store = FileStore::open(Path::new("procore-state"), &settings.name)?;
    let connection = Connection::builder(&Plugin::bundled()?, settings)
        .http(Arc::new(HttpsClient::builder().build()?))
        .store(Arc::new(store))
        .build()?;
    // For an HTTP client of your own: `connection.access_token().await?`.
    let request = ApiRequest::get("/rest/v1.0/me");
    if let Outcome::Answered(response) = connection.send(request).await? {
        let body = String::from_utf8_lossy(&response.body);
        println!("{}: {body}", response.status);
    }
    Ok(())
}
