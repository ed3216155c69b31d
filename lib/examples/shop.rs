//! A shop without HTTP: an item of five, a hold, a confirmation, a refusal; then an order that is paid and confirmed in one
//! transaction of the shop's own.
//!
//! `DATABASE_URL=postgres://… cargo run -p stockhold --example shop`

use sqlx::{Connection, PgConnection};
use stockhold::{Config, Confirm, ConfirmOptions, CreateItem, Inventory, NewItem, NewReservation, Reserve, confirm_in};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_env()?;
    let inventory = Inventory::connect(&config).await?;
    inventory.migrate().await?;

    let new_item = NewItem::new("Ticket".parse()?, 5.try_into()?);
    let CreateItem::Created(item) = inventory.create_item(new_item, None).await? else {
        anyhow::bail!("without a key, every call creates an item");
    };

    let mut held = Vec::new();
    for quantity in [3, 3, 1] {
        let new_reservation = NewReservation::new(item.id, "customer-7".parse()?, quantity.try_into()?);
        match inventory.reserve(new_reservation.for_seconds(60.0.try_into()?), None).await? {
            Reserve::Reserved(reservation) => {
                println!("held {} until {}", reservation.quantity, reservation.expires_at);
                held.push(reservation.id);
            }
            refusal => println!("refused: {refusal:?}"),
        }
    }
    let [first, second] = held[..] else { anyhow::bail!("two of the three fit") };
    println!("{:?}", inventory.confirm(first, ConfirmOptions::default()).await?);

    let mut connection = PgConnection::connect(&config.database_url).await?;
    let mut order = connection.begin().await?;
    sqlx::raw_sql("create temporary table orders (reservation_id uuid, paid_at timestamptz)")
        .execute(&mut *order)
        .await?;
    sqlx::query("insert into orders values ($1, now())").bind(second).execute(&mut *order).await?;
    match confirm_in(&mut order, second, ConfirmOptions::default()).await? {
        // The order and the confirm commit together. Until then the item is locked, and no other session sees either.
        Confirm::Confirmed(_) => order.commit().await?,
        refusal => {
            println!("not paid: {refusal:?}");
            order.rollback().await?;
        }
    }
    println!("{:?}", inventory.get_item(item.id).await?);
    Ok(())
}
