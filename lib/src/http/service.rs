//! What every endpoint works with.

use std::sync::{Arc, OnceLock};

use okapi::openapi3::OpenApi;

use super::access::Access;
use crate::inventory::Inventory;

/// An inventory, who may use it, and the document that says so.
#[derive(Clone)]
pub struct Service {
    pub(super) inventory: Inventory,
    pub(super) access: Arc<Access>,
    describe: fn(&Access) -> OpenApi,
    document: Arc<OnceLock<Vec<u8>>>,
}

impl Service {
    pub(super) fn with_document(inventory: Inventory, access: Access, describe: fn(&Access) -> OpenApi) -> Self {
        if access.is_open() {
            tracing::warn!("API_KEYS is not set: anybody who can reach this service may use it");
        }
        Self { inventory, access: Arc::new(access), describe, document: Arc::default() }
    }

    /// The OpenAPI document as JSON, made when it is first asked for.
    pub(super) fn document(&self) -> &[u8] {
        self.document.get_or_init(|| serde_json::to_vec(&(self.describe)(&self.access)).unwrap_or_default())
    }
}
