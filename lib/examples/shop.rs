//! A shop without HTTP: an item of five, a hold, a confirmation, a refusal.
//!
//! `DATABASE_URL=postgres://… cargo run -p stockhold --example shop`

use stockhold::{Config, ConfirmOptions, CreateItem, Inventory, NewItem, NewReservation, Reserve};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let inventory = Inventory::connect(&Config::from_env()?).await?;
    inventory.migrate().await?;

    let new_item = NewItem {
        name: "Ticket".try_into().map_err(anyhow::Error::msg)?,
        initial_quantity: 5.try_into().map_err(anyhow::Error::msg)?,
        sku: None,
        metadata: None,
    };
    let CreateItem::Created(item) = inventory.create_item(new_item, None).await? else {
        anyhow::bail!("without a key, every call creates an item");
    };

    for quantity in [3, 3] {
        let new_reservation = NewReservation {
            item_id: item.id,
            customer_id: "customer-7".try_into().map_err(anyhow::Error::msg)?,
            quantity: quantity.try_into().map_err(anyhow::Error::msg)?,
            ttl_seconds: 60.0.try_into().map_err(anyhow::Error::msg)?,
        };
        match inventory.reserve(new_reservation, None).await? {
            Reserve::Reserved(reservation) => {
                println!("held {} until {}", reservation.quantity, reservation.expires_at);
                let outcome = inventory.confirm(reservation.id, ConfirmOptions::default()).await?;
                println!("{outcome:?}");
            }
            refusal => println!("refused: {refusal:?}"),
        }
    }
    println!("{:?}", inventory.get_item(item.id).await?);
    Ok(())
}
