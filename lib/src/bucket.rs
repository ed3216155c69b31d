//! The bucket of an id: with several servers, an item and all that belongs to it are on the one that has its bucket.

use uuid::Uuid;

/// The last two bytes of an id, 0 to 65,535: the column `bucket` of every table.
pub(crate) fn bucket(id: Uuid) -> i32 {
    let [.., high, low] = id.into_bytes();
    u16::from_be_bytes([high, low]).into()
}

/// A new id for a reservation of an item: a UUID of version 7 that ends as the item's id does. What is left to chance and
/// to the generator's counter keeps two ids of one millisecond apart (RFC 9562, 5.7 and 6.2).
pub(crate) fn reservation_id(item_id: Uuid) -> Uuid {
    let mut bytes = Uuid::now_v7().into_bytes();
    bytes[14..].copy_from_slice(&item_id.as_bytes()[14..]);
    Uuid::from_bytes(bytes)
}
