//! The one list of endpoints: routes, document, function files, `vercel.json` and the README's table are made from it. A new
//! one is a file here and a line below.

use super::access::Access;
use super::endpoint::{Endpoint, Function};

macro_rules! endpoints {
    ($($verb:ident)*) => {
        $(
            #[doc = concat!("The endpoint `", stringify!($verb), "`.")]
            pub mod $verb;
        )*

        /// Every endpoint.
        pub static ENDPOINTS: &[&Endpoint] = &[$(&$verb::ENDPOINT),*];
    };
}

endpoints! {
    create_item
    get_item
    reserve
    confirm
    cancel
    return_units
    expire
    get_reservation
    get_ledger
    audit
    health
    openapi
    docs
    docs_file
}

/// The endpoints that share a function where the plan's functions are few.
pub fn shared() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().copied().filter(|endpoint| endpoint.function == Function::Shared)
}

/// The methods that some endpoint answers at this path, for the `Allow` field; empty when none does.
pub fn allowed_methods(path: &str, access: &Access) -> Vec<&'static str> {
    let here = ENDPOINTS.iter().filter(|endpoint| endpoint.matches(path));
    here.flat_map(|endpoint| endpoint.allowed_methods(access)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_matches_its_own_endpoint_alone() {
        for (path, operation) in [
            ("/v1/items", "create_item"),
            ("/v1/items/7", "get_item"),
            ("/v1/items/7/ledger", "get_ledger"),
            ("/v1/reservations/7/confirm", "confirm"),
            ("/docs", "docs"),
        ] {
            let matching: Vec<_> = ENDPOINTS.iter().filter(|one| one.matches(path)).map(|one| one.operation).collect();
            assert_eq!(matching, [operation], "{path}");
        }
    }

    #[test]
    fn a_path_of_another_shape_matches_nothing() {
        for path in ["/", "", "/v1", "/v1/items/", "/v1/items//ledger", "/v1/items/7/ledger/", "/V1/items"] {
            assert_eq!(allowed_methods(path, &Access::default()), Vec::<&str>::new(), "{path}");
        }
    }

    #[test]
    fn get_allows_head_where_it_changes_nothing() {
        let (open, with_secret) = (Access::default(), Access::new("", "secret"));
        assert_eq!(allowed_methods("/v1/items/7", &open), ["GET", "HEAD"]);
        assert_eq!(allowed_methods("/v1/items", &open), ["POST"]);
        assert_eq!(allowed_methods("/v1/maintenance/expire-reservations", &open), ["POST"]);
        assert_eq!(allowed_methods("/v1/maintenance/expire-reservations", &with_secret), ["POST", "GET"]);
    }
}
