//! A small reservation service in memory, for two uses: correct, it shows that the harness raises no false alarm;
//! with a fault planted, that the harness can fail. It listens on the loopback interface only.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use url::Url;
use uuid::Uuid;

use crate::history::{Reason, Status};

mod fault;
mod odd;
mod shape;
mod store;

pub use fault::Fault;
pub use odd::{Odd, OddAnswer};
pub use shape::Shape;
use store::{Hold, Store};

/// How long a faulty operation thinks between looking and acting.
const THOUGHT: Duration = Duration::from_millis(2);
const TTL: Duration = Duration::from_secs(600);

/// A control that runs until it is dropped.
pub struct Control {
    /// Its instances.
    pub urls: Vec<Url>,
    servers: Vec<JoinHandle<()>>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

#[derive(Clone)]
struct Service {
    store: Arc<Mutex<Store>>,
    /// The mutex of this instance alone.
    own: Arc<tokio::sync::Mutex<()>>,
    fault: Option<Fault>,
    shape: Shape,
    calls: Arc<AtomicU64>,
}

impl Control {
    /// Starts instances that share one state, in the contract's own words.
    pub async fn start(instances: usize, fault: Option<Fault>) -> std::io::Result<Self> {
        Control::dressed(instances, fault, Shape::default()).await
    }

    /// Starts instances that share one state, in these clothes.
    pub async fn dressed(instances: usize, fault: Option<Fault>, shape: Shape) -> std::io::Result<Self> {
        Control::answering(instances, fault, shape, None).await
    }

    /// The same, of which one call is answered otherwise.
    pub async fn answering(
        instances: usize,
        fault: Option<Fault>,
        shape: Shape,
        odd: Option<Arc<Odd>>,
    ) -> std::io::Result<Self> {
        let store = Arc::new(Mutex::new(Store::default()));
        let calls = Arc::new(AtomicU64::new(0));
        let mut control = Control { urls: Vec::new(), servers: Vec::new() };
        for _ in 0..instances {
            let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
            let url = Url::parse(&format!("http://{}", listener.local_addr()?)).map_err(std::io::Error::other)?;
            let service =
                Service { store: Arc::clone(&store), own: Arc::default(), fault, shape, calls: Arc::clone(&calls) };
            if shape.sweeps_itself && control.servers.is_empty() {
                control.servers.push(tokio::spawn(sweep_for_ever(Arc::clone(&store))));
            }
            control.urls.push(url);
            let router = router(service).layer(axum::middleware::from_fn_with_state(odd.clone(), odd::answer));
            control.servers.push(tokio::spawn(async move {
                let listener = listener.tap_io(|stream| {
                    // Over HTTP/2 an answer is more than one write; waiting to fill a packet only delays it.
                    let _ = stream.set_nodelay(true);
                });
                // It ends when the control is dropped, and has nobody to tell of an error.
                let _ = axum::serve(listener, router).await;
            }));
        }
        Ok(control)
    }
}

async fn sweep_for_ever(store: Arc<Mutex<Store>>) {
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        store.lock().unwrap_or_else(PoisonError::into_inner).lapse_all(Instant::now());
    }
}

fn router(service: Service) -> Router {
    Router::new()
        .route("/v1/items", post(create_item))
        .route("/v1/items/{id}", get(get_item))
        .route("/v1/reservations", post(reserve))
        .route("/v1/reservations/{id}", get(get_reservation))
        .route("/v1/reservations/{id}/confirm", post(confirm))
        .route("/v1/reservations/{id}/cancel", post(cancel))
        .route("/v1/maintenance/expire-reservations", post(expire))
        .layer(axum::middleware::from_fn_with_state(service.shape, shape::dress))
        .with_state(service)
}

impl Service {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lapse(&self, store: &mut Store, item: Uuid) {
        if !self.shape.lapses_by_sweep {
            store.lapse(item, Instant::now());
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    async fn think(&self, faults: &[Fault]) {
        if self.fault.is_some_and(|fault| faults.contains(&fault)) {
            tokio::time::sleep(THOUGHT).await;
        }
    }
}

async fn create_item(State(service): State<Service>, Json(body): Json<Value>) -> Response {
    let name = body["name"].as_str().unwrap_or_default().to_owned();
    let Some(total) = body["initial_quantity"].as_i64().filter(|total| (0..=1_000_000_000).contains(total)) else {
        return refused(Reason::Invalid);
    };
    let id = service.store().create(name, total);
    (StatusCode::CREATED, Json(item(&service, id))).into_response()
}

async fn get_item(State(service): State<Service>, Path(id): Path<Uuid>) -> Response {
    match item(&service, id) {
        Value::Null if !service.has(Fault::UnknownIsOk) => refused(Reason::NotFound),
        item => Json(item).into_response(),
    }
}

fn item(service: &Service, id: Uuid) -> Value {
    let mut store = service.store();
    service.lapse(&mut store, id);
    let Some(item) = store.items.get_mut(&id) else { return Value::Null };
    let (mut held, mut confirmed) = (item.held, item.confirmed);
    if service.has(Fault::StaleAvailability) {
        let cached = item.cached.filter(|(at, ..)| at.elapsed() < Duration::from_millis(60));
        (_, held, confirmed) = cached.unwrap_or((Instant::now(), held, confirmed));
        item.cached = cached.or(Some((Instant::now(), held, confirmed)));
    }
    json!({
        "id": id, "name": item.name, "version": item.version, "total_quantity": item.total,
        "available_quantity": item.total - held - confirmed, "held_quantity": held, "confirmed_quantity": confirmed,
    })
}

async fn reserve(State(service): State<Service>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let item = body["item_id"].as_str().and_then(|id| id.parse::<Uuid>().ok()).unwrap_or_default();
    let ttl = body["ttl_seconds"].as_f64().map_or(TTL, Duration::from_secs_f64);
    let customer = body["customer_id"].as_str().unwrap_or_default().to_owned();
    let asked = &body["quantity"];
    let cut_off = asked.as_f64().filter(|part| service.has(Fault::PartOfAUnit) && *part > 0.0).map(|part| part as i64);
    let Some(quantity) = cut_off.or_else(|| asked.as_i64().filter(|quantity| (1..=1_000_000).contains(quantity)))
    else {
        return refused(Reason::Invalid);
    };
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let key = key.filter(|_| !service.has(Fault::KeyIgnored));
    let own = service.has(Fault::MutexInMemory).then(|| service.own.clone().lock_owned());
    let _own = match own {
        Some(own) => Some(own.await),
        None => None,
    };
    let busy = service.has(Fault::BusyMeansNone).then(|| service.own.clone().try_lock_owned());
    if matches!(busy, Some(Err(_))) {
        return refused(Reason::InsufficientAvailability);
    }
    let (held, free, version) = {
        let mut store = service.store();
        if let Some(id) = key.as_ref().and_then(|key| store.keys.get(key).copied()) {
            let same = store.holds.get(&id).is_some_and(|hold| hold.quantity == quantity);
            drop(store);
            return if same { reservation(&service, id, StatusCode::CREATED) } else { refused(Reason::Invalid) };
        }
        service.lapse(&mut store, item);
        let Some(item) = store.items.get(&item) else { return refused(Reason::NotFound) };
        (item.held, item.total - item.held - item.confirmed, item.version)
    };
    let room = match service.fault {
        Some(Fault::OffByOne) => free + 1,
        Some(Fault::FalseRefusal) => free - 1,
        Some(Fault::OversellThenRepair) => i64::MAX,
        _ => free,
    };
    if quantity > room {
        if let (true, Some(item)) = (service.has(Fault::RefusedYetTaken), service.store().items.get_mut(&item)) {
            item.held += quantity;
        }
        return refused(Reason::InsufficientAvailability);
    }
    let thinks =
        [Fault::ReadModifyWrite, Fault::CheckThenTake, Fault::MutexInMemory, Fault::KeyRace, Fault::BusyMeansNone];
    service.think(&thinks).await;
    if service.shape.meet > 0 && !service.has(Fault::CheckThenTake) {
        tokio::time::sleep(THOUGHT / 2).await;
        if service.store().items.get(&item).is_some_and(|item| item.version != version) {
            return refused(Reason::Contention);
        }
    }
    let Some(id) = take(&service, item, customer, quantity, ttl, held, key) else {
        return refused(Reason::InsufficientAvailability);
    };
    if service.has(Fault::OversellThenRepair) && repaired(&service, item, id, quantity).await {
        return refused(Reason::InsufficientAvailability);
    }
    reservation(&service, id, StatusCode::CREATED)
}

/// Takes the units, unless the correct service finds them gone meanwhile, or taken under the same key.
fn take(
    service: &Service,
    item: Uuid,
    customer: String,
    quantity: i64,
    ttl: Duration,
    held: i64,
    key: Option<String>,
) -> Option<Uuid> {
    let mut store = service.store();
    if let Some(id) = key.as_ref().and_then(|key| store.keys.get(key).copied()).filter(|_| !service.has(Fault::KeyRace))
    {
        return Some(id);
    }
    let counters = store.items.get_mut(&item)?;
    match service.fault {
        Some(Fault::ReadModifyWrite) => counters.held = held + quantity,
        Some(Fault::CheckThenTake | Fault::MutexInMemory | Fault::OffByOne | Fault::OversellThenRepair) => {
            counters.held += quantity;
        }
        _ if counters.held + counters.confirmed + quantity > counters.total => return None,
        _ => counters.held += quantity,
    }
    let id = store.insert(item, customer, quantity, ttl);
    if let Some(key) = key {
        store.keys.insert(key, id);
    }
    if service.has(Fault::SuccessThenRollback) && service.calls.fetch_add(1, Ordering::Relaxed) % 17 == 16 {
        store.end(id, Status::Cancelled);
    }
    Some(id)
}

/// Notices that too much was taken, and gives this part back.
async fn repaired(service: &Service, item: Uuid, id: Uuid, quantity: i64) -> bool {
    let too_much = |store: &Store| store.items.get(&item).is_some_and(|item| item.held + item.confirmed > item.total);
    if !too_much(&service.store()) {
        return false;
    }
    tokio::time::sleep(4 * THOUGHT).await;
    let mut store = service.store();
    if let Some(item) = store.items.get_mut(&item) {
        item.held -= quantity;
        item.holds.retain(|hold| *hold != id);
    }
    store.pending.retain(|hold| *hold != id);
    store.holds.remove(&id);
    true
}

async fn get_reservation(State(service): State<Service>, Path(id): Path<Uuid>) -> Response {
    reservation(&service, id, StatusCode::OK)
}

async fn confirm(State(service): State<Service>, Path(id): Path<Uuid>, body: Bytes) -> Response {
    lapse_own(&service, id, service.has(Fault::ConfirmIgnoresExpiry));
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    if service.shape.reacquires && asked["if_expired"] == "reacquire" {
        service.store().confirm_lapsed(id);
    }
    let mut allowed = service.store().may_end(id, Status::Confirmed);
    let state_ignored = service.has(Fault::ConfirmIgnoresState) && allowed != Err(Reason::NotFound);
    let expiry_ignored = service.has(Fault::ConfirmIgnoresExpiry) && allowed == Err(Reason::ReservationExpired);
    if state_ignored || expiry_ignored {
        allowed = Ok(true);
    }
    let before = of(&mut service.store(), id).map(|(hold, item)| (hold.quantity, item.held, item.confirmed));
    service.think(&[Fault::DoubleDeduct, Fault::ConfirmLosesUpdates]).await;
    let answer = end(&service, id, Status::Confirmed, allowed, Fault::DoubleDeduct);
    if let (true, Ok(true), Some((quantity, held, confirmed)), Some((_, item))) =
        (service.has(Fault::ConfirmLosesUpdates), allowed, before, of(&mut service.store(), id))
    {
        (item.held, item.confirmed) = (held - quantity, confirmed + quantity);
    }
    answer
}

async fn cancel(State(service): State<Service>, Path(id): Path<Uuid>) -> Response {
    lapse_own(&service, id, false);
    let mut allowed = service.store().may_end(id, Status::Cancelled);
    if service.has(Fault::CancelAfterConfirm) && allowed == Err(Reason::ReservationConfirmed) {
        if let Some(item) = of(&mut service.store(), id) {
            item.1.confirmed -= item.0.quantity;
            item.1.held += item.0.quantity;
        }
        allowed = Ok(true);
    }
    service.think(&[Fault::DoubleRelease]).await;
    end(&service, id, Status::Cancelled, allowed, Fault::DoubleRelease)
}

/// Ends a hold if it may end, looking once more unless this fault forgets to.
fn end(service: &Service, id: Uuid, status: Status, allowed: Result<bool, Reason>, forgets: Fault) -> Response {
    {
        let mut store = service.store();
        let trusted = service.has(forgets)
            || service.has(Fault::CancelAfterConfirm)
            || service.has(Fault::ConfirmIgnoresState)
            || service.has(Fault::ConfirmIgnoresExpiry);
        let allowed = if trusted { allowed } else { store.may_end(id, status) };
        match allowed {
            Err(reason) => return refused(reason),
            Ok(false) if service.shape.repeats_refused => {
                let confirmed = status == Status::Confirmed;
                return refused(if confirmed { Reason::ReservationConfirmed } else { Reason::ReservationCancelled });
            }
            Ok(false) => {}
            Ok(true) => {
                store.end(id, status);
                if service.has(Fault::ReleaseNothing)
                    && status == Status::Cancelled
                    && let Some((hold, item)) = of(&mut store, id)
                {
                    item.held += hold.quantity;
                }
            }
        }
    }
    reservation(service, id, StatusCode::OK)
}

fn of(store: &mut Store, id: Uuid) -> Option<(&Hold, &mut store::Item)> {
    let hold = store.holds.get(&id)?;
    let item = store.items.get_mut(&hold.item)?;
    Some((hold, item))
}

fn lapse_own(service: &Service, id: Uuid, ignored: bool) {
    let mut store = service.store();
    if let Some(item) = store.holds.get(&id).map(|hold| hold.item).filter(|_| !ignored) {
        store.lapse(item, Instant::now());
    }
}

async fn expire(State(service): State<Service>) -> Response {
    let early = if service.has(Fault::SweepTooEarly) { Duration::from_millis(60) } else { Duration::ZERO };
    let due: Vec<Uuid> = {
        let mut store = service.store();
        let Store { pending, holds, .. } = &mut *store;
        pending.retain(|id| holds.get(id).is_some_and(|hold| hold.status == Status::Pending));
        let lapsed = |id: &&Uuid| holds.get(*id).is_some_and(|hold| hold.deadline <= Instant::now() + early);
        pending.iter().filter(lapsed).copied().collect()
    };
    service.think(&[Fault::SweepReleasesTwice]).await;
    let mut store = service.store();
    let mut expired = 0;
    for id in due {
        if service.has(Fault::SweepReleasesTwice) || store.may_end(id, Status::Expired) == Ok(true) {
            store.end(id, Status::Expired);
            expired += 1;
        }
    }
    Json(json!({ "expired_count": expired, "released_quantity": expired, "has_more": false })).into_response()
}

fn reservation(service: &Service, id: Uuid, status: StatusCode) -> Response {
    lapse_own(service, id, service.has(Fault::SweepReleasesTwice));
    let store = service.store();
    let Some(hold) = store.holds.get(&id) else { return refused(Reason::NotFound) };
    let body = json!({
        "id": hold.id, "item_id": hold.item, "customer_id": hold.customer, "quantity": hold.quantity,
        "status": hold.status, "created_at": stamp(hold.created), "expires_at": stamp(hold.expires),
    });
    (status, Json(body)).into_response()
}

fn stamp(instant: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(instant).to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

fn refused(reason: Reason) -> Response {
    let status = match reason {
        Reason::NotFound => StatusCode::NOT_FOUND,
        Reason::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::CONFLICT,
    };
    let code = match reason {
        Reason::NotFound => "reservation_not_found",
        Reason::Invalid => "validation_failed",
        other => other.word(),
    };
    (status, Json(json!({ "status": status.as_u16(), "code": code }))).into_response()
}
