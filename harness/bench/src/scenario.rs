//! What is called over HTTP, by name.

use crate::calls::{Popularity, Script};

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Scenario {
    /// Everybody reserves the same item.
    Hot,
    /// Reservations of 1,000 items, each as likely.
    Uniform,
    /// Reservations of 1,000 items, their popularity falling as 1/rank.
    Zipf,
    /// Everybody asks for an item that is sold out.
    SoldOut,
    /// Each reserves the same hot item, then confirms.
    Pairs,
    /// Reserves, confirms, cancels and reads of 1,000 items.
    Mix,
    /// A route of the same server that no database answers.
    Static,
}

impl Scenario {
    /// Every one.
    pub const ALL: [Scenario; 7] = [
        Scenario::Hot,
        Scenario::Uniform,
        Scenario::Zipf,
        Scenario::SoldOut,
        Scenario::Pairs,
        Scenario::Mix,
        Scenario::Static,
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Scenario::Hot => "hot",
            Scenario::Uniform => "uniform",
            Scenario::Zipf => "zipf",
            Scenario::SoldOut => "sold_out",
            Scenario::Pairs => "pairs",
            Scenario::Mix => "mix",
            Scenario::Static => "static",
        }
    }

    /// How many items it uses.
    pub fn item_count(self) -> u32 {
        match self {
            Scenario::Hot | Scenario::SoldOut | Scenario::Pairs | Scenario::Static => 1,
            Scenario::Uniform | Scenario::Zipf | Scenario::Mix => 1_000,
        }
    }

    /// Units of each item: enough for everybody, or one, which somebody takes first.
    pub fn total_quantity(self) -> i64 {
        if self == Scenario::SoldOut { 1 } else { 1_000_000_000 }
    }

    /// What a caller does.
    pub fn script(self) -> Script {
        match self {
            Scenario::Hot | Scenario::Uniform => Script::Reserve,
            Scenario::Zipf => Script::ReserveByPopularity(Popularity::new(self.item_count() as usize)),
            Scenario::SoldOut => Script::AskSoldOut,
            Scenario::Pairs => Script::ReserveThenConfirm,
            Scenario::Mix => Script::Mix,
            Scenario::Static => Script::ReadStatic,
        }
    }
}
