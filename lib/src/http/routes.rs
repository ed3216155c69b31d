//! The route table: what `vercel.json`, the function files and the OpenAPI document must agree with.

/// One endpoint's place in the API.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The verb: the operation's id, the function file, the module, the `.sql`.
    pub operation: &'static str,
    /// Methods it answers, the usual one first. Where GET is the only one it answers HEAD too.
    pub methods: &'static [&'static str],
    /// Its path; `{name}` stands for one segment.
    pub path: &'static str,
    /// Who may call it.
    pub access: AccessRule,
}

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessRule {
    /// Anybody.
    Open,
    /// Whoever has an API key, where there are any.
    ApiKey,
    /// Whoever has an API key or the cron secret, where there are any.
    Maintenance,
}

const fn route(
    operation: &'static str,
    methods: &'static [&'static str],
    path: &'static str,
    access: AccessRule,
) -> Route {
    Route { operation, methods, path, access }
}

macro_rules! routes {
    ($($(#[$doc:meta])* $name:ident = $operation:literal, $methods:expr, $path:literal, $access:ident;)*) => {
        $($(#[$doc])* pub const $name: Route = route($operation, $methods, $path, AccessRule::$access);)*

        /// Every route.
        pub const ROUTES: &[&Route] = &[$(&$name),*];
    };
}

routes! {
    /// Create an item.
    CREATE_ITEM = "create_item", &["POST"], "/v1/items", ApiKey;
    /// Read one item.
    GET_ITEM = "get_item", &["GET"], "/v1/items/{id}", ApiKey;
    /// Hold units.
    RESERVE = "reserve", &["POST"], "/v1/reservations", ApiKey;
    /// Deduct held units for good.
    CONFIRM = "confirm", &["POST"], "/v1/reservations/{id}/confirm", ApiKey;
    /// Give held units back.
    CANCEL = "cancel", &["POST"], "/v1/reservations/{id}/cancel", ApiKey;
    /// Record lapsed holds as EXPIRED. The platform's cron calls GET, and only where it has a secret.
    EXPIRE = "expire", &["POST", "GET"], "/v1/maintenance/expire-reservations", Maintenance;
    /// Read one reservation.
    GET_RESERVATION = "get_reservation", &["GET"], "/v1/reservations/{id}", ApiKey;
    /// Read one item's history.
    GET_LEDGER = "get_ledger", &["GET"], "/v1/items/{id}/ledger", ApiKey;
    /// Compare one item's books.
    AUDIT = "audit", &["GET"], "/v1/items/{id}/audit", ApiKey;
    /// Ask whether the service and its database are up.
    HEALTH = "health", &["GET"], "/v1/health", Open;
    /// The OpenAPI document.
    OPENAPI = "openapi", &["GET"], "/openapi.json", Open;
    /// Swagger UI.
    DOCS = "docs", &["GET"], "/docs", Open;
}

impl Route {
    /// Whether a path has this route's shape.
    pub fn matches(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        let fits = self.path.split('/').all(|pattern| {
            segments.next().is_some_and(|segment| pattern == segment || pattern.starts_with('{') && !segment.is_empty())
        });
        fits && segments.next().is_none()
    }
}

/// The methods that some route answers at this path, for the `Allow` field; empty when none does.
pub fn allowed_methods(path: &str) -> Vec<&'static str> {
    let mut methods: Vec<&'static str> = Vec::new();
    for route in ROUTES.iter().filter(|route| route.matches(path)) {
        methods.extend(route.methods);
        // Where GET changes something, HEAD would too.
        if route.methods == ["GET"] {
            methods.push("HEAD");
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_matches_its_own_route_alone() {
        for (path, operation) in [
            ("/v1/items", "create_item"),
            ("/v1/items/7", "get_item"),
            ("/v1/items/7/ledger", "get_ledger"),
            ("/v1/reservations/7/confirm", "confirm"),
            ("/docs", "docs"),
        ] {
            let matching: Vec<_> = ROUTES.iter().filter(|route| route.matches(path)).map(|r| r.operation).collect();
            assert_eq!(matching, [operation], "{path}");
        }
    }

    #[test]
    fn a_path_of_another_shape_matches_nothing() {
        for path in ["/", "", "/v1", "/v1/items/", "/v1/items//ledger", "/v1/items/7/ledger/", "/V1/items"] {
            assert_eq!(allowed_methods(path), Vec::<&str>::new(), "{path}");
        }
    }

    #[test]
    fn get_allows_head() {
        assert_eq!(allowed_methods("/v1/items/7"), ["GET", "HEAD"]);
        assert_eq!(allowed_methods("/v1/items"), ["POST"]);
        assert_eq!(allowed_methods("/v1/maintenance/expire-reservations"), ["POST", "GET"]);
    }
}
