//! The checker against a second opinion that tries every order of effects, on 100,000 small random histories under every
//! contract, right ones and corrupted ones.

mod opinion;
mod simulation;

use std::time::Instant;

use simulation::Simulation;
use stockhold_harness::internal::check::{Limits, Verdict, check};

#[test]
fn verdicts_agree_with_brute_force_on_100_000_small_histories() {
    let began = Instant::now();
    let (mut held, mut broken, mut undecided) = (0, 0, 0);
    let mut differences = Vec::new();
    for number in 0..100_000 {
        let mut simulation = Simulation::new(number, 3 + (number % 5) as usize);
        if number % 2 == 1 {
            simulation.corrupt();
        }
        let Simulation { contract, moved, calls, .. } = &simulation;
        let checked = check(calls, *contract, moved, Limits::default());
        let second = opinion::verdict(calls, *contract, moved);
        match second {
            Verdict::Held => held += 1,
            Verdict::Broken => broken += 1,
            Verdict::Undecided => undecided += 1,
        }
        let refuted = number % 2 == 0 && second == Verdict::Broken;
        if checked.verdict != second || refuted {
            differences.push(number);
            if differences.len() <= 3 {
                println!("{number}: {:?}, brute force {second:?}", checked.verdict);
                println!("{:?} {:?}", checked.violations, checked.undecided);
                println!("{contract:?} {moved:?}");
                for call in calls {
                    println!(
                        "  {} {:?} {:?}..{:?} {:?}",
                        call.id,
                        call.request,
                        call.invoked_ns / 1_000,
                        call.returned_ns.map(|ns| ns / 1_000),
                        call.outcome
                    );
                }
            }
        }
    }
    println!("{held} held, {broken} broken, {undecided} undecided in {:?}", began.elapsed());
    assert!(differences.is_empty(), "{} histories: {:?}", differences.len(), &differences[..differences.len().min(20)]);
    // Were one of them nearly empty, the agreement would say little.
    assert!(
        held > 30_000 && broken > 20_000 && undecided > 4_000,
        "{held} held, {broken} broken, {undecided} undecided"
    );
}
