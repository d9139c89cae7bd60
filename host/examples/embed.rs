//! Signs a service account in, and calls Procore with it.

use std::{env, error::Error, path::Path, sync::Arc};

use procore_auth_host::{
    ApiRequest, Connection, Environment, FileStore, Grant, HttpsClient, Outcome, Plugin, Secret,
    Settings,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::new(
        "robot".parse()?,
        Environment::Sandbox,
        env::var("PROCORE_CLIENT_ID")?,
        Secret::new(env::var("PROCORE_CLIENT_SECRET")?),
        Grant::ClientCredentials,
    );
    settings.company_id = env::var("PROCORE_COMPANY_ID")?.parse().ok();
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
