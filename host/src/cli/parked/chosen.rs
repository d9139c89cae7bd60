//! Which of the parked requests are meant.

use clap::Args;
use procore_auth_host::ParkedRequest;

use crate::cli::failure::Failure;
use crate::cli::open::Open;

/// One request, those of an order key, or all: whatever their state.
#[derive(Args)]
#[group(multiple = false)]
pub(in crate::cli) struct Chosen {
    /// The request's id
    id: Option<String>,
    /// Those with this order key, whatever their state
    #[arg(long, value_name = "KEY")]
    order_key: Option<String>,
    /// All, whatever their state
    #[arg(long)]
    all: bool,
}

impl Chosen {
    /// Returns whether nothing is said.
    pub(super) fn is_nothing(&self) -> bool {
        self.id.is_none() && self.order_key.is_none() && !self.all
    }

    /// Returns the one id that is named.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Lists the requests that are meant, in their order.
    pub(super) async fn list(&self, open: &Open) -> Result<Vec<ParkedRequest>, Failure> {
        let mut requests = open.connection.parked().await?;
        requests.retain(|request| self.means(request));
        Ok(requests)
    }

    fn means(&self, request: &ParkedRequest) -> bool {
        let is_of_key = self.order_key.is_some() && self.order_key == request.order_key;
        self.all || is_of_key || self.id.as_ref() == Some(&request.id)
    }
}
